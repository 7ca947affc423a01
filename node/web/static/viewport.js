// A picture with window, zoom and position, a map laid over it, and a region drawn in it.

import { make, previewUrl } from "./elements.js";
import { SIDE } from "./region.js";

const MAX_ZOOM = 16;
const STEP = 1.25;
const BLURRED = 1.5; // pixels of the screen for one of the picture: from here on a larger picture shows more
const MAP_COLOUR = [214, 70, 214]; // no grey of an image has it, and no banner
const MAX_SHARE = 0.6;

/** How a picture is looked at; several viewports may share one view. */
export function newView() {
  return { zoom: 1, x: 0, y: 0, level: 127.5, width: 255, watchers: new Set() };
}

export function setView(view, changes) {
  Object.assign(view, changes);
  view.zoom = Math.min(Math.max(view.zoom, 1), MAX_ZOOM);
  const room = (view.zoom - 1) / 2; // the picture never leaves its frame
  view.x = Math.min(Math.max(view.x, -room), room);
  view.y = Math.min(Math.max(view.y, -room), room);
  view.level = Math.min(Math.max(view.level, 0), 255);
  view.width = Math.min(Math.max(view.width, 1), 510);
  for (const watcher of view.watchers) watcher();
}

export const resetView = (view) => setView(view, { zoom: 1, x: 0, y: 0, level: 127.5, width: 255 });

/** Function that gets the picture of an image from its original pixels; null if the node has none. */
export const larger = (image, node) => (node.has_originals && !image.picture ? () => bitmap(`${previewUrl(image)}${image.frame ? "&" : "?"}large=true`) : null);

/** Bitmap of a picture of the node, or of one that came with an answer. */
export async function bitmap(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`no picture: ${response.status}`);
  return createImageBitmap(await response.blob());
}

export const bitmapOf = (base64) => createImageBitmap(new Blob([Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))], { type: "image/png" }));

/**
 * A viewport; `show` changes its picture, `lay` its map, `box` its region, and `startBox` waits for one to be drawn.
 * `larger` gives a larger picture of the same, and is called when that would show more; `note` says which one is shown.
 */
export function viewport(source, label, view, larger = null) {
  const note = make("small", { class: "hint source" });
  const canvas = make("canvas", { class: "viewport", tabindex: "0", role: "img", "aria-label": label, "aria-keyshortcuts": "+ - 0 ArrowLeft ArrowRight ArrowUp ArrowDown" });
  const scene = { picture: null, original: null, larger: null, number: 0, map: null, box: null, ondraw: null, view };
  const redraw = () => {
    draw(canvas, scene);
    if (scene.larger && scene.picture && place(canvas, scene).side > BLURRED * scene.picture.width) sharpen();
  };
  const take = (picture) => {
    [scene.original, scene.picture] = read(picture);
    note.textContent = `${picture.width > SIDE ? "From the original" : "Preview"}, ${picture.width} pixels wide`;
    canvas.dataset.pixels = picture.width;
  };
  const show = async (next, more = null) => {
    const mine = ++scene.number; // a picture that comes late must not stand for another one
    scene.larger = null;
    try {
      const picture = await next;
      if (mine !== scene.number) return;
      take(picture);
      scene.larger = more;
    } catch {
      canvas.setAttribute("aria-label", `${label}: no preview`);
    }
    redraw();
  };
  const sharpen = async () => {
    const [mine, load] = [scene.number, scene.larger];
    scene.larger = null;
    const picture = await load().catch(() => null); // the preview stays
    if (!picture || mine !== scene.number || picture.width <= scene.picture.width) return;
    take(picture);
    redraw();
  };
  view.watchers.add(redraw);
  new ResizeObserver(redraw).observe(canvas);
  listen(canvas, scene, redraw);
  show(source, larger);
  return {
    canvas,
    note,
    show,
    lay: (values) => {
      scene.map = values && mapOf(values);
      canvas.dataset.map = values ? "shown" : "";
      redraw();
    },
    box: (box) => {
      scene.box = box;
      redraw();
    },
    startBox: (ondraw) => {
      scene.ondraw = ondraw;
      canvas.classList.toggle("drawing", ondraw !== null);
      if (ondraw) canvas.focus();
    },
  };
}

