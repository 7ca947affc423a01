"""How well codes retrieve: every measure of every task, beside chance."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashing import datasets, metrics
from hashing.codes import Codes, pack, prefix
from hashing.datasets import Dataset
from hashing.encoder import Encoder
from hashing.network import CODE_LENGTHS
from hashing.progress import progress
from hashing.protocol import Ranker, Task, Truth, by_chance, by_codes, reported_tasks
from hashing.ranking import Levels
from hashing.uncertainty import Resampling

Judgement = dict[str, NDArray[np.float64]]
"""Measure to its value for each query of a task, (n_queries,); NaN for queries without a relevant image."""

BATCH = 64
DEEPEST = 1000
MEASURES: dict[str, Callable[[Levels], NDArray[np.float64]]] = {
    "MAP": metrics.average_precision,
    "MAP irrelevant first": lambda levels: metrics.average_precision_band(levels)[0],
    "MAP relevant first": lambda levels: metrics.average_precision_band(levels)[1],
}
"""Of whole rankings."""
MEASURES_AT_K: dict[str, Callable[[Levels], NDArray[np.float64]]] = {
    "MAP@10": lambda levels: metrics.average_precision(levels, 10),
    "MAP@100": lambda levels: metrics.average_precision(levels, 100),
    "MAP@1000": lambda levels: metrics.average_precision(levels, DEEPEST),
    "AP@10-found (legacy)": lambda levels: metrics.legacy_average_precision_found(levels, 10),
    "NDCG@100": lambda levels: metrics.discounted_gain(levels, 100),
    "NDCG@100 (overlap)": lambda levels: metrics.discounted_gain(levels, 100, "overlap"),
    "P@1": lambda levels: metrics.precision(levels, 1),
    "P@10": lambda levels: metrics.precision(levels, 10),
    "P@100": lambda levels: metrics.precision(levels, 100),
}
"""Of their beginning: up to place `DEEPEST`."""
MEASURES_OF_CODES: dict[str, Callable[[Levels], NDArray[np.float64]]] = {
    "P(radius 2)": lambda levels: metrics.precision_within(levels, 2),
    "empty radius 2": lambda levels: metrics.ball_is_empty(levels, 2),
}
"""That need Hamming distances."""


def judge(task: Task, ranker: Ranker, *, codes: bool = True) -> Judgement:
    """All measures of all queries.

    Parameters
    ----------
    codes
        Whether levels are Hamming distances.
    """
    parts: dict[str, list[NDArray[np.float64]]] = {}
    for levels in ranker(task):
        head = levels.head(DEEPEST)
        values = {name: measure(levels) for name, measure in MEASURES.items()}
        values |= {name: measure(head) for name, measure in MEASURES_AT_K.items()}
        values |= {name: measure(levels) for name, measure in MEASURES_OF_CODES.items() if codes}
        for name, value in values.items():
            parts.setdefault(name, []).append(value)
    return {name: np.concatenate(values) for name, values in parts.items()}


@dataclass(frozen=True, slots=True)
class Result:
    """One measure of one set at one code length.

    Attributes
    ----------
    queries
        That have a relevant image; the others are left out.
    low, high
        95 % interval, bootstrapped over patients or groups.
    chance
        Of a random order.
    """

    dataset: str
    relevance: str
    database: str
    code_length: int
    queries: int
    images: int
    value: float
    low: float
    high: float
    chance: float


def evaluate(encoder: Encoder, names: tuple[str, ...], root: Path, cache: Path) -> Iterator[Result]:
    """Mean average precision on the test part of each set, at each nested code length."""
    for name in names:
        dataset = datasets.load(name, root, cache)
        truth = truth_of(dataset)
        codes = _encode(encoder, dataset, name)
        for task in reported_tasks(truth):
            resampling = Resampling(truth.groups[task.queries], np.random.default_rng(0))
            chance = float(np.nanmean(judge(task, by_chance(len(codes)))["MAP"]))
            for code_length in CODE_LENGTHS:
                values = judge(task, by_codes(prefix(codes, code_length)))["MAP"]
                estimate = resampling.estimate(values)
                yield Result(
                    dataset=name,
                    relevance=task.relevance,
                    database=task.database,
                    code_length=code_length,
                    queries=int((~np.isnan(values)).sum()),
                    images=len(task.images),
                    value=estimate.value,
                    low=estimate.low,
                    high=estimate.high,
                    chance=chance,
                )


def table(results: list[Result]) -> str:
    """Results as a Markdown table."""
    lines = [
        "| set | relevance | database | bits | queries | images | MAP | 95 % interval | chance |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.dataset} | {one.relevance} | {one.database} | {one.code_length} | {one.queries:,} | {one.images:,} "
        f"| {one.value:.3f} | {one.low:.3f} to {one.high:.3f} | {one.chance:.3f} |"
        for one in results
    ]
    return "\n".join(lines)


def truth_of(dataset: Dataset) -> Truth:
    """Labels, patients and parts of a set, with the labels that occur in it."""
    present = np.asarray(dataset.labels.any(axis=0))
    return Truth(
        labels=dataset.labels[:, present],
        names=tuple(label for label, occurs in zip(dataset.names, present, strict=True) if occurs),
        groups=dataset.groups,
        splits=dataset.splits,
        kinds=np.array(dataset.kind_names)[dataset.kinds],
    )


def _encode(encoder: Encoder, dataset: Dataset, name: str) -> Codes:
    """Codes of all images; those of the other parts than train and test are not asked for, but cheap."""
    rows = np.arange(len(dataset.images))
    batches = np.array_split(rows, -(-len(rows) // BATCH))
    relaxed = [encoder.relaxed(dataset.images[batch]) for batch in progress(batches, f"encoding {name}", len(batches))]
    return pack(np.concatenate([part.numpy() for part in relaxed]) >= 0)
