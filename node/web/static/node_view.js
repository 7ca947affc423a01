// What the node holds and what it could not use; the head of the page, and its notices.

import { make } from "./elements.js";
import { host } from "./list.js";
import { number, plural } from "./words.js";

const REASONS = {
  "no-pixel-data": "have no image",
  "not-readable": "could not be read",
  "time-limit": "took too long to decode",
  "memory-limit": "took too much memory to decode",
  "worker-died": "ended the process that decoded them",
  "uid-missing": "lack a UID",
};

const asideOf = (node) => Object.entries(node.set_aside);
const total = (counts) => counts.reduce((sum, [, count]) => sum + count, 0);

export function nodeView(node) {
  const aside = asideOf(node);
  const rows = [["Patients", node.indexed.PATIENT], ["Studies", node.indexed.STUDY], ["Series", node.indexed.SERIES], ["Images", node.indexed.IMAGE], ["Codes, one a frame", node.codes], ["Waiting to be indexed", node.waiting]];
  const table = (name, pairs) => make("table", {}, make("caption", {}, name), make("tbody", {}, pairs.map(([text, count]) => make("tr", {}, make("th", { scope: "row" }, text), make("td", {}, number(count))))));
  return [
    make(
      "section",
      { class: "node" },
      make("h1", { tabindex: "-1" }, "This node"),
      make("p", { class: "hint" }, node.waiting ? "Look-alikes are searched for among what is indexed: some images still wait." : "Everything that was received is indexed or set aside."),
      table("Indexed", rows),
      node.questions.asked ? table("Questions that were sent, lately", [["Asked", node.questions.asked], ["Answered", node.questions.answered], ["Waiting for an answer", node.questions.waiting], ["Answers that could not be delivered", node.questions.failed]]) : null,
      table("By modality, series", Object.entries(node.modalities).map(([name, count]) => [name || "no modality", count])),
      aside.length ? table("Set aside: images that can be no look-alikes", aside.map(([reason, count]) => [REASONS[reason] ?? reason.replaceAll("-", " "), count])) : make("p", { class: "hint" }, "Nothing was set aside."),
      make("p", { class: "hint" }, make("a", { href: "aside" }, "Set aside: why, since when and from whom"), ", for operators."),
      make("p", { class: "hint" }, "“lookalike status” on the machine of the node says more of both."),
    ),
  ];
}

export function head(node, problems) {
  const aside = asideOf(node);
  const set = total(aside);
  const counts = [
    ["Patients", node.indexed.PATIENT],
    ["Studies", node.indexed.STUDY],
    ["Series", node.indexed.SERIES],
    ["Images", node.indexed.IMAGE],
    ["Waiting", node.waiting, node.waiting ? "busy" : ""],
    ["Set aside", set, set ? "warn" : ""],
  ];
  document.getElementById("address").replaceChildren(make("span", { class: "title" }, node.ae_title), make("span", {}, `${host(node)}:${node.port}`));
  document.getElementById("counts").replaceChildren(...counts.map(([name, count, mood]) => make("div", { class: mood || null }, make("dt", {}, name), make("dd", {}, number(count)))));
  document.getElementById("model").textContent = `Lookalike ${node.version} · model ${node.model}`;
  notices(node, problems, set);
}

function notices(node, problems, set) {
  const lines = problems.length ? [make("p", { class: "notice fault" }, `Not ready: ${problems.join("; ")}.`)] : [];
  if (node.phantoms_only) lines.push(make("p", { class: "notice phantom" }, "These sample cases are phantoms, computed by Lookalike: no patient."));
  if (set) lines.push(make("p", { class: "notice" }, `${plural(set, "object")} set aside. `, make("a", { href: "#tab=node" }, "See why")));
  const box = document.getElementById("notices");
  const same = box.textContent === lines.map((line) => line.textContent).join("");
  if (!same) box.replaceChildren(...lines); // a screen reader would read them again
}
