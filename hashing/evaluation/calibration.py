"""What distances and class scores of a model mean, measured on validation images.

Of the ten nearest images of other patients: how often they share a label with the query, by distance; and the distance
within which 99 of 100 queries have their nearest, so that a farther answer can be called unusual. Of class scores: how
far the greatest is from the share of images for which it is right (expected calibration error, Guo et al., ICML 2017).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes, hamming_distance, prefix
from hashing.data import datasets
from hashing.data.datasets import Dataset
from hashing.data.examples import KINDS, modality_of
from hashing.evaluation.judgement import truth_of
from hashing.evaluation.protocol import Rows, Task, validation_task
from hashing.model.encoder import Encoder, Encoding
from hashing.model.model_file import Model, read_model
from hashing.model.weights import add_facts

BATCH = 64
NEAREST = 10
"""Nearest images of each query that are counted."""
BANDS = ((0.0, 0.02), (0.02, 0.05), (0.05, 0.1), (0.1, 0.15), (0.15, 0.2), (0.2, 0.3), (0.3, 1.0))
"""Bands of distance, as shares of the code length: from, and up to but not including."""
CONFIDENCE_BINS = 10
USUAL = 99
"""Percentage of queries whose nearest image is usual."""
FEWEST = 100
"""Queries that the usual distance of a modality needs."""


@dataclass(frozen=True, slots=True)
class Band:
    """Images at some distances among the nearest of validation images.

    Attributes
    ----------
    low, high
        Bits, both included.
    pairs
        Number of pairs of a query and one of its nearest.
    sharing
        Share of them that have a label in common.
    """

    dataset: str
    low: int
    high: int
    pairs: int
    sharing: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """The meaning of a model's distances and class scores, measured on one set of images.

    Attributes
    ----------
    chance
        Share of all pairs of a query and another patient's image that have a label in common.
    usual
        Distance within which `USUAL` percent of the queries have their nearest image, bits.
    right
        Share of images whose greatest score among the labels is of a label that they have.
    error
        Expected calibration error of that score; None for a model without classes.
    nearest
        By modality of the query, the distance to its nearest image of another patient, bits.
    """

    dataset: str
    bands: tuple[Band, ...]
    chance: float
    usual: float
    right: float | None
    error: float | None
    nearest: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)


def usual_distances(found: Iterable[Calibration]) -> dict[str, int]:
    """Distance within which `USUAL` percent of the queries of a modality have their nearest image, over several sets.

    A modality with fewer than `FEWEST` queries is left out: a percentile of so few means nothing.
    """
    distances: dict[str, list[NDArray[np.int64]]] = {}
    for one in found:
        for modality, of_set in one.nearest.items():
            distances.setdefault(modality, []).append(of_set)
    joined = {modality: np.concatenate(parts) for modality, parts in sorted(distances.items())}
    return {name: int(np.percentile(nearest, USUAL)) for name, nearest in joined.items() if len(nearest) >= FEWEST}


def calibrate(encoder: Encoder, names: tuple[str, ...], root: Path, cache: Path) -> Iterator[Calibration]:
    """What distances and scores mean in each set; parameters as for `hashing.evaluation.evaluate.evaluate`."""
    for name in names:
        yield _Validation.encoded(encoder, name, root, cache).calibration(encoder.code_length)


def write_usual_distances(model: Path, names: tuple[str, ...], root: Path, cache: Path) -> Model:
    """Write the usual distances at all code lengths of a model into its file; parameters are those of `calibrate`.

    Returns
    -------
    Model
        Of another fingerprint than before, if the distances were not there already.
    """
    lengths = read_model(model).architecture.code_lengths
    encoder = Encoder.load(model, max(lengths))
    sets = [_Validation.encoded(encoder, name, root, cache) for name in names]
    found = {length: usual_distances(one.calibration(length) for one in sets) for length in lengths}
    return add_facts(model, {"usual_distances": json.dumps(found, sort_keys=True)})


@dataclass(frozen=True, slots=True)
class _Validation:
    """The validation images of a set as a model encodes them, and what is asked of them."""

    name: str
    dataset: Dataset
    asked: Task
    rows: Rows
    encoding: Encoding

    @classmethod
    def encoded(cls, encoder: Encoder, name: str, root: Path, cache: Path) -> Self:
        dataset = datasets.load(name, root, cache)
        truth = truth_of(dataset)
        rows = truth.part("validation")
        return cls(name, dataset, validation_task(truth), rows, _encoded(encoder, dataset, rows))

    def calibration(self, code_length: int) -> Calibration:
        """What distances of the codes of a length mean, and class scores."""
        dataset, asked, scores = self.dataset, self.asked, self.encoding.class_scores
        place = np.zeros(len(dataset.images), np.int64)
        place[self.rows] = np.arange(len(self.rows))
        codes = prefix(self.encoding.codes, code_length)
        bands, chance, nearest = distances_and_labels(
            self.name, asked, codes[place[asked.queries]], codes[place[asked.images]]
        )
        modalities = np.array([modality_of(dataset.kind_names[kind]) for kind in dataset.kinds[asked.queries]])
        by_modality = {str(one): nearest[modalities == one] for one in np.unique(modalities)}
        right, error = None, None
        if scores.shape[1] == dataset.labels.shape[1] + len(KINDS):
            right, error = calibration_error(scores[:, : dataset.labels.shape[1]], dataset.labels[self.rows])
        usual = float(np.percentile(nearest, USUAL))
        return Calibration(self.name, bands(code_length), chance, usual, right, error, by_modality)


class _Counted:
    """Pairs of queries and near images, to be put into bands."""

    def __init__(self, name: str, distances: list[NDArray[np.int64]], sharing: list[NDArray[np.bool_]]) -> None:
        self.name, self.distances, self.sharing = name, np.concatenate(distances), np.concatenate(sharing)

    def __call__(self, code_length: int) -> tuple[Band, ...]:
        """The bands of `BANDS` that hold a pair."""
        found = []
        for low, high in BANDS:
            first, last = int(np.ceil(low * code_length)), int(np.ceil(high * code_length)) - 1
            inside = (self.distances >= first) & (self.distances <= max(last, first))
            if inside.any():
                share = float(self.sharing[inside].mean())
                found.append(Band(self.name, first, max(last, first), int(inside.sum()), share))
        return tuple(found)


def distances_and_labels(
    name: str, asked: Task, queries: Codes, images: Codes
) -> tuple[_Counted, float, NDArray[np.int64]]:
    """Nearest pairs with what they share, chance of sharing, and each query's distance to its nearest image."""
    distances, sharing, shares, nearest = [], [], [], []
    for number, code in enumerate(queries):
        grades, other = asked.grades.of_query(number)
        of_others = hamming_distance(code, images[other]).astype(np.int64)
        alike = asked.grades.shared[grades[other]] > 0
        first = np.argsort(of_others, kind="stable")[:NEAREST]
        distances.append(of_others[first])
        sharing.append(alike[first])
        shares.append(alike.mean())
        nearest.append(of_others[first[0]])
    return _Counted(name, distances, sharing), float(np.mean(shares)), np.array(nearest)