function read(source) {
  const picture = make("canvas", { width: source.width, height: source.height });
  const context = picture.getContext("2d", { willReadFrequently: true });
  context.drawImage(source, 0, 0);
  return [context.getImageData(0, 0, source.width, source.height), picture];
}

function mapOf(values) {
  const map = make("canvas", { width: values[0].length, height: values.length });
  const context = map.getContext("2d");
  const pixels = context.createImageData(map.width, map.height);
  values.flat().forEach((value, index) => pixels.data.set([...MAP_COLOUR, 255 * MAX_SHARE * value], 4 * index));
  context.putImageData(pixels, 0, 0);
  return map;
}

/** Grey levels through the window, as PS3.3 C.11.2.1.2 has it for 8 bits. */
function applyWindow({ original, picture, view }) {
  const name = `${view.level} ${view.width}`;
  if (picture.dataset.window === name) return;
  picture.dataset.window = name;
  const table = Uint8ClampedArray.from({ length: 256 }, (_, grey) => 255 * ((grey - view.level) / view.width + 0.5));
  const colours = Uint32Array.from(table, (grey) => 0xff000000 + grey * 0x010101); // opaque, all channels alike
  const pixels = new ImageData(original.width, original.height);
  const target = new Uint32Array(pixels.data.buffer);
  for (let index = 0; index < target.length; index++) target[index] = colours[original.data[4 * index]];
  picture.getContext("2d").putImageData(pixels, 0, 0);
}

/** Size and corner of the picture on its canvas, in pixels of the canvas. */
function place(canvas, { view, picture }) {
  const side = Math.min(canvas.width, canvas.height) * view.zoom;
  const scale = side / Math.max(picture?.width ?? 1, picture?.height ?? 1);
  const [width, height] = [(picture?.width ?? 1) * scale, (picture?.height ?? 1) * scale];
  return { side, left: canvas.width / 2 + view.x * (side / view.zoom) - width / 2, top: canvas.height / 2 + view.y * (side / view.zoom) - height / 2, width, height };
}

function draw(canvas, scene) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.max(1, Math.round(side * ratio)));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "black";
  context.fillRect(0, 0, width, height);
  Object.assign(canvas.dataset, { zoom: scene.view.zoom.toFixed(2), level: Math.round(scene.view.level), width: Math.round(scene.view.width) });
  if (!scene.picture) return;
  applyWindow(scene);
  const spot = place(canvas, scene);
  context.imageSmoothingQuality = "high";
  for (const layer of [scene.picture, scene.map].filter(Boolean)) context.drawImage(layer, spot.left, spot.top, spot.width, spot.height);
  if (scene.box) outline(context, scene.box, spot, ratio);
  canvas.dataset.drawn = "yes";
}

function outline(context, [left, top, right, bottom], spot, ratio) {
  const scale = spot.width / SIDE;
  context.setLineDash([6 * ratio, 4 * ratio]);
  for (const [colour, width] of [["black", 4], ["#56c7cf", 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width * ratio;
    context.strokeRect(spot.left + left * scale, spot.top + top * scale, (right - left) * scale, (bottom - top) * scale);
  }
}

function listen(canvas, scene, redraw) {
  const { view } = scene;
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", () => scene.ondraw || resetView(view));
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas && !event.ctrlKey) return; // the page scrolls
    event.preventDefault();
    setView(view, { zoom: view.zoom * (event.deltaY < 0 ? STEP : 1 / STEP) });
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    const end = scene.ondraw ? drawBox(canvas, scene, event, redraw) : drag(canvas, view, event);
    canvas.addEventListener("pointerup", () => end(), { once: true });
    canvas.addEventListener("pointercancel", () => end(), { once: true });
  });
  canvas.addEventListener("keydown", (event) => (scene.ondraw ? boxKeys(scene, event, redraw) : viewKeys(view, event)));
}

