// Elements of the page. Text from the node enters as text nodes only, never as markup.

const SEXES = { F: "female", M: "male", O: "other sex" };
const PATIENTS = {
  OTHER: "Other patient",
  SAME: "Same patient",
  UNKNOWN: "Patient not known",
};

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

export const number = (value) => value.toLocaleString("en");

export const plural = (count, noun, many = `${noun}s`) => `${number(count)} ${count === 1 ? noun : many}`;

/** Hash of a view; empty values are left out. */
export function link(values) {
  const pairs = Object.entries(values).flatMap(([name, value]) => [value].flat().map((item) => [name, item]));
  return `#${new URLSearchParams(pairs.filter(([, value]) => value !== "" && value !== null))}`;
}

export const previewUrl = ({ uid, frame }) => `preview/${encodeURIComponent(uid)}.png?frame=${frame}`;

/** The preview of an image, or a plain square that says there is none. */
export function preview(image, alt, attributes = {}) {
  const picture = make("img", { src: previewUrl(image), alt, width: "224", height: "224", decoding: "async", ...attributes });
  picture.addEventListener("error", () => picture.replaceWith(make("div", { class: "blank", role: "img", "aria-label": alt }, "no preview")));
  return picture;
}

export const kind = (image) =>
  [image.modality || "no modality", image.body_part, image.laterality, image.view, image.frame > 1 ? `frame ${image.frame}` : ""].filter(Boolean).join(" · ");

export const title = (image) => image.series_description || image.study_description || "no description";

/** Sex, age and year, as far as they are known. */
export function person(image) {
  const age = image.age === null ? "" : image.age < 1 ? "under 1 y" : `${image.age} y`;
  return [image.sex, age, image.year].filter(Boolean).join(" · ") || "sex and age not given";
}

export function spoken(image) {
  const age = image.age === null ? "" : `${image.age} years`;
  return [image.modality, image.body_part, title(image), SEXES[image.sex], age, image.year].filter(Boolean).join(", ");
}

/** A case to choose: the middle image of a series. */
export function caseCard(image, href) {
  return make(
    "a",
    { class: "card", href },
    make("div", { class: "picture" }, preview(image, "", { loading: "lazy" })),
    make("p", { class: "kind" }, kind(image), image.images > 1 ? make("small", {}, plural(image.images, "image")) : null),
    make("p", { class: "title" }, title(image)),
    make("p", { class: "person" }, person(image)),
  );
}

/** A look-alike, under a banner that says whose it is. */
export function matchCard(match, { code_length: codeLength, level }, href) {
  const bar = make("div", { class: "bar", "aria-hidden": "true" });
  bar.style.setProperty("--score", match.score);
  const whose = PATIENTS[match.patient];
  const differing = match.distance === 0 ? `all ${codeLength} bits equal` : `${+match.distance.toFixed(2)} of ${codeLength} bits differ`;
  return make(
    "a",
    { class: "card match", href },
    make("p", { class: `banner ${match.patient.toLowerCase()}` }, make("b", {}, String(match.rank)), whose),
    make("div", { class: "picture" }, preview(match, "", { loading: "lazy" })), // nothing over it: a side marker may be there
    bar,
    make("p", { class: "distance" }, differing),
    make("p", { class: "kind" }, kind(match)),
    make("p", { class: "title" }, (level === "STUDY" && match.study_description) || title(match)),
    make("p", { class: "person" }, person(match)),
  );
}

/** Links that switch modalities on and off. */
export function chips(modalities, chosen, hrefOf) {
  const chip = (text, on, next, count) =>
    make("a", { class: "chip", href: hrefOf(next), "aria-current": on ? "true" : null }, text, count === null ? null : make("small", {}, number(count)));
  const toggled = (name) => (chosen.includes(name) ? chosen.filter((one) => one !== name) : [...chosen, name]);
  return make(
    "nav",
    { class: "chips", "aria-label": "Modality" },
    chip("All", chosen.length === 0, [], null),
    modalities.filter(([name]) => name).map(([name, count]) => chip(name, chosen.includes(name), toggled(name), count)),
  );
}

/** What went wrong, with a way back, and one to try again where that can help. */
export function fault(error, again, list) {
  return make(
    "div",
    { class: "notice fault", role: "alert" },
    make("h1", {}, error.title),
    make("p", {}, error.detail),
    make("p", { class: "actions" }, again ? make("button", { type: "button", onclick: again }, "Try again") : null, make("a", { href: list }, "All cases")),
  );
}
