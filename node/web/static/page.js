// The page of the node: it draws what the hash of the address asks for.

import { changed, go, REFINEMENTS, state } from "./address.js";
import { ask, Fault, forget } from "./api.js";
import { takeDrops } from "./drop.js";
import { fault } from "./elements.js";
import { showHelp, takeKeys } from "./keys.js";
import { listView } from "./list.js";
import { head, nodeView } from "./node_view.js";
import { listHash, position, remember, restore } from "./position.js";
import { resultView } from "./result.js";

const POLL_MS = 5000;
const TITLES = { list: "Lookalike", node: "This node – Lookalike", result: "Look-alikes – Lookalike", pair: "Two images – Lookalike" };

const content = document.getElementById("content");
let node = null; // last answer of /api/status
let subject = null; // subject of the view that is shown, as subjectOf names it
let shown = null; // hash of the view that is shown
let steps = []; // hashes before each refinement of this answer, the last one last
let drawing = 0; // number of the drawing under way: an answer to an older one is dropped

const kindOf = (now) => (now.has("with") ? "pair" : now.has("image") || now.has("dropped") ? "result" : now.has("tab") ? "node" : "list");

/** Subject of a view: focus and scrolling stay where they are while it is the same. */
const subjectOf = (now) => ["image", "dropped", "with", "offset", "tab"].map((name) => now.get(name) ?? "").join(" ");

async function viewOf(now) {
  node ??= await ask("api/status");
  const kind = kindOf(now);
  if (kind === "list") return listView(now, node);
  if (kind === "node") return nodeView(node);
  return resultView(now, node, steps.at(-1) ?? null, () => draw({ stay: true }));
}

/** Draw what the hash asks for. */
async function draw({ stay = false } = {}) {
  const mine = ++drawing;
  const now = state();
  content.ariaBusy = "true";
  try {
    const view = await viewOf(now);
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
  const kind = kindOf(now);
  if (stay) remember(content, kind);
  const before = stay || subject === null || shown !== location.hash ? position(kind) : null;
  content.replaceChildren(...view.filter(Boolean));
  document.title = TITLES[kind];
  if (before) restore(content, before);
  else if (subject !== null) {
    window.scrollTo(0, 0);
    content.querySelector("h1")?.focus({ preventScroll: true });
  }
  subject = subjectOf(now);
  shown = location.hash;
}

/** Refinements can be taken back, one after the other, until the question is about another image. */
function follow(event) {
  const [before, now] = [event.oldURL, event.newURL].map((url) => new URLSearchParams(new URL(url).hash.slice(1)));
  const refinement = (params) => REFINEMENTS.map((name) => params.getAll(name).join()).join(" ");
  const isSame = ["image", "dropped"].every((name) => before.get(name) === now.get(name));
  const answerOf = (params) => changed({ with: "", at: "" }, params);
  if (!isSame) steps = [];
  else if (answerOf(now) === steps.at(-1)) steps.pop();
  else if (refinement(before) !== refinement(now)) steps.push(answerOf(before));
  draw({ stay: subjectOf(now) === subject });
}

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
  if (node) head(node, problems);
  if (!before || before === node || before.indexed.IMAGE === node.indexed.IMAGE) return;
  forget();
  if (["list", "node"].includes(kindOf(state()))) draw({ stay: true });
}

/** One view up: from two images to the answer, from the answer to the list. */
function back() {
  const kind = kindOf(state());
  if (kind === "pair") go(changed({ with: "", at: "" }));
  else if (kind !== "list") go(listHash());
}

history.scrollRestoration = "manual"; // what the browser would scroll to is not drawn yet
window.addEventListener("hashchange", follow);
for (const happening of ["scrollend", "focusin", "click"])
  window.addEventListener(happening, () => shown === location.hash && remember(content, kindOf(state())), { capture: true });
takeKeys(content, back);
takeDrops(document);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // its hash would be a state
  content.focus();
});
document.getElementById("help").addEventListener("click", showHelp);
draw().then(poll);
setInterval(() => document.hidden || poll(), POLL_MS);
