// The page of the node. The hash of the address is the whole state, so that back, forward and links work.

import { caseCard, chips, fault, link, make, matchCard, number, person, plural, preview, previewUrl, kind, spoken, title } from "./elements.js";
import { listHash, position, remember, restore } from "./position.js";

const PAGE_SIZE = 24;
const POLL_MS = 5000;
const LEVELS = { IMAGE: "Images", SERIES: "Series", STUDY: "Studies" };
const FAULTS = {
  A700: "The node is busy",
  A900: "This question has no answer",
  C101: "This image is not here",
  C102: "There are no pixels to compare",
  C103: "This image cannot be compared",
  C105: "This image is still being indexed",
};
const COUNTS = ["5", "10", "20", "50", "100"];

const content = document.getElementById("content");
let node = null; // last answer of /api/status
let subject = null; // subject of the view that is shown, as subjectOf names it
let shown = null; // hash of the view that is shown
let drawing = 0; // number of the drawing under way: an answer to an older one is dropped

class Fault extends Error {
  constructor(title, detail, { retryAfterS = 0, canChange = true } = {}) {
    super(title);
    Object.assign(this, { title, detail, retryAfterS, canChange });
  }
}

/** JSON of a path; a Fault that can be shown where there is none. */
async function ask(path) {
  let response;
  try {
    response = await fetch(path);
  } catch {
    throw new Fault("The node does not answer", "Is it running? The page tries again by itself.", { retryAfterS: POLL_MS / 1000 });
  }
  const value = await response.json().catch(() => ({}));
  if (response.ok) return value;
  const again = Number(response.headers.get("Retry-After")) || 0;
  const title = FAULTS[value.dimse_status] ?? value.title ?? `Status ${response.status}`;
  throw new Fault(title, sentence(value.detail ?? "see the log of the node"), { retryAfterS: again, canChange: again > 0 || response.status >= 500 });
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

const state = () => new URLSearchParams(location.hash.slice(1));

/** Subject of a view: focus and scrolling stay where they are while it is the same. */
const subjectOf = (now) => `${now.get("image") ?? ""} ${now.get("offset") ?? ""}`;

/** Draw what the hash asks for. */
async function draw({ stay = false } = {}) {
  const mine = ++drawing;
  const now = state();
  content.ariaBusy = "true";
  try {
    node ??= await ask("api/status");
    const view = now.has("image") ? await resultView(now) : await listView(now);
    if (mine === drawing) show(view, now, stay);
  } catch (error) {
    if (mine !== drawing) return;
    if (!(error instanceof Fault)) throw error;
    content.replaceChildren(fault(error, error.canChange ? () => draw() : null, listHash()));
    shown = location.hash;
    if (error.retryAfterS) setTimeout(() => mine === drawing && draw(), 1000 * error.retryAfterS);
  } finally {
    if (mine === drawing) content.ariaBusy = "false";
  }
}

/** A new view starts at its top, for eyes and for screen readers; one that stays or comes again is where it was. */
function show(view, now, stay) {
  const isList = !now.has("image");
  if (stay) remember(content, isList);
  const before = stay || subject === null || shown !== location.hash ? position(isList) : null;
  content.replaceChildren(...view);
  document.title = isList ? "Lookalike" : "Look-alikes – Lookalike";
  if (before) restore(content, before);
  else if (subject !== null) {
    window.scrollTo(0, 0);
    content.querySelector("h1")?.focus({ preventScroll: true });
  }
  subject = subjectOf(now);
  shown = location.hash;
}

async function listView(now) {
  if (node.indexed.IMAGE === 0) return [emptyView()];
  const chosen = now.getAll("modality");
  const offset = Number(now.get("offset")) || 0;
  const query = new URLSearchParams([["offset", offset], ["limit", PAGE_SIZE], ...chosen.map((name) => ["modality", name])]);
  const { total, cases } = await ask(`api/cases?${query}`);
  if (!cases.length && total) { // a page that is no longer there: the last one
    const last = Math.floor((total - 1) / PAGE_SIZE) * PAGE_SIZE;
    history.replaceState(history.state, "", link({ modality: chosen, offset: last || "" }));
    return listView(state());
  }
  return [
    make(
      "div",
      { class: "bar-of-tools" },
      make("div", {}, make("h1", { tabindex: "-1" }, "Choose a case"), make("p", { class: "hint" }, "A click shows what looks like it. Latest first, one card a series.")),
      chips(Object.entries(node.modalities), chosen, (modality) => link({ modality })),
    ),
    cases.length
      ? make("div", { class: "grid" }, cases.map((image) => caseCard(image, link({ image: image.uid, frame: image.frame }))))
      : make("p", { class: "nothing" }, "No case here has this modality."),
    pager(total, offset, chosen),
  ];
}

function pager(total, offset, modality) {
  const to = (start, text, possible) =>
    possible ? make("a", { class: "button", href: link({ modality, offset: start || "" }) }, text) : make("span", { class: "button off", "aria-disabled": "true" }, text);
  return make(
    "nav",
    { class: "pager", "aria-label": "Pages" },
    to(Math.max(0, offset - PAGE_SIZE), "‹ Newer", offset > 0),
    make("span", {}, total ? `${number(offset + 1)}–${number(Math.min(offset + PAGE_SIZE, total))} of ${number(total)} series` : "none"),
    to(offset + PAGE_SIZE, "Older ›", offset + PAGE_SIZE < total),
  );
}

function emptyView() {
  const { ae_title: title, port, program } = node;
  const name = title.includes(" ") ? `"${title}"` : title;
  const line = (text) => make("pre", {}, make("code", {}, text));
  return make(
    "section",
    { class: "empty" },
    make("h1", { tabindex: "-1" }, node.waiting ? `${plural(node.waiting, "image")} being indexed …` : "No image here yet"),
    make("p", {}, "Send DICOM images to this node; they appear here by themselves."),
    line(`${program} send FOLDER --server ${name}@${host()}:${port}`),
    make("p", {}, "or with DCMTK, or from any archive that can send"),
    line(`dcmsend -aec ${name} --scan-directories --recurse --no-halt ${host()} ${port} FOLDER`),
    make("p", {}, "No images at hand? A phantom hospital can be computed:"),
    line(`${program} sample phantoms --patients 12 && ${program} send phantoms --server ${name}@${host()}:${port}`),
  );
}

async function resultView(now) {
  const question = { level: now.get("level") ?? "IMAGE", k: now.get("k") ?? "20", modality: now.getAll("modality"), own: now.get("own") ?? "" };
  const query = new URLSearchParams([["level", question.level], ["k", question.k], ["exclude", question.own ? "SELF" : "SELF,PATIENT"]]);
  if (now.has("frame")) query.set("frame", now.get("frame"));
  question.modality.forEach((name) => query.append("modality", name));
  const answer = await ask(`api/similar/${encodeURIComponent(now.get("image"))}?${query}`);
  const { images } = await ask(`api/series/${encodeURIComponent(answer.example.series_uid)}`);
  const to = (changes) => link({ image: answer.example.uid, frame: answer.example.frame, ...changed(question), ...changes });
  return [
    make(
      "div",
      { class: "sides" },
      exampleView(answer.example, images, to),
      make(
        "section",
        { class: "results", "aria-label": "Look-alikes" },
        make("h1", { tabindex: "-1" }, "Look-alikes"),
        controls(question, to),
        make("p", { class: "hint" }, summary(answer), make("strong", {}, "Look-alikes are never findings of this examination.")),
        answer.matches.length
          ? make("div", { class: "grid" }, answer.matches.map((match) => matchCard(match, answer, to({ image: match.uid, frame: match.frame }))))
          : make("p", { class: "nothing" }, nothing(question)),
      ),
    ),
  ];
}

/** The parameters of a question that differ from those of a new page. */
const changed = ({ level, k, modality, own }) => ({ level: level === "IMAGE" ? "" : level, k: k === "20" ? "" : k, modality, own });

function summary({ level, matches, candidates, code_length: bits, elapsed_ms: elapsed }) {
  const time = elapsed < 10 ? elapsed.toFixed(1) : number(Math.round(elapsed));
  const what = level === "IMAGE" ? "of" : `${LEVELS[level].toLowerCase()} among`;
  return `${number(matches.length)} nearest ${what} ${plural(candidates, "image")}, by ${bits}-bit codes, in ${time} ms.`;
}

function nothing({ modality, own }) {
  const ways = [modality.length ? "another modality" : "", own ? "" : "this patient’s own images"].filter(Boolean);
  return `Nothing else to compare with here. ${ways.length ? `Try with ${ways.join(" or ")}, or send` : "Send"} more images.`;
}

function exampleView(example, images, to) {
  const picture = make("div", { class: "picture" }, preview(example, spoken(example)));
  return make(
    "aside",
    { class: "example", "aria-label": "Chosen image" },
    make("a", { class: "back", href: listHash() }, "‹ All cases"),
    picture,
    images.length > 1 ? scroller(example, images, to, picture) : null,
    make("p", { class: "kind" }, kind(example)),
    make("p", { class: "title" }, title(example)),
    make("p", { class: "person" }, person(example)),
    example.study_description && example.study_description !== title(example) ? make("p", { class: "person" }, example.study_description) : null,
    make("details", {}, make("summary", {}, "SOP Instance UID"), make("code", { class: "uid" }, example.uid)),
  );
}

/** Runs through the series; letting go asks with the image then shown. */
function scroller(example, images, to, picture) {
  const here = images.findIndex(({ uid, frame }) => uid === example.uid && frame === example.frame);
  const label = make("span", {}, `Image ${here + 1} of ${images.length}`);
  const slide = (event) => {
    const index = event.target.valueAsNumber;
    label.textContent = `Image ${index + 1} of ${images.length}`;
    const shown = picture.querySelector("img");
    if (shown) shown.src = previewUrl(images[index]);
  };
  const choose = (event) => {
    const image = images[event.target.valueAsNumber];
    history.replaceState(history.state, "", to({ image: image.uid, frame: image.frame }));
    draw({ stay: true });
  };
  const range = make("input", { type: "range", min: "0", max: String(images.length - 1), oninput: slide, onchange: choose });
  range.value = here;
  return make("label", { class: "scroller" }, label, range);
}

function controls(question, to) {
  const go = (changes) => {
    location.hash = to(changes);
  };
  const levels = Object.entries(LEVELS).map(([level, text]) =>
    make("label", {}, make("input", { type: "radio", name: "level", value: level, checked: level === question.level, onchange: () => go({ level }) }), make("span", {}, text)),
  );
  const counts = COUNTS.includes(question.k) ? COUNTS : [...COUNTS, question.k];
  return make(
    "div",
    { class: "controls" },
    make("fieldset", { class: "segments" }, make("legend", {}, "Rank by"), levels),
    make("label", { class: "field" }, "Show", make("select", { onchange: (event) => go({ k: event.target.value }) }, counts.map((k) => make("option", { value: k, selected: k === question.k }, k)))),
    make("label", { class: "field" }, make("input", { type: "checkbox", checked: !question.own, onchange: (event) => go({ own: event.target.checked ? "" : "1" }) }), "Leave out this patient"),
    chips(Object.keys(node.modalities).map((name) => [name, null]), question.modality, (modality) => to({ modality })),
  );
}

const host = () => (["0.0.0.0", "::"].includes(node.host) ? location.hostname : node.host);

/** Head, foot and notices; a new drawing of the list when there are new images. */
async function poll() {
  const before = node;
  let problems = [];
  try {
    const [status, ready] = await Promise.all([ask("api/status"), fetch("readyz").then((response) => response.json())]);
    node = status;
    problems = ready.reasons;
  } catch (error) {
    problems = [error instanceof Fault ? error.title : "the node does not answer as expected"];
  }
  if (node) head(problems);
  if (before && before !== node && before.indexed.IMAGE !== node.indexed.IMAGE && !state().has("image")) draw({ stay: true });
}

function head(problems) {
  const aside = Object.entries(node.set_aside);
  const total = aside.reduce((sum, [, count]) => sum + count, 0);
  const counts = [
    ["Patients", node.indexed.PATIENT],
    ["Studies", node.indexed.STUDY],
    ["Series", node.indexed.SERIES],
    ["Images", node.indexed.IMAGE],
    ["Waiting", node.waiting, node.waiting ? "busy" : ""],
    ["Set aside", total, total ? "warn" : ""],
  ];
  document.getElementById("address").replaceChildren(make("span", { class: "title" }, node.ae_title), make("span", {}, `${host()}:${node.port}`));
  document.getElementById("counts").replaceChildren(...counts.map(([name, count, mood]) => make("div", { class: mood || null }, make("dt", {}, name), make("dd", {}, number(count)))));
  document.getElementById("model").textContent = `Lookalike ${node.version} · model ${node.model}`;
  notices(problems, aside);
}

function notices(problems, aside) {
  const lines = problems.length ? [make("p", { class: "notice fault" }, `Not ready: ${problems.join("; ")}.`)] : [];
  if (node.phantoms_only) lines.push(make("p", { class: "notice phantom" }, "These sample cases are phantoms, computed by Lookalike: no patient."));
  if (aside.length) lines.push(make("p", { class: "notice" }, `Set aside: ${aside.map(([reason, count]) => `${number(count)} ${reason.replaceAll("-", " ")}`).join(", ")}.`));
  const box = document.getElementById("notices");
  const same = box.textContent === lines.map((line) => line.textContent).join("");
  if (!same) box.replaceChildren(...lines); // a screen reader would read them again
}

history.scrollRestoration = "manual"; // what the browser would scroll to is not drawn yet
window.addEventListener("hashchange", () => draw({ stay: subjectOf(state()) === subject }));
for (const happening of ["scrollend", "focusin", "click"])
  window.addEventListener(happening, () => shown === location.hash && remember(content, !state().has("image")), { capture: true });
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && state().has("image")) location.hash = listHash();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // its hash would be a state
  content.focus();
});
draw().then(poll);
setInterval(() => document.hidden || poll(), POLL_MS);
