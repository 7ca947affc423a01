// A file that is dropped on the page, or chosen: it stays in this tab, and the node keeps nothing of it.

import { go, link } from "./address.js";
import { Fault } from "./api.js";
import { button, make } from "./elements.js";

const MAGIC = [["image/png", 0, [0x89, 0x50, 0x4e, 0x47]], ["image/jpeg", 0, [0xff, 0xd8, 0xff]], ["application/dicom", 128, [0x44, 0x49, 0x43, 0x4d]]];
const drops = []; // by the number in the address; a file's name may name a patient, and stays out of it

/** The file of a number in the address with its media type; what is learned of it may be added. */
export async function dropped(name) {
  const drop = drops[Number(name)];
  if (!drop) throw new Fault("This file is no longer here", "A dropped file is not kept. Drop it again.", { canChange: false });
  drop.type ??= await typeOf(drop.file);
  if (drop.type !== "application/dicom") drop.sides ??= await sidesOf(drop.file);
  return drop;
}

async function typeOf(file) {
  const head = new Uint8Array(await file.slice(0, 132).arrayBuffer());
  return MAGIC.find(([, start, bytes]) => bytes.every((byte, index) => head[start + index] === byte))?.[0] ?? "application/dicom";
}

/** Size of a picture as it is shown; nothing of one that the browser cannot read. */
async function sidesOf(file) {
  try {
    const { width, height } = await createImageBitmap(file);
    return { columns: width, rows: height };
  } catch {
    return {};
  }
}

function take(file) {
  if (file) go(link({ dropped: drops.push({ file }) - 1 }));
}

/** Says that a file can be dropped anywhere on the page, with a way to choose one. */
export function dropZone() {
  const field = make("input", { type: "file", class: "hidden", "aria-label": "File to find look-alikes of", tabindex: "-1", onchange: (event) => take(event.target.files[0]) });
  return make("p", { class: "drop" }, "Or drop a DICOM, JPEG or PNG file anywhere on this page. ", field, button("Choose a file", () => field.click()), make("small", {}, "It is compared, and not kept."));
}

/** Let the whole page take files. */
export function takeDrops(target) {
  let inside = 0;
  const mark = (count) => {
    inside = Math.max(0, count);
    document.body.classList.toggle("dropping", inside > 0);
  };
  const isFile = (event) => event.dataTransfer?.types.includes("Files");
  target.addEventListener("dragenter", (event) => isFile(event) && mark(inside + 1));
  target.addEventListener("dragleave", (event) => isFile(event) && mark(inside - 1));
  target.addEventListener("dragover", (event) => isFile(event) && event.preventDefault());
  target.addEventListener("drop", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    mark(0);
    take(event.dataTransfer.files[0]);
  });
}
