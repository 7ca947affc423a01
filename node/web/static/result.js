// An example and its look-alikes; or the example beside one of them.

import { changed, go, state } from "./address.js";
import { askOnce } from "./api.js";
import { matchCard, viewerLinks } from "./cards.js";
import { compareView } from "./compare.js";
import { dropped } from "./drop.js";
import { button, make, previewUrl, segments } from "./elements.js";
import { controls, LEVELS, moreLink, questionOf, refinements } from "./filters.js";
import { listHash } from "./position.js";
import { fromPreview, readRegion, toPreview } from "./region.js";
import { bitmap, bitmapOf, larger, newView, viewport, windowControls } from "./viewport.js";
import { isChance, kind, number, person, plural, spoken, title } from "./words.js";

let view = newView(); // how the example is looked at, as long as it is the same
let viewed = "";

/** The answer to the question in an address. */
async function answerTo(now) {
  const query = questionOf(now);
  if (!now.has("dropped")) return askOnce(`api/similar/${encodeURIComponent(now.get("image"))}?${query}`);
  const drop = await dropped(now.get("dropped"));
  const path = `api/similar?${query}`;
  const answer = await askOnce(path, `${now.get("dropped")} ${path}`, { method: "POST", body: drop.file, headers: { "Content-Type": drop.type } });
  if (answer.picture) Object.assign(drop, { picture: answer.picture, frames: answer.frames }); // an answer about a region has none
  Object.assign(answer.example, drop.sides, { picture: drop.picture, isPicture: drop.type !== "application/dicom", frames: drop.frames ?? [] });
  return answer;
}

const pictureOf = (image) => (image.picture ? bitmapOf(image.picture) : bitmap(previewUrl(image)));

export async function resultView(now, node, undo, redraw) {
  const answer = await answerTo(now);
  const example = answer.example;
  if (viewed !== `${now.get("dropped")} ${example.uid}`) [view, viewed] = [newView(), `${now.get("dropped")} ${example.uid}`];
  view.watchers.clear();
  if (now.has("with")) return compareView(now, node, answer, pictureOf, view);
  const images = now.has("dropped") ? example.frames.map((frame) => ({ uid: example.uid, frame })) : (await askOnce(`api/series/${encodeURIComponent(example.series_uid)}`)).images;
  return [
    make(
      "div",
      { class: "sides" },
      exampleView(now, example, images, node, redraw),
      make(
        "section",
        { class: "results", "aria-label": "Look-alikes" },
        make("h1", { tabindex: "-1" }, "Look-alikes"),
        controls(now, node),
        refinements(now, undo),
        make("p", { class: "hint" }, summary(answer, now, node), make("strong", {}, "Look-alikes are never findings of this examination.")),
        answer.matches.length && answer.matches.every(isChance) ? make("p", { class: "notice far", role: "note" }, "Nothing close: images of other patients lie as near as these by chance.") : null,
        answer.matches.length && answer.matches.every((match) => match.unusually_far) ? make("p", { class: "notice far", role: "note" }, UNUSUALLY_FAR) : null,
        answer.matches.length ? make("div", { class: "grid" }, answer.matches.map((match) => matchCard(match, answer, true))) : make("p", { class: "nothing" }, nothing(now)),
        moreLink(now, answer),
      ),
    ),
  ];
}

const UNUSUALLY_FAR = "Even the nearest case is farther than usual: nothing here is like this image, or the model cannot judge it.";

function summary({ level, matches, candidates, region }, now, node) {
  const what = level === "IMAGE" ? "of" : `${LEVELS[level].toLowerCase()} among`;
  const each = now.has("every") ? "" : ", one of each patient";
  return `${number(matches.length)} nearest ${what} ${plural(candidates, "image")}${each}, the most alike first. ${region ? `The marked part is compared with ${node.has_parts ? "images and parts of them" : "whole images"}. ` : ""}`;
}

function nothing(now) {
  const ways = [now.has("own") ? "" : "this patient’s own images", "other filters"].filter(Boolean);
  return `Nothing else to compare with here. Try with ${ways.join(" or ")}, or send more images.`;
}

function exampleView(now, example, images, node, redraw) {
  const shown = viewport(pictureOf(example), spoken(example), view, larger(example, node));
  const region = readRegion(now.get("region"));
  if (region && example.rows) shown.box(toPreview(region, example));
  return make(
    "aside",
    { class: "example", "aria-label": "Chosen image" },
    make("a", { class: "back", href: listHash() }, "‹ All cases"),
    make("p", { class: "banner this" }, now.has("dropped") ? "The dropped file" : "This examination"),
    make("div", { class: "picture" }, shown.canvas),
    windowControls(view),
    example.rows && example.columns ? regionButtons(shown, example, region) : null,
    images.length > 1 ? scroller(now, example, images, shown, node, redraw) : null,
    make("p", { class: "kind" }, kind(example)),
    make("p", { class: "title" }, now.has("dropped") ? "Dropped file, not kept" : title(example)),
    make("p", { class: "person" }, person(example)),
    example.study_description && example.study_description !== title(example) ? make("p", { class: "person" }, example.study_description) : null,
    example.isPicture ? pictureKind(now, node) : null,
    now.has("dropped") ? null : make("p", { class: "links" }, viewerLinks(example, node)),
    now.has("dropped") ? null : make("details", {}, make("summary", {}, "SOP Instance UID"), make("code", { class: "uid" }, example.uid)),
  );
}

/** A picture does not say what made it; the model compares better when it knows. */
function pictureKind(now, node) {
  const kinds = Object.keys(node.modalities).filter(Boolean).map((name) => [name, name]);
  return segments("The picture is", "kind", [["", "unknown"], ...kinds], now.get("kind") ?? "", (name) => go(changed({ kind: name })));
}

function regionButtons(shown, example, region) {
  const hint = make("small", { class: "hint", role: "status" });
  const draw = button(region ? "Draw another region" : "Draw a region", start, { "aria-keyshortcuts": "r", "data-key": "r" });
  function start() {
    hint.textContent = "Drag over the picture; or move a box by arrows, size it with Shift, and press Enter.";
    shown.box(null);
    shown.startBox((box) => {
      const drawn = box && fromPreview(box, example);
      if (!drawn) return void (hint.textContent = "That is too small to be searched for. Draw it larger.");
      shown.startBox(null);
      go(changed({ region: drawn.join(","), also: [] }));
    });
  }
  return make("div", { class: "regions" }, draw, region ? make("a", { href: changed({ region: "" }) }, "Whole image") : null, hint);
}

/** Runs through the series; letting go asks with the image then shown. */
function scroller(now, example, images, shown, node, redraw) {
  const here = images.findIndex(({ uid, frame }) => uid === example.uid && frame === example.frame);
  const label = make("span", {}, `Image ${here + 1} of ${images.length}`);
  const slide = (event) => {
    const index = event.target.valueAsNumber;
    label.textContent = `Image ${index + 1} of ${images.length}`;
    if (!example.picture) shown.show(bitmap(previewUrl(images[index])), larger(images[index], node));
  };
  const choose = (event) => {
    const { uid, frame } = images[event.target.valueAsNumber];
    history.replaceState(history.state, "", changed({ image: now.has("dropped") ? "" : uid, frame, region: "" }, state()));
    redraw();
  };
  const range = make("input", { type: "range", min: "0", max: String(images.length - 1), oninput: slide, onchange: choose });
  range.value = here;
  return make("label", { class: "scroller" }, label, range);
}
