"""What compiled searches read and change."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.jit import kernel

UNSEEN: Final = 65535
"""Distance of a group that no row has reached."""
NO_FLAGS: Final = np.empty(0, np.uint8)
NO_GROUPS: Final = np.empty(0, np.uint32)


class Parts(NamedTuple):
    """Consecutive rows, in parts that each lie in one block.

    Attributes
    ----------
    rows, counts : (parts,) int64
        First row of each, and how many.
    strides : (parts,) int64
        Words from one plane of the codes to the next.
    codes, flags, groups : (parts,) uint64
        Addresses of the first row's code, flags and group; `groups` is empty where each row counts.
    """

    rows: NDArray[np.int64]
    counts: NDArray[np.int64]
    strides: NDArray[np.int64]
    codes: NDArray[np.uint64]
    flags: NDArray[np.uint64]
    groups: NDArray[np.uint64]


class Selection(NamedTuple):
    """The nearest so far, changed by each call of `select`.

    A group counts once, with the least distance of its rows. Without groups, each row counts.

    Attributes
    ----------
    k
        How many are wanted.
    keep_ties
        Keep everything at the distance of the k-th, instead of the first in row order.
    threshold, within : (1,) int64
        Greatest distance that may still matter; how many are at most that far.
    counts : (code_length + 1,) int64
        How many are at each distance up to the threshold.
    best : (groups,) uint16
        Least distance of each group, UNSEEN at first; empty where the rows of a group follow each other.
    last : (2,) int64
        Group noted last, and its least distance.
    """

    k: int
    keep_ties: bool
    threshold: NDArray[np.int64]
    within: NDArray[np.int64]
    counts: NDArray[np.int64]
    best: NDArray[np.uint16]
    last: NDArray[np.int64]


class Notes(NamedTuple):
    """Rows that may be among the nearest, from the front.

    Attributes
    ----------
    rows, distances, groups : (capacity,)
        At least STRIP.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.uint16]
    groups: NDArray[np.uint32]


class Each(NamedTuple):
    """What `select_each` has found, by query.

    Attributes
    ----------
    thresholds, withins : (queries, 1) int64; counts : (queries, code_length + 1) int64
        As in `Selection`.
    rows, distances : (queries, capacity)
        As in `Notes`, rows counted from the first of the call; capacity for more than a tile.
    noted : (queries, 1) int64
        How many rows are noted.
    """

    thresholds: NDArray[np.int64]
    withins: NDArray[np.int64]
    counts: NDArray[np.int64]
    rows: NDArray[np.uint32]
    distances: NDArray[np.uint16]
    noted: NDArray[np.int64]


class Totals(NamedTuple):
    """Sums by group, changed by each call of `total`.

    Attributes
    ----------
    sums, counts : (groups,) int64
        Distances added up, and of how many rows.
    """

    sums: NDArray[np.int64]
    counts: NDArray[np.int64]


def new_each(queries: int, code_length: int, capacity: int) -> Each:
    """Nothing found yet, with room for so many rows of each query."""
    return Each(
        thresholds=np.full((queries, 1), code_length),
        withins=np.zeros((queries, 1), np.int64),
        counts=np.zeros((queries, code_length + 1), np.int64),
        rows=np.empty((queries, capacity), np.uint32),
        distances=np.empty((queries, capacity), np.uint16),
        noted=np.zeros((queries, 1), np.int64),
    )


@kernel
def lower(selection: Selection, limit: int) -> None:
    """Lower the threshold of a selection, because another has shown that nothing farther matters."""
    while selection.threshold[0] > limit:
        selection.within[0] -= selection.counts[selection.threshold[0]]
        selection.threshold[0] -= 1


@kernel
def ascending(
    rows: NDArray[np.int64], distances: NDArray[np.uint16], groups: NDArray[np.uint32], limit: int
) -> tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.uint32]]:
    """Rows within a limit in their order, with their distances and groups, copied."""
    kept = np.flatnonzero(distances <= limit)
    order = kept[np.argsort(rows[kept])]
    return rows[order], distances[order], groups[order] if groups.size else groups.copy()


def packed(queries: Codes) -> Codes:
    """Queries as every kernel is compiled for: contiguous and writable."""
    ready = queries.dtype == np.uint64 and queries.flags.c_contiguous and queries.flags.writeable
    return queries if ready else np.require(queries, np.uint64, ["C", "W"])  # which takes long to find nothing to do
