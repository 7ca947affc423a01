"""The counting top-k: how many rows lie at each distance, and the threshold that falls while enough lie below it."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.jit import inlined, kernel

NO_GROUPS: Final = np.empty(0, np.uint32)
UNSEEN: Final = 65535
"""Distance of a group that no row has reached."""


class TopK(NamedTuple):
    """The k nearest so far, as counts; no heap is needed, for a distance is a small whole number.

    Rows are counted, or groups of rows, each once, with the least distance of its rows.

    Attributes
    ----------
    k
        How many rows or groups are wanted; those that tie with the k-th are wanted too.
    threshold : (1,) int64
        Greatest distance that may still matter.
    within : (1,) int64
        How many rows or groups are at most that far.
    counts : (code_length + 1,) int64
        How many are at each distance up to the threshold.
    best : (groups,) uint16
        Least distance of each group, UNSEEN at first; empty if the rows of a group follow each other.
    last : (2,) int64
        The latest group, and its least distance.
    """

    k: int
    threshold: NDArray[np.int64]
    within: NDArray[np.int64]
    counts: NDArray[np.int64]
    best: NDArray[np.uint16]
    last: NDArray[np.int64]


class Results(NamedTuple):
    """Rows that may be among the k nearest, from the front; some may be beyond the threshold by now.

    Attributes
    ----------
    size : (1,) int64
        How many rows there are.
    rows, distances, groups : (capacity,)
        `groups` is filled only if rows are grouped.
    """

    size: NDArray[np.int64]
    rows: NDArray[np.int64]
    distances: NDArray[np.uint16]
    groups: NDArray[np.uint32]


def new_top_k(k: int, limit: int, code_length: int, groups: int = 0) -> TopK:
    """Return a top-k that has counted no row, and for which nothing beyond `limit` matters.

    Parameters
    ----------
    groups
        How many groups there may be; 0 if the rows of a group follow each other.
    """
    counters = np.array([limit]), np.zeros(1, np.int64), np.zeros(code_length + 1, np.int64)
    return TopK(k, *counters, np.full(groups, UNSEEN, np.uint16), np.array([-1, UNSEEN]))


def new_results(capacity: int) -> Results:
    """Return results with room for `capacity` rows."""
    columns = np.empty(capacity, np.int64), np.empty(capacity, np.uint16), np.empty(capacity, np.uint32)
    return Results(np.zeros(1, np.int64), *columns)


@inlined
def count(top_k: TopK, distance: Any, more: int) -> None:
    """Count a row or group at a distance, `more` of which are new within the threshold; lower the threshold."""
    top_k.counts[distance] += 1
    threshold, within = top_k.threshold[0], top_k.within[0] + more
    while threshold >= 0 and within - top_k.counts[threshold] >= top_k.k:
        within -= top_k.counts[threshold]
        threshold -= 1
    top_k.threshold[0], top_k.within[0] = threshold, within


@inlined
def more_groups(top_k: TopK, group: Any, distance: int) -> int:
    """Number of groups, 0 or 1, that a row brings within the threshold; -1 if its group has a nearer row."""
    by_table, before = top_k.best.size > 0, np.int64(UNSEEN)
    if by_table:
        before = np.int64(top_k.best[group])
    elif top_k.last[0] == group:
        before = top_k.last[1]
    counted = before <= top_k.threshold[0]
    if counted and distance > before:
        return -1
    if counted:
        top_k.counts[before] -= 1
    if by_table:
        top_k.best[group] = distance
    top_k.last[0], top_k.last[1] = group, distance
    return 0 if counted else 1


@kernel
def lower(top_k: TopK, limit: int) -> None:
    """Lower the threshold to a limit, because another search has shown that nothing farther matters."""
    while top_k.threshold[0] > limit:
        top_k.within[0] -= top_k.counts[top_k.threshold[0]]
        top_k.threshold[0] -= 1


def ascending(
    rows: NDArray[np.int64], distances: NDArray[np.uint16], groups: NDArray[np.uint32], limit: int
) -> tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.uint32]]:
    """Copy the rows within a limit in ascending order, with their distances and groups."""
    near = np.flatnonzero(distances <= limit)
    order = near[np.argsort(rows[near])]
    return rows[order], distances[order], groups[order] if groups.size else groups
