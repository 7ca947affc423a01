// The example and one look-alike side by side, in frames that nobody can take for one another.

import { changed, otherImage } from "./address.js";
import { ask, Fault } from "./api.js";
import { refineButtons, viewerLinks } from "./cards.js";
import { button, make } from "./elements.js";
import { reportsOf } from "./report.js";
import { larger, viewport, windowControls } from "./viewport.js";
import { alike, figures, kind, person, spoken, title, whose } from "./words.js";

export async function compareView(now, node, answer, pictureOf, view) {
  const index = answer.matches.findIndex(({ uid, frame }) => uid === now.get("with") && String(frame) === now.get("at"));
  if (index < 0) throw new Fault("This case is not in the answer", "The question or the index has changed", { canChange: false });
  const match = answer.matches[index];
  const own = viewport(pictureOf(answer.example), `This examination: ${spoken(answer.example)}`, view, larger(answer.example, node));
  const [short, long] = whose(match);
  const other = viewport(pictureOf(match), `${long}: ${spoken(match)}`, view, larger(match, node));
  return [
    make(
      "section",
      { class: "compare", "aria-label": "Two images side by side" },
      make("h1", { tabindex: "-1" }, `This examination beside look-alike ${match.rank}`),
      make(
        "div",
        { class: "controls" },
        make("a", { class: "button", href: changed({ with: "", at: "" }), "aria-keyshortcuts": "Escape" }, "‹ Look-alikes"),
        step(answer.matches[index - 1], "‹ Previous", "p"),
        step(answer.matches[index + 1], "Next ›", "n"),
        whyButton(now, answer.example, match, own, other),
        refineButtons(match),
        make("a", { class: "button", href: changed(otherImage(match)) }, "Look-alikes of this one"),
        windowControls(view),
      ),
      make("p", { class: "meaning hint", role: "status" }),
      make("div", { class: "pair" }, figure("this", "This examination", "This examination", answer.example, own, [reportsOf(answer.example, node, "This examination")]), figure(match.patient.toLowerCase(), short, long, match, other, [make("p", { class: "distance" }, `${alike(match, answer)} (${figures(match, answer)}).`), ...viewerLinks(match, node), reportsOf(match, node, long)])),
    ),
  ];
}

function step(match, text, key) {
  return match
    ? make("a", { class: "button", href: changed({ with: match.uid, at: match.frame }), "data-key": key, "aria-keyshortcuts": key }, text)
    : make("span", { class: "button off", "aria-disabled": "true" }, text);
}

function figure(mood, short, long, image, shown, more) {
  const banner = (text) => make("p", { class: `banner ${mood}` }, text);
  return make(
    "figure",
    { class: `frame ${mood}` },
    banner(short),
    make("div", { class: "picture" }, shown.canvas),
    banner(long),
    make("figcaption", {}, make("p", { class: "kind" }, kind(image)), make("p", { class: "title" }, title(image)), make("p", { class: "person" }, person(image)), more, make("p", {}, shown.note)),
  );
}

/** Asks why on demand: explanations that are always there make readers trust less, and look longer. */
function whyButton(now, example, match, own, other) {
  if (now.has("dropped")) return null;
  let maps = null;
  let isShown = false;
  const toggle = async (event) => {
    const pressed = event.currentTarget;
    const meaning = document.querySelector(".compare .meaning");
    isShown = !isShown;
    pressed.setAttribute("aria-pressed", String(isShown));
    try {
      if (isShown && !maps) {
        meaning.textContent = "Looking where the likeness comes from …";
        maps = await ask(`api/why?${new URLSearchParams({ query: example.uid, queryframe: example.frame, match: match.uid, matchframe: match.frame })}`);
      }
      meaning.textContent = isShown ? maps.meaning : "";
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      meaning.textContent = `${error.title}. ${error.detail}`;
      isShown = false;
      pressed.setAttribute("aria-pressed", "false");
    }
    own.lay(isShown ? maps.query : null);
    other.lay(isShown ? maps.match : null);
  };
  return button("Why?", toggle, { "aria-pressed": "false", "data-key": "w", "aria-keyshortcuts": "w" });
}
