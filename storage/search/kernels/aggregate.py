"""Compiled aggregates of distances by group."""

from typing import Any, NamedTuple

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.database.columns import DELETED
from storage.jit import NO_WORDS, U, at, inlined, kernel
from storage.search.kernels.distance import NO_FLAGS, WORD, Parts, Words, measure
from storage.segments.top_k import NO_GROUPS, UNSEEN


class Totals(NamedTuple):
    """Aggregates by group, which each call of `aggregate` continues.

    Attributes
    ----------
    sums, counts : (groups,) int64
        Sum of the distances of the rows of each group from the nearest query, and number of these rows.
    nearest : (queries, groups) uint16
        Least distance of the rows of each group from each query, UNSEEN at first; if it is not empty, it is computed
        instead of the sums.
    """

    sums: NDArray[np.int64]
    counts: NDArray[np.int64]
    nearest: NDArray[np.uint16]


def new_totals(groups: int, queries: int) -> Totals:
    """Return totals without a row: least distances from each query or, if `queries` is 0, sums."""
    sums = np.zeros(0 if queries else groups, np.int64)
    return Totals(sums, sums.copy(), np.full((queries, groups if queries else 0), UNSEEN, np.uint16))


@kernel
def aggregate(parts: Parts, queries: Words, bits: NDArray[np.uint64] | None, totals: Totals) -> None:
    """Aggregate the distances of the rows whose bit is set, or of all, in the totals of their groups."""
    word, distances = 0, np.empty((2, WORD), np.int64)
    for p in range(parts.rows.size):
        n, stride = parts.counts[p], parts.strides[p]
        codes = carray(at(parts.codes[p], NO_WORDS), (stride * (queries.shape[1] - 1) + n,))
        flags = carray(at(parts.flags[p], NO_FLAGS), (n,))
        groups = carray(at(parts.groups[p], NO_GROUPS), (n,))
        here = None if bits is None else bits[word:]
        word += (n + 63) // 64
        for start in range(0, n, WORD):
            mask, end = ~U(0) if here is None else here[start >> 6], min(start + WORD, n)
            if not mask:
                continue
            for q in range(totals.nearest.shape[0]):
                measure(codes, stride, queries[q : q + 1], start, end - start, distances)
                for row in range(U(start), U(end)):
                    if _is_chosen(flags, mask, row):
                        least = totals.nearest[q, groups[row]]
                        totals.nearest[q, groups[row]] = min(least, np.uint16(distances[0, row - U(start)]))
            if totals.sums.size:
                measure(codes, stride, queries, start, end - start, distances)
                _add(groups, flags, U(start), U(end), mask, distances[0], totals)


@inlined
def _add(
    groups: NDArray[np.uint32],
    flags: NDArray[np.uint8],
    start: Any,
    end: Any,
    mask: Any,
    distances: NDArray[np.int64],
    totals: Totals,
) -> None:
    """Add the distances of rows to the sums; neighbours often share a group, which is then written once for them."""
    group, summed, counted = groups[start], np.int64(0), np.int64(0)
    for row in range(start, end):
        if groups[row] != group:
            totals.sums[group] += summed
            totals.counts[group] += counted
            group, summed, counted = groups[row], np.int64(0), np.int64(0)
        if _is_chosen(flags, mask, row):
            summed += distances[row - start]
            counted += 1
    totals.sums[group] += summed
    totals.counts[group] += counted


@inlined
def _is_chosen(flags: NDArray[np.uint8], mask: Any, row: Any) -> Any:
    """True if the bit of a row is set in its word, and the row is not deleted."""
    return mask >> (row & U(63)) & U(1) and not flags[row] & DELETED