def calibration_error(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> tuple[float, float]:
    """Share of images whose greatest score is right, and the expected calibration error of it.

    Parameters
    ----------
    scores, labels : (n, n_labels)
        Scores are divided by their sum first, since kinds of image have the rest.
    """
    shares = scores / np.maximum(scores.sum(axis=1, keepdims=True), 1e-9)
    greatest = shares.argmax(axis=1)
    confidence, right = shares.max(axis=1), labels[np.arange(len(labels)), greatest]
    bins = np.minimum((confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    errors = [
        abs(confidence[bins == one].mean() - right[bins == one].mean()) * (bins == one).mean() for one in set(bins)
    ]
    return float(right.mean()), float(np.sum(errors))


def table(results: list[Calibration]) -> str:
    """Results as two Markdown tables."""
    lines = ["| set | bits | pairs | share a label | by chance |", "| --- | --- | --- | --- | --- |"]
    for one in results:
        lines += [
            f"| {one.dataset} | {band.low} to {band.high} | {band.pairs:,} | {band.sharing:.0%} | {one.chance:.0%} |"
            for band in one.bands
        ]
    lines += [
        "",
        f"| set | nearest within, {USUAL} % | top label right | calibration error |",
        "| --- | --- | --- | --- |",
    ]
    for one in results:
        scores = "| | |" if one.right is None or one.error is None else f"| {one.right:.0%} | {one.error:.3f} |"
        lines.append(f"| {one.dataset} | {one.usual:.0f} bits {scores}")
    return "\n".join(lines)


def _encoded(encoder: Encoder, dataset: Dataset, rows: Rows) -> Encoding:
    modalities = [modality_of(dataset.kind_names[kind]) for kind in dataset.kinds[rows]]
    starts = range(0, len(rows), BATCH)
    return Encoding.joined(
        [
            encoder.encode(dataset.images[rows[start : start + BATCH]], modalities[start : start + BATCH])
            for start in starts
        ]
    )
