"""What compiled searches read and change."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.jit import kernel
from storage.segments.top_k import NO_GROUPS, TopK

UNSEEN: Final = 65535
"""Distance of a group that no row has reached."""
NO_FLAGS: Final = np.empty(0, np.uint8)
NO_BEST: Final = np.empty(0, np.uint16)


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


class GroupedTopK(NamedTuple):
    """The k nearest groups so far; a group counts once, with the least distance of its rows.

    Attributes
    ----------
    top_k
        Counts groups, or rows where the parts have no groups.
    best : (groups,) uint16
        Least distance of each group, UNSEEN at first; empty where the rows of a group follow each other.
    last : (2,) int64
        Latest group, and its least distance.
    """

    top_k: TopK
    best: NDArray[np.uint16]
    last: NDArray[np.int64]


class Totals(NamedTuple):
    """Sums by group, changed by each call of `total`.

    Attributes
    ----------
    sums, counts : (groups,) int64
        Sum of the distances of the rows of each group, and how many rows that is.
    """

    sums: NDArray[np.int64]
    counts: NDArray[np.int64]


def grouped(top_k: TopK, groups: int = 0) -> GroupedTopK:
    """No group counted yet; `groups` is how many there may be, 0 where the rows of a group follow each other."""
    best = np.full(groups, UNSEEN, np.uint16) if groups else NO_BEST
    return GroupedTopK(top_k, best, np.array([-1, UNSEEN]))


@kernel
def ascending(
    rows: NDArray[np.int64], distances: NDArray[np.uint16], groups: NDArray[np.uint32], limit: int
) -> tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.uint32]]:
    """Copy the rows within a limit in ascending order, with their distances and groups."""
    kept = np.flatnonzero(distances <= limit)
    order = kept[np.argsort(rows[kept])]
    return rows[order], distances[order], groups[order] if groups.size else groups.copy()


def packed(queries: Codes) -> Codes:
    """Queries as every kernel is compiled for: contiguous and writable."""
    ready = queries.dtype == np.uint64 and queries.flags.c_contiguous and queries.flags.writeable
    return queries if ready else np.require(queries, np.uint64, ["C", "W"])  # which takes long to find nothing to do


__all__ = ["NO_FLAGS", "NO_GROUPS", "UNSEEN", "GroupedTopK", "Parts", "Totals", "ascending", "grouped", "packed"]
