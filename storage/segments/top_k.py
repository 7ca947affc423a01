"""The counting top-k: how many rows lie at each distance, and the threshold that falls while enough lie below it."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.jit import inlined, kernel

NO_GROUPS: Final = np.empty(0, np.uint32)


class TopK(NamedTuple):
    """The k nearest so far, as counts; no heap is needed, for a distance is a small whole number.

    Attributes
    ----------
    k
        How many rows, or groups of rows, are wanted; those that tie with the k-th are wanted too.
    threshold : (1,) int64
        Greatest distance that may still matter.
    within : (1,) int64
        How many rows or groups are at most that far.
    counts : (code_length + 1,) int64
        How many are at each distance up to the threshold.
    """

    k: int
    threshold: NDArray[np.int64]
    within: NDArray[np.int64]
    counts: NDArray[np.int64]


class Results(NamedTuple):
    """Rows that may be among the k nearest, from the front; some may be beyond the threshold by now.

    Attributes
    ----------
    size : (1,) int64
        How many rows there are.
    rows, distances, groups : (capacity,)
        `groups` is filled only where rows are grouped.
    """

    size: NDArray[np.int64]
    rows: NDArray[np.int64]
    distances: NDArray[np.uint16]
    groups: NDArray[np.uint32]


def new_top_k(k: int, limit: int, code_length: int) -> TopK:
    """No row counted yet, and nothing beyond `limit` matters."""
    return TopK(k, np.array([limit]), np.zeros(1, np.int64), np.zeros(code_length + 1, np.int64))


def new_results(capacity: int) -> Results:
    """Room for so many rows."""
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


@kernel
def lower(top_k: TopK, limit: int) -> None:
    """Lower the threshold to a limit, because another search has shown that nothing farther matters."""
    while top_k.threshold[0] > limit:
        top_k.within[0] -= top_k.counts[top_k.threshold[0]]
        top_k.threshold[0] -= 1
