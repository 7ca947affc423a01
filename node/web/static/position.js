// The reader's position (scroll and focus): each entry of the history stores its own, and the last list and the last
// answer can be returned to.

const KEY = { list: "lookalike-list", result: "lookalike-result" }; // in sessionStorage: one tab, one reader

const focusables = (root) => [...root.querySelectorAll("a, button, input, select, summary, canvas")];

const stored = (kind) => JSON.parse(sessionStorage.getItem(KEY[kind]) ?? "null");

/** Store scroll and focus in the present entry of the history; for a list or an answer, also for links that lead back. */
export function remember(content, kind) {
  const position = { scroll: window.scrollY, focus: focusables(content).indexOf(document.activeElement) };
  history.replaceState(position, "");
  if (kind in KEY) sessionStorage.setItem(KEY[kind], JSON.stringify({ hash: location.hash, position }));
}

/** Hash of the list that was shown last: its filter and page. */
export const listHash = () => stored("list")?.hash || "#";

/** Position of the present view: null where it is new. */
export function position(kind) {
  if (history.state) return history.state;
  const last = kind in KEY ? stored(kind) : null;
  return last && last.hash === location.hash ? last.position : null;
}

/** Bring a view that was just drawn to its position. */
export function restore(content, { scroll, focus }) {
  if (focus >= 0) focusables(content)[focus]?.focus({ preventScroll: true });
  window.scrollTo(0, scroll);
}
