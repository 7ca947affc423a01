// The list of cases, and what is shown while there is none.

import { go, link, state } from "./address.js";
import { ask } from "./api.js";
import { caseCard } from "./cards.js";
import { dropZone } from "./drop.js";
import { chips, make, segments } from "./elements.js";
import { number, plural } from "./words.js";

const PAGE_SIZE = 24;
const NOUNS = { study: "studies", series: "series" };

export async function listView(now, node) {
  if (node.indexed.IMAGE === 0) return [emptyView(node)];
  const chosen = now.getAll("modality");
  const offset = Number(now.get("offset")) || 0;
  const find = now.get("find") ?? "";
  const by = now.get("by") ?? (find ? "series" : "study");
  const to = (changes) => link({ find, by: now.get("by"), modality: chosen, ...changes });
  const query = new URLSearchParams([["find", find], ["by", by], ["offset", offset], ["limit", PAGE_SIZE], ...chosen.map((name) => ["modality", name])]);
  const { total, cases } = await ask(`api/cases?${query}`);
  if (!cases.length && total) { // a page that is no longer there: the last one
    const last = Math.floor((total - 1) / PAGE_SIZE) * PAGE_SIZE;
    history.replaceState(history.state, "", to({ offset: last || "" }));
    return listView(state(), node);
  }
  return [
    make(
      "div",
      { class: "bar-of-tools" },
      make("div", {}, make("h1", { tabindex: "-1" }, "Choose a case"), make("p", { class: "hint" }, `A click shows what looks like it. ${by === "study" ? "Newest study first." : "Latest arrival first, one card a series."}`)),
      searchBox(find, (text) => link({ find: text, modality: chosen })),
      segments("List by", "by", Object.entries({ study: "Studies", series: "Series" }), by, (value) => go(to({ by: value, offset: "" }))),
      chips("Modality", Object.entries(node.modalities), chosen, (modality) => to({ modality })),
    ),
    cases.length
      ? make("div", { class: "grid" }, cases.map(caseCard))
      : make("p", { class: "nothing" }, find ? `Nothing here by “${find}”${chosen.length ? " of this modality" : ""}.` : "No case here has this modality.", " ", make("a", { href: link({}) }, "All cases")),
    total ? pager(total, offset, by, to) : null,
    dropZone(),
  ];
}

/** Finds the open case; its text is in the address, so that a worklist can link to one by its accession number. */
function searchBox(find, hrefOf) {
  const field = make("input", { type: "search", name: "find", maxlength: "128", placeholder: "Accession number, UID, description", "aria-label": "Find a case", "aria-keyshortcuts": "/", autocomplete: "off", spellcheck: "false" });
  field.value = find;
  const search = (event) => {
    event.preventDefault();
    go(hrefOf(field.value.trim()));
  };
  return make("form", { class: "search", role: "search", onsubmit: search }, field, make("button", { type: "submit" }, "Find"));
}

function pager(total, offset, by, hrefOf) {
  const to = (start, text, possible) =>
    possible ? make("a", { class: "button", href: hrefOf({ offset: start || "" }) }, text) : make("span", { class: "button off", "aria-disabled": "true" }, text);
  return make(
    "nav",
    { class: "pager", "aria-label": "Pages" },
    to(Math.max(0, offset - PAGE_SIZE), "‹ Newer", offset > 0),
    make("span", {}, `${number(offset + 1)}–${number(Math.min(offset + PAGE_SIZE, total))} of ${number(total)} ${total === 1 ? by : NOUNS[by]}`),
    to(offset + PAGE_SIZE, "Older ›", offset + PAGE_SIZE < total),
  );
}

export const host = (node) => (["0.0.0.0", "::"].includes(node.host) ? location.hostname : node.host);

function emptyView(node) {
  const { ae_title: aeTitle, port, program } = node;
  const name = aeTitle.includes(" ") ? `"${aeTitle}"` : aeTitle;
  const line = (text) => make("pre", {}, make("code", {}, text));
  const address = host(node);
  return make(
    "section",
    { class: "empty" },
    make("h1", { tabindex: "-1" }, node.waiting ? `${plural(node.waiting, "image")} being indexed …` : "No image here yet"),
    make("p", {}, "Send DICOM images to this node; they appear here by themselves."),
    line(`${program} send FOLDER --server ${name}@${address}:${port}`),
    make("p", {}, "or with DCMTK, or from any archive that can send"),
    line(`dcmsend -aec ${name} --scan-directories --recurse --no-halt ${address} ${port} FOLDER`),
    make("p", {}, "No images at hand? A phantom hospital can be computed:"),
    line(`${program} sample phantoms --patients 12 && ${program} send phantoms --server ${name}@${address}:${port}`),
  );
}
