// The reader's position (scroll and focus): each entry of the history stores its own, and the last list can be returned to.

const LIST = "lookalike-list"; // key in sessionStorage: one tab, one reader

const focusables = (root) => [...root.querySelectorAll("a, button, input, select, summary")];

/** Store scroll and focus in the present entry of the history; for a list, also for links that lead back to it. */
export function remember(content, isList) {
  const position = { scroll: window.scrollY, focus: focusables(content).indexOf(document.activeElement) };
  history.replaceState(position, "");
  if (isList) sessionStorage.setItem(LIST, JSON.stringify({ hash: location.hash, position }));
}

/** Hash of the list that was shown last: its filter and page. */
export const listHash = () => (JSON.parse(sessionStorage.getItem(LIST)) ?? { hash: "" }).hash || "#";

/** Position of the present view: null where it is new. */
export function position(isList) {
  if (history.state) return history.state;
  const list = JSON.parse(sessionStorage.getItem(LIST));
  return isList && list && list.hash === location.hash ? list.position : null;
}

/** Bring a view that was just drawn to its position. */
export function restore(content, { scroll, focus }) {
  if (focus >= 0) focusables(content)[focus]?.focus({ preventScroll: true });
  window.scrollTo(0, scroll);
}
