"""Compiled aggregates of distances by group."""

from typing import Any, NamedTuple

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.database.columns import DELETED
from storage.jit import NO_WORDS, U, at, count_ones, inlined, kernel
from storage.search.kernels.distance import NO_FLAGS, WORD, Parts, Words
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
    word, distances, room = 0, np.empty(WORD, np.int64), np.empty(WORD, np.int64)
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
                _distances(codes, stride, queries[q : q + 1], U(start), U(end - start), distances, room)
                _keep_least(groups, flags, U(start), U(end), mask, distances, totals.nearest[q])
            if totals.sums.size:
                _distances(codes, stride, queries, U(start), U(end - start), distances, room)
                _add(groups, flags, U(start), U(end), mask, distances, totals)


@inlined
def _keep_least(
    groups: NDArray[np.uint32],
    flags: NDArray[np.uint8],
    start: Any,
    end: Any,
    mask: Any,
    distances: NDArray[np.int64],
    nearest: NDArray[np.uint16],
) -> None:
    """Lower the least distance of each group to that of its rows from `start` to `end` - 1."""
    for row in range(start, end):
        if mask >> (row & U(63)) & U(1) and not flags[row] & DELETED:
            nearest[groups[row]] = min(nearest[groups[row]], np.uint16(distances[row - start]))


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
        if mask >> (row & U(63)) & U(1) and not flags[row] & DELETED:
            summed += distances[row - start]
            counted += 1
    totals.sums[group] += summed
    totals.counts[group] += counted


@inlined
def _distances(
    codes: Words, stride: int, queries: Words, start: Any, n: Any, nearest: NDArray[np.int64], room: NDArray[np.int64]
) -> None:
    """Write the distances of n rows from the nearest query; `room` is for those from one query."""
    for q in range(queries.shape[0]):
        for w in range(queries.shape[1]):
            word, plane = queries[q, w], U(w * stride) + start
            for j in range(n):
                ones = np.int64(count_ones(codes[plane + j] ^ word))
                room[j] = ones if w == 0 else room[j] + ones
        for j in range(n):
            nearest[j] = room[j] if q == 0 else min(nearest[j], room[j])
