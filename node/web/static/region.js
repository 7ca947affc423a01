// A part of an image, in its own pixels, and where that lies in its preview, which is letterboxed into a square.

export const SIDE = 224;
const MIN = 8; // pixels of the preview: less shows nothing that could be searched for

/** Region in an address or a parameter: first column, first row, last column, last row, 1-based. */
export const readRegion = (text) => (/^\d+(,\d+){3}$/.test(text ?? "") ? text.split(",").map(Number) : null);

function letterbox({ rows, columns }) {
  const scale = SIDE / Math.max(rows, columns);
  const [width, height] = [columns, rows].map((side) => Math.max(1, Math.round(side * scale)));
  return { width, height, left: Math.floor((SIDE - width) / 2), top: Math.floor((SIDE - height) / 2) };
}

/** Box in a preview, as left, top, right, bottom, of a region of an image. */
export function toPreview([firstColumn, firstRow, lastColumn, lastRow], image) {
  const { width, height, left, top } = letterbox(image);
  const x = (column) => left + (column * width) / image.columns;
  const y = (row) => top + (row * height) / image.rows;
  return [x(firstColumn - 1), y(firstRow - 1), x(lastColumn), y(lastRow)];
}

/** Region of an image under a box of its preview; null if it is too small. */
export function fromPreview(box, image) {
  const { width, height, left, top } = letterbox(image);
  const within = (value, start, size) => Math.min(Math.max(value - start, 0), size);
  const [x0, x1] = [within(Math.min(box[0], box[2]), left, width), within(Math.max(box[0], box[2]), left, width)];
  const [y0, y1] = [within(Math.min(box[1], box[3]), top, height), within(Math.max(box[1], box[3]), top, height)];
  if (x1 - x0 < MIN || y1 - y0 < MIN) return null;
  const column = (x, rounded) => rounded((x * image.columns) / width);
  const row = (y, rounded) => rounded((y * image.rows) / height);
  return [column(x0, Math.floor) + 1, row(y0, Math.floor) + 1, column(x1, Math.ceil), row(y1, Math.ceil)];
}