/** The left button moves the picture; the right one, or Shift, changes the window as viewers do. */
function drag(canvas, view, start) {
  const before = { ...view };
  const windows = start.button === 2 || start.shiftKey;
  const move = (event) => {
    const [right, down] = [event.clientX - start.clientX, event.clientY - start.clientY];
    const side = Math.min(canvas.clientWidth, canvas.clientHeight);
    setView(view, windows ? { width: before.width + right, level: before.level + down } : { x: before.x + right / side, y: before.y + down / side });
  };
  canvas.addEventListener("pointermove", move);
  return () => canvas.removeEventListener("pointermove", move);
}

function drawBox(canvas, scene, start, redraw) {
  const at = (event) => {
    const frame = canvas.getBoundingClientRect();
    const ratio = canvas.width / frame.width;
    const spot = place(canvas, scene);
    return [((event.clientX - frame.left) * ratio - spot.left) * (SIDE / spot.width), ((event.clientY - frame.top) * ratio - spot.top) * (SIDE / spot.width)];
  };
  const first = at(start);
  const move = (event) => {
    scene.box = [...first, ...at(event)];
    redraw();
  };
  canvas.addEventListener("pointermove", move);
  return () => {
    canvas.removeEventListener("pointermove", move);
    scene.ondraw?.(scene.box);
  };
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Arrows move the box, with Shift its lower right corner; Enter takes it. */
function boxKeys(scene, event, redraw) {
  const [right, down] = (ARROWS[event.key] ?? [0, 0]).map((step) => 8 * step);
  scene.box ??= [SIDE / 4, SIDE / 4, (3 * SIDE) / 4, (3 * SIDE) / 4];
  const [x0, y0, x1, y1] = scene.box;
  if (event.key === "Enter") scene.ondraw(scene.box);
  else if (right || down) scene.box = event.shiftKey ? [x0, y0, x1 + right, y1 + down] : [x0 + right, y0 + down, x1 + right, y1 + down];
  else return;
  event.preventDefault();
  event.stopPropagation();
  redraw();
}

function viewKeys(view, event) {
  const [right, down] = ARROWS[event.key] ?? [0, 0];
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "+" || event.key === "=") setView(view, { zoom: view.zoom * STEP });
  else if (event.key === "-") setView(view, { zoom: view.zoom / STEP });
  else if (event.key === "0") resetView(view);
  else if ((right || down) && event.shiftKey) setView(view, { width: view.width + 10 * right, level: view.level + 10 * down });
  else if ((right || down) && view.zoom > 1) setView(view, { x: view.x - right / 10, y: view.y - down / 10 });
  else return;
  event.preventDefault();
  event.stopPropagation();
}

/** Sliders for the window of a view, and a way back; for those who do not drag. */
export function windowControls(view) {
  const slider = (name, text, most) => make("input", { type: "range", min: "0", max: String(most), "aria-label": text, oninput: (event) => setView(view, { [name]: event.target.valueAsNumber }) });
  const [level, width] = [slider("level", "Window level", 255), slider("width", "Window width", 510)];
  const follow = () => {
    level.value = view.level;
    width.value = view.width;
  };
  view.watchers.add(follow);
  follow();
  const zoom = (factor) => () => setView(view, { zoom: view.zoom * factor });
  const small = (text, name, onclick) => make("button", { type: "button", class: "small", "aria-label": name, title: name, onclick }, text);
  return make(
    "div",
    { class: "window", role: "group", "aria-label": "How the picture is shown" },
    make("label", { class: "field" }, "Level", level),
    make("label", { class: "field" }, "Width", width),
    small("−", "Zoom out", zoom(1 / STEP)),
    small("+", "Zoom in", zoom(STEP)),
    small("Reset", "Reset window and zoom", () => resetView(view)),
  );
}
