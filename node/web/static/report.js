// Reports on the study of an image, where the node keeps them and the reader may see names.

import { askOnce, Fault } from "./api.js";
import { make } from "./elements.js";

/** A place that fills with the reports on an image's study; null where the node shows none. */
export function reportsOf(image, node, whose) {
  if (!node.has_reports || !image.study_uid) return null;
  const place = make("div", { class: "reports" });
  fill(place, image, whose);
  return place;
}

async function fill(place, image, whose) {
  try {
    const { reports } = await askOnce(`api/reports/${encodeURIComponent(image.study_uid)}`);
    place.append(...reports.map((report) => reportView(report, image.study_uid, whose)));
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    place.append(make("p", { class: "hint" }, `Reports cannot be shown: ${error.title}.`));
  }
}

function reportView(report, study, whose) {
  const state = [report.is_complete ? "" : "not complete", report.is_verified ? "" : "not verified"].filter(Boolean).join(", ");
  const date = report.date.replace(/^(\d{4})(\d{2})(\d{2})$/, "$1-$2-$3");
  const name = [report.title || "Report", date, state].filter(Boolean).join(" · ");
  return make(
    "details",
    { class: "report" },
    make("summary", {}, name),
    make("p", { class: "hint" }, `${whose}. As the archive sent it.`),
    report.words ? make("pre", { class: "words", tabindex: "0", "aria-label": name }, report.words) : null,
    report.has_pdf ? make("a", { href: `api/reports/${encodeURIComponent(study)}/${encodeURIComponent(report.uid)}.pdf`, download: "report.pdf" }, "Save the report as PDF") : null,
  );
}
