// The address of the page: its hash is the whole state of a view, so that back, forward and links work.

export const state = () => new URLSearchParams(location.hash.slice(1));

/** Hash of a view; empty values are left out, and a list of values repeats its name. */
export const link = (values) => changed(values, new URLSearchParams());

/** Hash of a view with some values changed. */
export function changed(values, before = state()) {
  const next = new URLSearchParams(before);
  for (const [name, value] of Object.entries(values)) {
    next.delete(name);
    for (const item of [value].flat()) if (item !== "" && item !== null && item !== undefined) next.append(name, item);
  }
  return `#${next}`;
}

export const go = (hash) => {
  location.hash = hash;
};

/** Names that make up a question about an image; what else is in the address is only how its answer is looked at. */
export const FILTERS = ["modality", "body_part", "manufacturer", "sex", "age", "date"];
export const REFINEMENTS = ["also", "without", "region"];

/** Changes that lead to a question about another image: its filters stay, what refined the last one goes. */
export const otherImage = ({ uid, frame }) => ({ image: uid, frame, dropped: "", kind: "", also: [], without: [], region: "", with: "", at: "" });
