// Elements of the page. Text from the node enters as text nodes only, never as markup.

import { number } from "./words.js";

/** An element with attributes and children; strings become text, null is left out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

export const button = (text, onclick, attributes = {}) => make("button", { type: "button", onclick, ...attributes }, text);

export const previewUrl = ({ uid, frame }) => `preview/${encodeURIComponent(uid)}.png${frame ? `?frame=${frame}` : ""}`;

/** The preview of an image, or a plain square that says there is none. */
export function preview(image, alt, attributes = {}) {
  const picture = make("img", { src: previewUrl(image), alt, width: "224", height: "224", decoding: "async", ...attributes });
  picture.addEventListener("error", () => picture.replaceWith(make("div", { class: "blank", role: "img", "aria-label": alt }, "no preview")));
  return picture;
}

/** Links that switch values of one kind on and off. */
export function chips(label, values, chosen, hrefOf) {
  const chip = (text, on, next, count) =>
    make("a", { class: "chip", href: hrefOf(next), "aria-current": on ? "true" : null }, text, count === null ? null : make("small", {}, number(count)));
  const toggled = (name) => (chosen.includes(name) ? chosen.filter((other) => other !== name) : [...chosen, name]);
  return make(
    "nav",
    { class: "chips", "aria-label": label },
    chip("All", chosen.length === 0, [], null),
    values.filter(([name]) => name).map(([name, count]) => chip(name, chosen.includes(name), toggled(name), count)),
  );
}

/** Radio buttons side by side. */
export function segments(legend, name, values, chosen, onchoose) {
  const choices = values.map(([value, text]) =>
    make("label", {}, make("input", { type: "radio", name, value, checked: value === chosen, onchange: () => onchoose(value) }), make("span", {}, text)),
  );
  return make("fieldset", { class: "segments" }, make("legend", {}, legend), choices);
}

/** What went wrong, with a way back, and one to try again where that can help. */
export function fault(error, again, list) {
  return make(
    "div",
    { class: "notice fault", role: "alert" },
    make("h1", {}, error.title),
    make("p", {}, error.detail),
    make("p", { class: "actions" }, again ? button("Try again", again) : null, make("a", { href: list }, "All cases")),
  );
}
