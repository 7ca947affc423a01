"""How well codes retrieve: tie-aware mean average precision on held-back images, beside chance."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hashing import datasets
from hashing.codes import hamming_distance, pack, prefix
from hashing.datasets import LABELS, NO_FINDING, Dataset
from hashing.encoder import Encoder
from hashing.metrics import average_precision, bootstrap_interval
from hashing.network import CODE_LENGTHS
from hashing.progress import progress

BATCH = 64
POSITIVE = np.array([label != NO_FINDING for label in LABELS])


@dataclass(frozen=True, slots=True)
class Result:
    """Mean average precision of one set at one code length.

    Attributes
    ----------
    database
        "seen": the training images; "unseen": half of the test patients, asked by the other half.
    low, high
        95 % interval, bootstrapped over patients or groups.
    chance
        Share of relevant images, averaged over queries: what a random order reaches in expectation, nearly.
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
    """Results on the test part of each set, at each nested code length.

    Queries are test images with a positive finding; the database holds such images too (protocol "P-A": relevant is who
    shares a label). Images of the query's own patient or group are left out of its database.
    """
    for name in names:
        dataset = datasets.load(name, root, cache)
        test = _labelled(dataset, dataset.part("test"))
        seen = _labelled(dataset, dataset.part("train"))
        relaxed = _encode(encoder, dataset, np.concatenate([test, seen]), name)
        codes = pack((relaxed >= 0).numpy())
        split = _halves(dataset.groups[test])
        parts = {
            "seen": (np.arange(len(test)), np.arange(len(test), len(codes))),
            "unseen": (np.flatnonzero(split), np.flatnonzero(~split)),
        }
        rows = np.concatenate([test, seen])
        for database, (queries, images) in parts.items():
            for code_length in CODE_LENGTHS:
                shortened = prefix(codes, code_length)
                yield _result(name, database, code_length, dataset, rows, shortened, queries, images)


def table(results: list[Result]) -> str:
    """Results as a Markdown table."""
    lines = [
        "| set | database | bits | queries | images | MAP | 95 % interval | chance |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.dataset} | {one.database} | {one.code_length} | {one.queries:,} | {one.images:,} "
        f"| {one.value:.3f} | {one.low:.3f} to {one.high:.3f} | {one.chance:.3f} |"
        for one in results
    ]
    return "\n".join(lines)


def _labelled(dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows[dataset.labels[rows][:, POSITIVE].any(axis=1)]


def _encode(encoder: Encoder, dataset: Dataset, rows: NDArray[np.int64], name: str) -> torch.Tensor:
    batches = np.array_split(rows, -(-len(rows) // BATCH))
    return torch.cat(
        [encoder.relaxed(dataset.images[batch]) for batch in progress(batches, f"encoding {name}", len(batches))]
    )


def _halves(groups: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Every second patient or group, in alphabetical order."""
    _, number = np.unique(groups, return_inverse=True)
    return np.asarray(number % 2 == 0)


def _result(
    name: str,
    database: str,
    code_length: int,
    dataset: Dataset,
    rows: NDArray[np.int64],
    codes: NDArray[np.uint64],
    queries: NDArray[np.int64],
    images: NDArray[np.int64],
) -> Result:
    labels = dataset.labels[rows][:, POSITIVE]
    groups = dataset.groups[rows]
    values, shares, asked = [], [], []
    for query in queries:
        others = images[groups[images] != groups[query]]
        relevant = (labels[others] & labels[query]).any(axis=1)
        if relevant.any():
            values.append(average_precision(hamming_distance(codes[query], codes[others]), relevant))
            shares.append(relevant.mean())
            asked.append(groups[query])
    low, high = bootstrap_interval(np.array(values), np.array(asked), np.random.default_rng(0))
    return Result(
        dataset=name,
        relevance="P-A",
        database=database,
        code_length=code_length,
        queries=len(values),
        images=len(images),
        value=float(np.mean(values)),
        low=low,
        high=high,
        chance=float(np.mean(shares)),
    )
