// The keyboard: single keys where nobody writes, and a list of them. A reader can switch them off.

import { go } from "./address.js";
import { button, make } from "./elements.js";

const SWITCH = "lookalike-keys"; // in localStorage
const KEYS = [
  ["/", "Find a case"],
  ["j, k", "Next or previous case"],
  ["Enter", "Open it beside the example"],
  ["m", "More like this one"],
  ["x", "Leave this one out"],
  ["u", "Undo the last refinement"],
  ["f", "Filters"],
  ["r", "Draw a region"],
  ["n, p", "Next or previous look-alike beside the example"],
  ["w", "Why are they alike?"],
  ["+, −, 0, arrows", "Zoom, reset and move the picture that has the focus; with Shift its window"],
  ["Esc", "Back"],
  ["?", "This list"],
];

const areOn = () => localStorage.getItem(SWITCH) !== "off";

/** Answer keys; `back` leads one view up. */
export function takeKeys(content, back) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const writes = event.target.closest("input:not([type=radio], [type=checkbox], [type=range]), select, textarea");
    if (event.key === "Escape") return void (writes ? event.target.blur() : back());
    if (writes || event.ctrlKey || event.metaKey || event.altKey || !areOn()) return;
    if (ACTIONS[event.key]?.(content)) event.preventDefault();
  });
}

const press = (element) => {
  element?.click();
  return Boolean(element);
};

/** The button of a key: of the card that has the focus, or of the view. */
const ofFocus = (key) => (content) => {
  const card = document.activeElement?.closest(".match");
  return press((card ?? content.querySelector(".compare, .example"))?.querySelector(`[data-key="${key}"]`));
};

const anywhere = (selector) => (content) => press(content.querySelector(selector));

const ACTIONS = {
  "/": (content) => {
    const field = content.querySelector(".search input");
    if (!field) go("#");
    field?.focus();
    return true;
  },
  "?": () => {
    showHelp();
    return true;
  },
  j: (content) => move(content, 1),
  k: (content) => move(content, -1),
  m: ofFocus("m"),
  x: ofFocus("x"),
  w: ofFocus("w"),
  r: ofFocus("r"),
  n: ofFocus("n"),
  p: ofFocus("p"),
  u: anywhere(".undo"),
  f: anywhere(".filters summary"),
};

function move(content, step) {
  const cards = [...content.querySelectorAll("a.card, .match .open")];
  const here = cards.findIndex((card) => card === document.activeElement || card.closest(".match")?.contains(document.activeElement));
  cards[here < 0 ? (step > 0 ? 0 : cards.length - 1) : Math.min(Math.max(here + step, 0), cards.length - 1)]?.focus();
  return cards.length > 0;
}

/** Show the list of keys. */
export function showHelp() {
  const toggle = make("input", { type: "checkbox", checked: areOn(), onchange: (event) => localStorage.setItem(SWITCH, event.target.checked ? "on" : "off") });
  const dialog = make(
    "dialog",
    { class: "help", "aria-labelledby": "help-title", onclose: () => dialog.remove() },
    make("h2", { id: "help-title" }, "Keys"),
    make("dl", {}, KEYS.map(([key, meaning]) => make("div", {}, make("dt", {}, make("kbd", {}, key)), make("dd", {}, meaning)))),
    make("label", { class: "field" }, toggle, "Single keys work"),
    make("p", {}, "On a picture: the wheel zooms once it has the focus, dragging moves it, the right button changes its window, a double click resets it."),
    button("Close", () => dialog.close(), { autofocus: true }),
  );
  document.body.append(dialog);
  dialog.showModal();
}
