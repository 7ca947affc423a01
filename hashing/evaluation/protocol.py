"""Who asks whom, and what counts as relevant: protocols that are never mixed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from hashing.data.examples import NO_FINDING
from hashing.evaluation.ranking import Grades, Levels, by_hamming_distance, by_score, grade

Rows = NDArray[np.int64]
Ranker = Callable[["Task"], Iterator[Levels]]


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """What is known of the images of a set, but for their pixels.

    Attributes
    ----------
    labels : (n, len(names)) bool
    names
        Of the labels; "No Finding" marks images without any.
    groups : (n,) str
        Patient where known, else the group of near-identical images.
    splits : (n,) str
        "train", "validation" or "test".
    kinds : (n,) str
        Modality and body part.
    """

    labels: NDArray[np.bool_]
    names: tuple[str, ...]
    groups: NDArray[np.str_]
    splits: NDArray[np.str_]
    kinds: NDArray[np.str_]

    def part(self, *splits: str) -> Rows:
        """Row numbers of the named parts, ascending."""
        return np.flatnonzero(np.isin(self.splits, splits))

    @property
    def positive(self) -> NDArray[np.bool_]:
        """Which labels are findings: all but "No Finding"."""
        return np.array([name != NO_FINDING for name in self.names])


@dataclass(frozen=True, slots=True)
class Task:
    """Queries, the database they ask, and the labels that make an image relevant.

    Attributes
    ----------
    relevance
        "P-A": queries and database with a finding, relevant is who shares one. "P-B": all images, No Finding is a
        label. "P-C": queries with a finding, all images in the database, No Finding never relevant. A kind may follow
        ("P-A CT"): queries and database of that kind only.
    database
        "DB-seen": the training images, the habit of the literature. "DB-unseen": half of the test patients, asked by
        the other half: the honest one, since training labels could be looked up.
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
        """Relevance and database in one."""
        return f"{self.relevance} {self.database}"


def reported_tasks(truth: GroundTruth, *, by_kind: bool = False) -> Iterator[Task]:
    """The tasks on which results are reported.

    Parameters
    ----------
    by_kind
        Whether to add "P-A" within each kind that has images of several labels.

    Notes
    -----
    A set without "No Finding" has one relevance only, since there the three agree.
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


def validation_task(truth: GroundTruth, limit: int = 1000) -> Task:
    """P-A among validation images: each asks those of the other patients."""
    rows = truth.part("validation")
    found = rows[truth.labels[rows][:, truth.positive].any(axis=1)]
    step = max(1, len(found) // limit)
    return task(truth, "P-A", "validation", found[::step], found)


def task(truth: GroundTruth, relevance: str, database: str, queries: Rows, images: Rows) -> Task:
    """One task, with the images that its relevance leaves out removed.

    Raises
    ------
    ValueError
        Nobody is left to ask, or nothing to be found.
    """
    positive = truth.positive
    found = np.asarray(truth.labels[:, positive].any(axis=1))
    if not relevance.startswith("P-B"):
        queries = queries[found[queries]]
    if relevance.startswith("P-A"):
        images = images[found[images]]
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
        for place, query in enumerate(task.queries):
            yield by_score(distance(int(query), task.images), place, task.grades)

    return rank


def by_chance(n_images: int) -> Ranker:
    """No ranking: every image has one code, so that all are tied, and a measure is what a random order is worth."""
    return by_codes(np.zeros((n_images, 1), np.uint64))


def _every_second(groups: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Every second patient or group, in alphabetical order."""
    _, number = np.unique(groups, return_inverse=True)
    return np.asarray(number % 2 == 0)


def _mixed_kinds(truth: GroundTruth) -> list[str]:
    kinds = np.unique(truth.kinds).tolist()
    return [kind for kind in kinds if truth.labels[truth.kinds == kind].any(axis=0).sum() > 1 and len(kinds) > 1]
