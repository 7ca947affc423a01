"""Every measure of every query of a task."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hashing.data.datasets import Dataset
from hashing.evaluation import metrics
from hashing.evaluation.protocol import GroundTruth, Ranker, Task
from hashing.evaluation.ranking import Levels

Judgement = dict[str, NDArray[np.float64]]
"""Measure to its value for each query of a task, (n_queries,); NaN for queries without a relevant image."""

MAX_RANK = 1000
"""Greatest k of `MEASURES_AT_K`."""
MEASURES: dict[str, Callable[[Levels], NDArray[np.float64]]] = {
    "MAP": metrics.average_precision,
    "MAP irrelevant first": lambda levels: metrics.average_precision_band(levels)[0],
    "MAP relevant first": lambda levels: metrics.average_precision_band(levels)[1],
}
"""Measures of whole rankings."""
MEASURES_AT_K: dict[str, Callable[[Levels], NDArray[np.float64]]] = {
    "MAP@10": lambda levels: metrics.average_precision(levels, 10),
    "MAP@100": lambda levels: metrics.average_precision(levels, 100),
    "MAP@1000": lambda levels: metrics.average_precision(levels, MAX_RANK),
    "AP@10-found (legacy)": lambda levels: metrics.legacy_average_precision_found(levels, 10),
    "NDCG@100": lambda levels: metrics.discounted_gain(levels, 100),
    "NDCG@100 (overlap)": lambda levels: metrics.discounted_gain(levels, 100, "overlap"),
    "P@1": lambda levels: metrics.precision(levels, 1),
    "P@10": lambda levels: metrics.precision(levels, 10),
    "P@100": lambda levels: metrics.precision(levels, 100),
}
"""Measures of the first `MAX_RANK` images at most."""
MEASURES_OF_CODES: dict[str, Callable[[Levels], NDArray[np.float64]]] = {
    "P(radius 2)": lambda levels: metrics.precision_within(levels, 2),
    "empty radius 2": lambda levels: metrics.ball_is_empty(levels, 2),
}
"""Measures that need Hamming distances."""


def judge(task: Task, ranker: Ranker, *, codes: bool = True) -> Judgement:
    """All measures of all queries.

    Parameters
    ----------
    codes
        Whether levels are Hamming distances.
    """
    parts: dict[str, list[NDArray[np.float64]]] = {}
    for levels in ranker(task):
        head = levels.head(MAX_RANK)
        values = {name: measure(levels) for name, measure in MEASURES.items()}
        values |= {name: measure(head) for name, measure in MEASURES_AT_K.items()}
        values |= {name: measure(levels) for name, measure in MEASURES_OF_CODES.items() if codes}
        for name, value in values.items():
            parts.setdefault(name, []).append(value)
    return {name: np.concatenate(values) for name, values in parts.items()}


def curve(task: Task, ranker: Ranker) -> dict[str, NDArray[np.float64]]:
    """Precision and recall within each Hamming radius, (code_length + 1,) each: means over queries.

    A query counts in the precision of a radius if an image lies within it.
    """
    pairs = [metrics.precision_and_recall(levels) for levels in ranker(task)]
    precision, recall = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return {"precision": _mean_of_known(precision), "recall": _mean_of_known(recall)}


def _mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each column over its numbers; NaN for a column without any."""
    known = ~np.isnan(values)
    mean = np.full(values.shape[1], np.nan)
    np.divide(np.where(known, values, 0).sum(axis=0), known.sum(axis=0), out=mean, where=known.any(axis=0))
    return mean


def truth_of(dataset: Dataset) -> GroundTruth:
    """Labels, patients and parts of a set, with the labels that occur in it."""
    present = np.asarray(dataset.labels.any(axis=0))
    return GroundTruth(
        labels=dataset.labels[:, present],
        names=tuple(label for label, occurs in zip(dataset.names, present, strict=True) if occurs),
        groups=dataset.groups,
        splits=dataset.splits,
        kinds=np.array(dataset.kind_names)[dataset.kinds],
        source_pixels=dataset.source_pixels,
        sources=dataset.sources,
        blocks=dataset.blocks,
    )
