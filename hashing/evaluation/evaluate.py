"""How well codes of a model retrieve, for every task and code length, beside chance."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hashing.codes import prefix
from hashing.data import datasets
from hashing.data.datasets import Dataset
from hashing.data.examples import modality_of
from hashing.evaluation.judgement import judge, truth_of
from hashing.evaluation.protocol import by_chance, by_codes, reported_tasks
from hashing.evaluation.uncertainty import Resampling
from hashing.model.encoder import Encoder, Encoding
from hashing.progress import progress

BATCH = 64


@dataclass(frozen=True, slots=True)
class RetrievalResult:
    """One measure of one set at one code length.

    Attributes
    ----------
    queries
        Number of queries that have a relevant image; the others are left out.
    images
        Number of images that are searched.
    low, high
        95 % interval, bootstrapped over patients or groups.
    chance
        Value of a random order.
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


def evaluate(encoder: Encoder, names: tuple[str, ...], root: Path, cache: Path) -> Iterator[RetrievalResult]:
    """Mean average precision on the test part of each set, at each nested code length."""
    for name in names:
        dataset = datasets.load(name, root, cache)
        truth = truth_of(dataset)
        codes = encode_all(encoder, dataset, name).codes
        for task in reported_tasks(truth):
            resampling = Resampling(truth.resampled(task.queries), np.random.default_rng(0))
            chance = float(np.nanmean(judge(task, by_chance(len(codes)))["MAP"]))
            for code_length in encoder.model.architecture.code_lengths:
                values = judge(task, by_codes(prefix(codes, code_length)))["MAP"]
                estimate = resampling.estimate(values)
                yield RetrievalResult(
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


def encode_all(encoder: Encoder, dataset: Dataset, name: str) -> Encoding:
    """The encoding of all images of a set."""
    rows = np.arange(len(dataset.images))
    batches = np.array_split(rows, -(-len(rows) // BATCH))
    modalities = [modality_of(dataset.kind_names[kind]) for kind in dataset.kinds]
    parts = [
        encoder.encode(dataset.images[batch], [modalities[row] for row in batch])
        for batch in progress(batches, f"encoding {name}", len(batches))
    ]
    return Encoding.joined(parts)


def table(results: list[RetrievalResult]) -> str:
    """Results as a Markdown table."""
    lines = [
        "| set | relevance | database | bits | queries | images | MAP | 95 % interval | chance |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.dataset} | {row.relevance} | {row.database} | {row.code_length} | {row.queries:,} | {row.images:,} "
        f"| {row.value:.3f} | {row.low:.3f} to {row.high:.3f} | {row.chance:.3f} |"
        for row in results
    ]
    return "\n".join(lines)
