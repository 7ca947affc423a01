"""Rankings as counts of images at each distance: all that measures need, and independent of the order of ties."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numba
import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes

CHUNK = 256  # queries of one pass: bounds the memory


@dataclass(frozen=True, slots=True)
class Gains:
    """Gains of the images, for discounted cumulative gain.

    Attributes
    ----------
    sums : (n_queries, n_levels)
        Sum of the gains of the images of each level.
    values : (n_grades,)
        Gain of each grade, greatest first.
    counts : (n_queries, n_grades)
        Number of images of the database with each grade.
    """

    sums: NDArray[np.float64]
    values: NDArray[np.float64]
    counts: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Levels:
    """Rankings of some queries, each cut into levels of equal distance.

    Attributes
    ----------
    images : (n_queries, n_levels)
        Number of images at each level, nearest first; levels may be empty.
    relevant : (n_queries, n_levels)
        Number of relevant images at each level.
    total_relevant : (n_queries,)
        Number of relevant images in the whole database.
    gains
        Gains by kind: "exponential" is 2^r - 1 with r shared labels, "linear" is r, "overlap" is shared / either.
    """

    images: NDArray[np.float64]
    relevant: NDArray[np.float64]
    total_relevant: NDArray[np.float64]
    gains: dict[str, Gains]

    def head(self, n_levels: int) -> "Levels":
        """The nearest levels. They suffice for measures at k = n_levels, if no level is empty."""
        gains = {kind: replace(gain, sums=gain.sums[:, :n_levels]) for kind, gain in self.gains.items()}
        return Levels(self.images[:, :n_levels], self.relevant[:, :n_levels], self.total_relevant, gains)


@dataclass(frozen=True, slots=True)
class Grades:
    """How alike each query is to each image, as small integers.

    A grade stands for a pair (number of shared labels, number of labels in either). Images with the same label set
    have the same grades.

    Attributes
    ----------
    table : (n_query_sets, n_sets) uint8
        Grade of a query's label set beside an image's.
    query_set : (n_queries,) int
    image_set : (n_images,) int
    query_group, image_group : (n_queries,), (n_images,) int
        Patients: images of the query's own patient are left out.
    shared, either : (n_grades,) int
    """

    table: NDArray[np.uint8]
    query_set: NDArray[np.int64]
    image_set: NDArray[np.int64]
    query_group: NDArray[np.int64]
    image_group: NDArray[np.int64]
    shared: NDArray[np.int64]
    either: NDArray[np.int64]

    def gains(self) -> dict[str, NDArray[np.float64]]:
        """Gain of each grade, by kind."""
        return {
            "exponential": np.exp2(self.shared).astype(np.float64) - 1,
            "linear": self.shared.astype(np.float64),
            "overlap": self.shared / np.maximum(self.either, 1),  # images without labels have nothing in common
        }

    def of_query(self, query: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Grade of each image, and a mask of the images of other patients."""
        grade = self.table[self.query_set[query]][self.image_set]
        return grade, self.image_group != self.query_group[query]


def grade(
    query_labels: NDArray[np.bool_],
    image_labels: NDArray[np.bool_],
    query_groups: NDArray[np.str_],
    image_groups: NDArray[np.str_],
) -> Grades:
    """Grades of all pairs.

    Parameters
    ----------
    query_labels, image_labels : (n_queries, n_labels), (n_images, n_labels)
    query_groups, image_groups : (n_queries,), (n_images,)
        Patients.
    """
    query_sets, query_set = np.unique(query_labels, axis=0, return_inverse=True)
    image_sets, image_set = np.unique(image_labels, axis=0, return_inverse=True)
    shared = query_sets.astype(np.int64) @ image_sets.T.astype(np.int64)
    either = query_sets.sum(axis=1)[:, None] + image_sets.sum(axis=1)[None, :] - shared
    pairs, table = np.unique(np.stack([shared.ravel(), either.ravel()]), axis=1, return_inverse=True)
    if pairs.shape[1] > 256:
        raise ValueError(f"{pairs.shape[1]} combinations of shared labels are more than 256: use fewer labels")
    groups = np.unique(np.concatenate([query_groups, image_groups]), return_inverse=True)[1]
    return Grades(
        table=table.reshape(shared.shape).astype(np.uint8),
        query_set=query_set.reshape(-1),
        image_set=image_set.reshape(-1),
        query_group=groups[: len(query_groups)],
        image_group=groups[len(query_groups) :],
        shared=pairs[0],
        either=pairs[1],
    )


