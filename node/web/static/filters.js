// Controls of an answer: how it is ranked, what it is taken from, and how it was refined.

import { changed, FILTERS, go, state } from "./address.js";
import { chips, make, preview, segments } from "./elements.js";
import { plural, SEXES } from "./words.js";

export const LEVELS = { IMAGE: "Images", SERIES: "Series", STUDY: "Studies" };
export const FIRST = "5"; // a few cases first: more make no reader surer
const COUNTS = [FIRST, "10", "20", "50", "100"];

/** Parameters of the question in an address, for the node. */
export function questionOf(now) {
  const query = new URLSearchParams([["level", now.get("level") ?? "IMAGE"], ["k", now.get("k") ?? FIRST]]);
  query.set("exclude", now.has("own") ? "SELF" : "SELF,PATIENT");
  query.set("distinct", now.has("every") ? "NONE" : "PATIENT");
  for (const name of [...FILTERS, "also", "without", "region", "frame"]) for (const value of now.getAll(name)) query.append(name, value);
  if (now.has("kind")) query.set("picture_modality", now.get("kind"));
  return query;
}

export function controls(now, node) {
  const k = now.get("k") ?? FIRST;
  const counts = COUNTS.includes(k) ? COUNTS : [...COUNTS, k];
  const set = (changes) => go(changed(changes));
  const box = (name, text, isOn) => make("label", { class: "field" }, make("input", { type: "checkbox", checked: isOn, onchange: (event) => set({ [name]: event.target.checked ? "" : "1" }) }), text);
  return make(
    "div",
    { class: "controls" },
    segments("Rank by", "level", Object.entries(LEVELS), now.get("level") ?? "IMAGE", (level) => set({ level: level === "IMAGE" ? "" : level })),
    make("label", { class: "field" }, "Show", select(counts.map((count) => [count, count]), k, (count) => set({ k: count === FIRST ? "" : count }))),
    box("own", "Leave out this patient", !now.has("own")),
    box("every", "One of each patient", !now.has("every")),
    filterPanel(now, node, set),
  );
}

const select = (values, chosen, onchoose, attributes = {}) =>
  make("select", { ...attributes, onchange: (event) => onchoose(event.target.value) }, values.map(([value, text]) => make("option", { value, selected: value === chosen }, text)));

function filterPanel(now, node, set) {
  const active = FILTERS.filter((name) => now.has(name));
  const term = (name, text) => {
    const terms = node.terms[name].toSorted().map((value) => [value, value]);
    return terms.length ? make("label", { class: "field" }, text, select([["", "any"], ...terms], now.get(name) ?? "", (value) => set({ [name]: value }))) : null;
  };
  return make(
    "details",
    { class: "filters", open: active.length > 0 || filterPanel.isOpen, ontoggle: (event) => (filterPanel.isOpen = event.target.open) },
    make("summary", { "aria-keyshortcuts": "f" }, active.length ? plural(active.length, "filter") : "Filters"),
    make(
      "div",
      { class: "panel" },
      chips("Modality", Object.keys(node.modalities).map((name) => [name, null]), now.getAll("modality"), (modality) => changed({ modality })),
      term("body_part", "Body part"),
      segments("Sex", "sex", [["", "any sex"], ...Object.entries(SEXES).slice(0, 2)], now.get("sex") ?? "", (sex) => set({ sex })),
      span("Age", "years", "age", now, set, (year) => year, 0, 120),
      span("Year", "", "date", now, (changes) => set({ date: wholeYears(changes.date) }), (day) => day.slice(0, 4), 1900, 2100),
      term("manufacturer", "Manufacturer"),
      active.length ? make("a", { href: changed(Object.fromEntries(FILTERS.map((name) => [name, ""]))) }, "Clear filters") : null,
    ),
  );
}
filterPanel.isOpen = false;

const wholeYears = (text) => text.replace(/^(\d+)?-(\d+)?$/, (_, first, last) => `${first ? `${first}0101` : ""}-${last ? `${last}1231` : ""}`);

/** Two numbers, either of which may be left out. */
function span(text, unit, name, now, set, shown, min, max) {
  const [first, last] = (now.get(name) ?? "-").split("-").map(shown);
  const field = (value, label) => {
    const input = make("input", { type: "number", min: String(min), max: String(max), "aria-label": `${text} ${label}`, onchange: () => take() });
    input.value = value;
    return input;
  };
  const [from, to] = [field(first, "from"), field(last, "to")];
  const take = () => {
    if (!from.checkValidity() || !to.checkValidity()) return void (from.reportValidity() && to.reportValidity());
    if (from.value && to.value && Number(from.value) > Number(to.value)) [from.value, to.value] = [to.value, from.value];
    const range = `${from.value}-${to.value}`;
    set({ [name]: range === "-" ? "" : range });
  };
  return make("span", { class: "field" }, text, from, "to", to, unit);
}

/** How an answer was refined, each step with a way to take it back; null where it was not. */
export function refinements(now, undo) {
  const chip = (image, text, name) => {
    const others = now.getAll(name).filter((uid) => uid !== image);
    return make("span", { class: "refinement" }, preview({ uid: image, frame: "" }, ""), text, make("a", { href: changed({ [name]: others }), "aria-label": `Undo: ${text}` }, "×"));
  };
  const parts = [
    now.has("region") ? make("span", { class: "refinement" }, "Only the outlined region", make("a", { href: changed({ region: "" }), "aria-label": "Undo: only the outlined region" }, "×")) : null,
    ...now.getAll("also").map((uid) => chip(uid, "also like this", "also")),
    ...now.getAll("without").map((uid) => chip(uid, "left out", "without")),
  ].filter(Boolean);
  if (!parts.length && !undo) return null;
  return make("div", { class: "refinements", role: "group", "aria-label": "Refined by" }, parts, undo ? make("a", { class: "undo", href: undo, "aria-keyshortcuts": "u" }, "Undo") : null);
}

/** The first answer to a question shows a few cases; this asks for more. */
export function moreLink(now, answer) {
  const k = Number(now.get("k") ?? FIRST);
  const next = COUNTS.find((count) => Number(count) > k);
  return answer.matches.length === k && next ? make("a", { class: "button more-matches", href: changed({ k: next }, state()) }, `Show ${next}`) : null;
}
