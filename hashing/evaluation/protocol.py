"""Protocols: which queries search which images, and which images are relevant. They are never mixed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from hashing.data.examples import NO_FINDING
from hashing.evaluation.ranking import Grades, Levels, by_hamming_distance, by_score, grade

ACROSS = "across sources"
Rows = NDArray[np.int64]
Ranker = Callable[["Task"], Iterator[Levels]]


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """Everything known of the images of a set, except for their pixels.

    Attributes
    ----------
    labels : (n, len(names)) bool
    names
        Names of the labels; "No Finding" marks images without any other.
    groups : (n,) str
        Patient where known, else the group of near-identical images.
    splits : (n,) str
        "train", "validation" or "test".
    kinds : (n,) str
        Modality and body part.
    source_pixels : (n,) int
        Number of pixels that each image had at its source, where known.
    sources : (n,) str
        File, collection or hospital that each image comes from, where known.
    blocks : (n,) str
        Patient-like blocks that are drawn together where intervals are estimated; `groups` where a set has none.
    """

    labels: NDArray[np.bool_]
    names: tuple[str, ...]
    groups: NDArray[np.str_]
    splits: NDArray[np.str_]
    kinds: NDArray[np.str_]
    source_pixels: NDArray[np.int64] | None = None
    sources: NDArray[np.str_] | None = None
    blocks: NDArray[np.str_] | None = None

    def part(self, *splits: str) -> Rows:
        """Row numbers of the named parts, ascending."""
        return np.flatnonzero(np.isin(self.splits, splits))

    def resampled(self, rows: Rows) -> NDArray[np.str_]:
        """Blocks of some images that intervals are resampled by."""
        return (self.groups if self.blocks is None else self.blocks)[rows]

    @property
    def positive(self) -> NDArray[np.bool_]:
        """Mask of the labels that are findings: all but "No Finding"."""
        return np.array([name != NO_FINDING for name in self.names])


@dataclass(frozen=True, slots=True)
class Task:
    """Queries, the database that they search, and the labels that make an image relevant.

    Attributes
    ----------
    relevance
        "P-A": queries and images have a finding, and an image is relevant if it shares one. "P-B": all images take
        part, and No Finding is a label. "P-C": queries have a finding, all images are searched, and No Finding is never
        relevant. A kind may follow ("P-A CT"): queries and images are of that kind only. "P-A across sources": a query
        searches images of other sources only, where no source can be recognised instead of a label.
    database
        "DB-seen": the training images, as is usual in the literature. "DB-unseen": one half of the test patients, which
        the other half searches; it is the honest one, since training labels could be looked up.
    queries, images
        Row numbers.
    """

    relevance: str
    database: str
    queries: Rows
    images: Rows
    query_labels: NDArray[np.bool_]
    grades: Grades

    @property
    def name(self) -> str:
        """Relevance and database, joined."""
        return f"{self.relevance} {self.database}"


def reported_tasks(truth: GroundTruth, *, by_kind: bool = False) -> Iterator[Task]:
    """The tasks on which results are reported.

    Parameters
    ----------
    by_kind
        Whether to add "P-A" within each kind that has images of several labels.

    Notes
    -----
    A set without "No Finding" has one relevance only, since there the three agree. Where a finding occurs in several
    sources, "P-A across sources" follows.
    """
    test = truth.part("test")
    odd = _every_second(truth.groups[test])
    pairs = {"DB-seen": (test, truth.part("train", "validation")), "DB-unseen": (test[odd], test[~odd])}
    relevances = ("P-A", "P-B", "P-C") if NO_FINDING in truth.names else ("P-A",)
    for database, (queries, images) in pairs.items():
        for relevance in relevances:
            yield task(truth, relevance, database, queries, images)
        for kind in _mixed_kinds(truth) if by_kind else ():
            of_kind = truth.kinds == kind
            yield task(truth, f"P-A {kind}", database, queries[of_kind[queries]], images[of_kind[images]])
        asking = _across_sources(truth, queries, images)
        if len(asking):
            assert truth.sources is not None
            yield task(replace(truth, groups=truth.sources), f"P-A {ACROSS}", database, asking, images)


def validation_task(truth: GroundTruth, limit: int = 1000) -> Task:
    """P-A among validation images: each searches those of the other patients.

    Parameters
    ----------
    limit
        About this number of images are queries.
    """
    rows = truth.part("validation")
    positive = rows[truth.labels[rows][:, truth.positive].any(axis=1)]
    step = max(1, len(positive) // limit)
    return task(truth, "P-A", "validation", positive[::step], positive)


def task(truth: GroundTruth, relevance: str, database: str, queries: Rows, images: Rows) -> Task:
    """One task, without the queries and images that its relevance leaves out.

    Raises
    ------
    ValueError
        No query or no image is left.
    """
    positive = truth.positive
    has_finding = np.asarray(truth.labels[:, positive].any(axis=1))
    if not relevance.startswith("P-B"):
        queries = queries[has_finding[queries]]
    if relevance.startswith("P-A"):
        images = images[has_finding[images]]
    if not len(queries) or not len(images):
        raise ValueError(f"{relevance} {database}: {len(queries)} queries and {len(images)} images: check the splits")
    columns = np.ones_like(positive) if relevance.startswith("P-B") else positive
    labels = truth.labels[:, columns]
    grades = grade(labels[queries], labels[images], truth.groups[queries], truth.groups[images])
    return Task(relevance, database, queries, images, labels[queries], grades)


def by_codes(codes: Codes) -> Ranker:
    """Ranking by Hamming distance between the codes of all rows of a set."""

    def rank(task: Task) -> Iterator[Levels]:
        return by_hamming_distance(codes[task.queries], codes[task.images], task.grades)

    return rank


def by_distance(distance: Callable[[int, Rows], NDArray[np.number]]) -> Ranker:
    """Ranking by any distance from one row to others."""

    def rank(task: Task) -> Iterator[Levels]:
        for number, query in enumerate(task.queries):
            yield by_score(distance(int(query), task.images), number, task.grades)

    return rank


def by_chance(n_images: int) -> Ranker:
    """A random order: all images have the same code, and measures are expectations over the order of ties."""
    return by_codes(np.zeros((n_images, 1), np.uint64))


def _across_sources(truth: GroundTruth, queries: Rows, images: Rows) -> Rows:
    """The queries that have a finding which images of another source have, too, and whose patient is in one source."""
    if truth.sources is None:
        return queries[:0]
    names, source = np.unique(truth.sources, return_inverse=True)
    findings = truth.labels[:, truth.positive]
    having = np.stack([findings[images[source[images] == number]].any(axis=0) for number in range(len(names))])
    elsewhere = having.sum(axis=0)[None] - having > 0  # (sources, findings)
    _, patient = np.unique(truth.groups, return_inverse=True)
    sources_of_patient = np.bincount(np.unique(np.stack([patient, source]), axis=1)[0])
    found = (findings[queries] & elsewhere[source[queries]]).any(axis=1)
    return np.asarray(queries[found & (sources_of_patient[patient[queries]] == 1)])


def _every_second(groups: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Every second patient or group, in alphabetical order."""
    _, number = np.unique(groups, return_inverse=True)
    return np.asarray(number % 2 == 0)


def _mixed_kinds(truth: GroundTruth) -> list[str]:
    kinds = np.unique(truth.kinds).tolist()
    return [kind for kind in kinds if truth.labels[truth.kinds == kind].any(axis=0).sum() > 1 and len(kinds) > 1]
