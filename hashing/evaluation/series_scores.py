"""Series of sections compared by the codes of their sections: four scores, and how well each finds what is alike."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread

from hashing.codes import coded, hamming_distance
from hashing.data.dicom_folders import labelled_sections
from hashing.evaluation.judgement import judge
from hashing.evaluation.protocol import GroundTruth, Ranker, by_chance, by_distance, task
from hashing.images.pixels import PixelError, network_input
from hashing.model.encoder import Encoder
from hashing.progress import progress

MIN_SECTIONS = 5
"""Sections that a series needs to say how well levels of the body agree."""


@dataclass(frozen=True, slots=True)
class SeriesCodes:
    """Relaxed codes of the sections of one series.

    Attributes
    ----------
    labels
        Region or kind of the series; series are alike if they share one.
    relaxed : (n, code_length)
    positions_mm : (n,)
        Positions of the sections along their normal.
    """

    patient_id: str
    series_uid: str
    modality: str
    labels: tuple[str, ...]
    relaxed: NDArray[np.float32]
    positions_mm: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SeriesResult:
    """Precision and average precision of rankings by one score of series.

    Attributes
    ----------
    unit
        "series" or "section".
    relevance
        "label": those of other patients that share a label. "patient": other series of the same patient.
    queries, candidates
        Queries that have something relevant, and what each searches, itself among them.
    precision, average_precision
        Precision at 1 and MAP, as expectations over the order of ties.
    chance_precision, chance_average_precision
        The same of a random order.
    """

    unit: str
    relevance: str
    score: str
    queries: int
    candidates: int
    precision: float
    average_precision: float
    chance_precision: float
    chance_average_precision: float


def best_match(distances: NDArray[np.number]) -> float:
    """Least distance of a section of the query (rows) to a section of the other series (columns)."""
    return float(distances.min())


def mean_distance(distances: NDArray[np.number]) -> float:
    """Mean distance of all pairs of sections."""
    return float(distances.mean())


def late_interaction(distances: NDArray[np.number]) -> float:
    """Mean over the query's sections of the distance to the best match of each (Khattab and Zaharia, SIGIR 2020)."""
    return float(distances.min(axis=1).mean())


SCORES: dict[str, Callable[[NDArray[np.number]], float]] = {
    "best match": best_match, "mean": mean_distance, "late interaction": late_interaction,
}  # fmt: skip
POOLED = "pooled code"


def section_distances(query: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.int64]:
    """Hamming distances (n_query, n_other) of the codes of relaxed codes (n, code_length)."""
    codes = coded(other)
    return np.stack([hamming_distance(code, codes).astype(np.int64) for code in coded(query)])


def pooled(relaxed: NDArray[np.float32]) -> NDArray[np.float32]:
    """One relaxed code (1, code_length) for a series: the mean over its sections of tanh of their relaxed codes."""
    return np.asarray(np.tanh(relaxed).mean(axis=0, keepdims=True))


def series_distances(series: Sequence[SeriesCodes], score: str) -> NDArray[np.float64]:
    """Distances (n, n) of series by a score: queries down, others across; late interaction is not symmetric."""
    if score == POOLED:
        codes = np.concatenate([pooled(one.relaxed) for one in series])
        return section_distances(codes, codes).astype(np.float64)
    return np.array([[SCORES[score](section_distances(a.relaxed, b.relaxed)) for b in series] for a in series])


def level_agreement(query: SeriesCodes, other: SeriesCodes) -> float:
    """Correlation of the positions of a query's sections with those of their best matches; 0 where these are one.

    Levels of the body agree if it is near 1; a random match is worth 0.
    """
    matched = other.positions_mm[section_distances(query.relaxed, other.relaxed).argmin(axis=1)]
    if matched.std() == 0 or query.positions_mm.std() == 0:
        return 0.0
    return float(np.corrcoef(query.positions_mm, matched)[0, 1])


def mean_level_agreement(series: Sequence[SeriesCodes]) -> tuple[float, int]:
    """Mean of `level_agreement` over ordered pairs of like series of different patients, and the number of pairs."""
    long = [one for one in series if len(one.relaxed) >= MIN_SECTIONS]
    values = [
        level_agreement(a, b)
        for a, b in permutations(long, 2)
        if a.patient_id != b.patient_id and set(a.labels) & set(b.labels)
    ]
    return (float(np.mean(values)) if values else float("nan")), len(values)


