// What the page asks the node for. Every failure becomes a Fault that can be shown.

const FAULTS = {
  A700: "The node is busy",
  A900: "This question has no answer",
  C101: "This image is not here",
  C102: "There are no pixels to compare",
  C103: "This image cannot be compared",
  C105: "This image is still being indexed",
  C106: "This region cannot be compared",
};
const RETRY_S = 5;
const KEPT = 8; // answers that are kept for the way back

export class Fault extends Error {
  constructor(title, detail, { retryAfterS = 0, canChange = true } = {}) {
    super(title);
    Object.assign(this, { title, detail, retryAfterS, canChange });
  }
}

/** JSON of a path. */
export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Fault("The node does not answer", "Is it running? The page tries again by itself.", { retryAfterS: RETRY_S });
  }
  const value = await response.json().catch(() => ({}));
  if (response.ok) return value;
  const again = Number(response.headers.get("Retry-After")) || 0;
  const title = FAULTS[value.dimse_status] ?? value.title ?? `Status ${response.status}`;
  throw new Fault(title, sentence(value.detail ?? "see the log of the node"), { retryAfterS: again, canChange: again > 0 || response.status >= 500 });
}

const kept = new Map();

/** JSON of a path as it was a moment ago: opening a case and coming back asks no second time. */
export async function askOnce(path, key = path, options = {}) {
  if (!kept.has(key)) {
    const answer = ask(path, options);
    kept.set(key, answer);
    answer.catch(() => kept.delete(key));
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  }
  return kept.get(key);
}

/** Forget kept answers: there are new images. */
export const forget = () => kept.clear();

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;