def by_hamming_distance(queries: Codes, images: Codes, grades: Grades) -> Iterator[Levels]:
    """Rankings by Hamming distance, some hundred queries at a time; level i holds distance i.

    Parameters
    ----------
    queries, images : (n_queries, words), (n_images, words)
    """
    n_levels = 64 * images.shape[1] + 1
    for start in range(0, len(queries), CHUNK):
        part = slice(start, start + CHUNK)
        counts = np.zeros((len(queries[part]), n_levels, len(grades.shared)), np.int32)
        _count(
            queries[part],
            images,
            grades.table,
            grades.query_set[part],
            grades.image_set,
            grades.query_group[part],
            grades.image_group,
            counts,
        )
        yield _levels(counts, grades)


def by_score(distances: NDArray[np.number], query: int, grades: Grades) -> Levels:
    """Ranking of one query by any distance, smaller nearer; images of exactly equal distance share a level.

    Parameters
    ----------
    distances : (n_images,)
    """
    grade, other = grades.of_query(query)
    grade, distances = grade[other], distances[other]
    order = np.argsort(distances)
    distances, grade = distances[order], grade[order]
    starts = np.flatnonzero(np.concatenate([[True], distances[1:] != distances[:-1]]))
    totals = np.bincount(grade, minlength=len(grades.shared))[None].astype(np.float64)

    def by_level(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of a value of each grade over the images at one distance, (1, n_levels)."""
        return np.add.reduceat(values[grade], starts)[None]

    relevant = by_level((grades.shared > 0).astype(np.float64))
    return Levels(
        images=by_level(np.ones(len(grades.shared))),
        relevant=relevant,
        total_relevant=relevant.sum(axis=1),
        gains={kind: _gains(by_level(values), values, totals) for kind, values in grades.gains().items()},
    )


@numba.njit(parallel=True, nogil=True, cache=True)
def _count(
    queries: Codes,
    images: Codes,
    table: NDArray[np.uint8],
    query_set: NDArray[np.int64],
    image_set: NDArray[np.int64],
    query_group: NDArray[np.int64],
    image_group: NDArray[np.int64],
    counts: NDArray[np.int32],
) -> None:
    for query in numba.prange(len(queries)):
        grades = table[query_set[query]]
        for image in range(len(images)):
            if image_group[image] != query_group[query]:
                distance = np.int64(0)
                for word in range(images.shape[1]):
                    distance += _ones(queries[query, word] ^ images[image, word])
                counts[query, distance, grades[image_set[image]]] += 1


@numba.njit(inline="always")
def _ones(word: np.uint64) -> np.int64:
    """Number of one bits (the compiler knows this pattern as one instruction)."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


def _levels(counts: NDArray[np.int32], grades: Grades) -> Levels:
    totals = counts.sum(axis=1, dtype=np.float64)
    relevant = counts[:, :, grades.shared > 0].sum(axis=2, dtype=np.float64)
    return Levels(
        images=counts.sum(axis=2, dtype=np.float64),
        relevant=relevant,
        total_relevant=relevant.sum(axis=1),
        gains={kind: _gains(counts @ values, values, totals) for kind, values in grades.gains().items()},
    )


def _gains(sums: NDArray[np.float64], values: NDArray[np.float64], totals: NDArray[np.float64]) -> Gains:
    order = np.argsort(-values, kind="stable")
    return Gains(sums, values[order], totals[:, order])
