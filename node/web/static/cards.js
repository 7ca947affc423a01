// Cards: a case to choose, and a look-alike under a banner that says whose it is.

import { changed, go, link, state } from "./address.js";
import { button, make, preview } from "./elements.js";
import { alike, figures, isChance, kind, person, plural, title, whose } from "./words.js";

/** A case to choose: the middle image of a series, or of the largest series of a study. */
export function caseCard(image) {
  const several = image.series > 1;
  const count = [several ? plural(image.series, "series", "series") : "", image.images > 1 ? plural(image.images, "image") : ""].filter(Boolean).join(", ");
  const card = make(
    "a",
    { class: "card", href: link({ image: image.uid, frame: image.frame }) },
    make("div", { class: "picture" }, preview(image, "", { loading: "lazy" })),
    make("p", { class: "kind" }, kind(image)),
    make("p", { class: "title" }, (image.series && image.study_description) || title(image)),
    make("p", { class: "person" }, person(image), count && !several ? make("small", {}, count) : null),
  );
  return several ? make("div", { class: "stack" }, card, make("a", { class: "more", href: link({ find: image.study_uid, by: "series" }) }, count)) : card;
}

/** A look-alike; its picture opens it beside the example. */
export function matchCard(match, answer, canRefine) {
  const bar = make("div", { class: "bar", "aria-hidden": "true" });
  bar.style.setProperty("--score", Math.max(0, 2 * match.score - 1)); // codes that have nothing in common agree in half of their bits
  const [short, long] = whose(match);
  const words = alike(match, answer);
  const folded = match.duplicates ? `and ${plural(match.duplicates, "near-duplicate")}` : "";
  return make(
    "article",
    { class: `card match ${isChance(match) ? "far" : ""}`, "data-uid": match.uid },
    make(
      "a",
      { class: "open", href: changed({ with: match.uid, at: match.frame }), "aria-label": `${match.rank}. ${short}. ${words}. ${kind(match)}. ${title(match)}. Open beside the example` },
      make("p", { class: `banner ${match.patient.toLowerCase()}`, title: long }, make("b", {}, String(match.rank)), short),
      make("div", { class: "picture" }, preview(match, "", { loading: "lazy" })), // nothing over it: a side marker may be there
    ),
    bar,
    make("p", { class: "distance", title: figures(match, answer) }, words),
    make("p", { class: "kind" }, kind(match)),
    make("p", { class: "title" }, (answer.level === "STUDY" && match.study_description) || title(match)),
    make("p", { class: "person" }, person(match), folded ? make("small", {}, folded) : null),
    canRefine ? make("p", { class: "refine" }, refineButtons(match)) : null,
  );
}

/** Links to the viewers of the site. */
export const viewerLinks = (image, node) =>
  Object.entries(node.viewers).map(([name, address]) => {
    const href = address.replaceAll("{study}", image.study_uid).replaceAll("{series}", image.series_uid).replaceAll("{instance}", image.uid);
    return make("a", { class: "viewer", href, target: href.startsWith("http") ? "_blank" : null, rel: "noopener" }, `Open in ${name}`);
  });

/** Ways to go on from a look-alike. */
export function refineButtons(match) {
  const now = state();
  const all = (name) => [...now.getAll(name), match.uid];
  const more = now.has("dropped") ? null : button("More like this", () => go(changed({ also: all("also"), region: "", with: "", at: "" })), { "data-key": "m" });
  return [more, button("Leave out", () => go(changed({ without: all("without"), with: "", at: "" })), { "data-key": "x" })];
}
