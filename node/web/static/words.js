// How the page says what the node answers.

export const number = (value) => value.toLocaleString("en");

export const plural = (count, noun, many = `${noun}s`) => `${number(count)} ${count === 1 ? noun : many}`;

export const SEXES = { F: "female", M: "male", O: "other sex" };

const WHOSE = {
  OTHER: ["Other patient", "Another patient, not this examination"],
  SAME: ["Same patient", "Another image of the same patient"],
  UNKNOWN: ["Patient not known", "Patient not known: take it for another patient"],
};

/** Whose image a match is: as a short and as a long text. */
export const whose = (match) => WHOSE[match.patient];

const BANDS = [[0, "Same code"], [1 / 16, "Very much alike"], [1 / 8, "Alike"], [1 / 4, "Somewhat alike"], [3 / 8, "Little alike"]];

/** Words for the part of the bits that differ. */
const likeness = (part) => BANDS.find(([most]) => part <= most)?.[1] ?? "Hardly alike";

const CHANCES = [[0.01, "far closer than chance"], [0.1, "closer than chance"], [1, "little closer than chance"]];

/** Words for the number of candidates that chance puts as near; "" where it is not known. */
const byChance = (expected) => (expected === null ? "" : CHANCES.find(([most]) => expected < most)?.[1] ?? "");

/** Likeness of a match; of one that is no closer than chance no more than that: it must not be dressed up. */
export function alike(match, { code_length: codeLength }) {
  if (isChance(match)) return "No closer than chance";
  const far = match.unusually_far ? "farther than usual" : "";
  return [likeness(match.distance / codeLength), byChance(match.expectation), far].filter(Boolean).join(", ");
}

export const isChance = (match) => match.no_closer_than_chance;

/** Exact figures behind the words. */
export function figures(match, { code_length: codeLength }) {
  const bits = match.distance === 0 ? `all ${codeLength} bits equal` : `${+match.distance.toFixed(2)} of ${codeLength} bits differ`;
  return match.expectation === null ? bits : `${bits}; chance puts ${+match.expectation.toPrecision(2)} images of other patients as near`;
}

export const kind = (image) =>
  [image.modality || "no modality", image.body_part, image.laterality, image.view, image.frame > 1 ? `frame ${image.frame}` : ""].filter(Boolean).join(" · ");

export const title = (image) => image.series_description || image.study_description || "no description";

/** Sex, age and year, as far as they are known. */
export function person(image) {
  const age = image.age === null ? "" : image.age < 1 ? "under 1 y" : `${image.age} y`;
  return [image.sex, age, image.year].filter(Boolean).join(" · ") || "sex and age not given";
}

export function spoken(image) {
  const age = image.age === null ? "" : `${image.age} years`;
  return [image.modality, image.body_part, title(image), SEXES[image.sex], age, image.year].filter(Boolean).join(", ");
}