def evaluate_series(series: Sequence[SeriesCodes]) -> Iterator[SeriesResult]:
    """Every score by labels among other patients, and by patient among other series; sections by their distance."""
    patients = [one.patient_id for one in series]
    of_label = _truth([one.labels for one in series], patients)
    of_patient = _truth([(one.patient_id,) for one in series], [one.series_uid for one in series])
    for score in (*SCORES, POOLED):
        distances = series_distances(series, score)
        for relevance, truth in (("label", of_label), ("patient", of_patient)):
            yield _result("series", relevance, score, truth, distances)
    relaxed = np.concatenate([one.relaxed for one in series])
    distances = section_distances(relaxed, relaxed).astype(np.float64)
    sections = [one for one in series for _ in one.relaxed]
    for relevance, labels, groups in (
        ("label", [one.labels for one in sections], [one.patient_id for one in sections]),
        ("patient", [(one.patient_id,) for one in sections], [one.series_uid for one in sections]),
    ):
        yield _result("section", relevance, "distance", _truth(labels, groups), distances)


def read_series(encoder: Encoder, folder: Path) -> list[SeriesCodes]:
    """All sections of a folder of DICOM files, encoded, by series; files whose pixels cannot be shown are left out."""
    labelled, _ = labelled_sections(folder, per_series=0)
    read = []
    for section, labels in progress(labelled, f"reading {folder.name}", len(labelled)):
        try:
            read.append((section, labels, network_input(dcmread(folder / section.file))))
        except PixelError:
            continue
    series = []
    for uid, members in groupby(read, key=lambda one: one[0].series_uid):
        of_series = list(members)
        first, labels, _ = of_series[0]
        modality = first.kind.split(" ")[0]
        relaxed = encoder.encode(np.stack([image for *_, image in of_series]), [modality] * len(of_series)).relaxed
        positions = np.array([section.position_mm for section, *_ in of_series])
        series.append(SeriesCodes(first.patient_id, uid, modality, labels, relaxed, positions))
    return series


def table(results: Sequence[SeriesResult], agreement: tuple[float, int]) -> str:
    """Results as a Markdown table, and how levels of the body agree."""
    lines = ["| of | alike by | score | queries | among | P@1 | chance | MAP | chance |", "| --- " * 9 + "|"]
    lines += [
        f"| {row.unit} | {row.relevance} | {row.score} | {row.queries} | {row.candidates} | {row.precision:.3f} | "
        f"{row.chance_precision:.3f} | {row.average_precision:.3f} | {row.chance_average_precision:.3f} |"
        for row in results
    ]
    value, pairs = agreement
    lines += [
        "",
        f"Correlation of levels with best matches in like series of other patients: {value:.3f}, {pairs} pairs.",
    ]
    return "\n".join(lines)


def _truth(labels: Sequence[tuple[str, ...]], groups: Sequence[str]) -> GroundTruth:
    names = tuple(sorted({label for some in labels for label in some}))
    rows = np.array([[name in some for name in names] for some in labels])
    n = len(rows)
    return GroundTruth(rows, names, np.array(groups), np.repeat("test", n), np.repeat("", n))


def _result(unit: str, relevance: str, score: str, truth: GroundTruth, distances: NDArray[np.float64]) -> SeriesResult:
    rows = np.arange(len(truth.labels))
    asked = task(truth, "P-A", unit, rows, rows)

    def mean(ranker: Ranker, measure: str) -> float:
        return float(np.nanmean(judge(asked, ranker, codes=False)[measure]))

    ours, chance = by_distance(lambda query, images: distances[query, images]), by_chance(len(rows))
    queries = int((~np.isnan(judge(asked, chance, codes=False)["MAP"])).sum())
    if not queries:
        return SeriesResult(unit, relevance, score, 0, len(rows), *[float("nan")] * 4)
    values = (mean(ranker, measure) for ranker in (ours, chance) for measure in ("P@1", "MAP"))
    return SeriesResult(unit, relevance, score, queries, len(rows), *values)
