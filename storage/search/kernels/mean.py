"""Compiled sums of distances by group."""

from typing import Any, NamedTuple

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.database.columns import DELETED
from storage.jit import NO_WORDS, U, at, count_ones, inlined, kernel
from storage.search.kernels.distance import NO_FLAGS, WORD, Parts, Words
from storage.segments.top_k import NO_GROUPS


class Totals(NamedTuple):
    """Sums by group, which each call of `total` adds to.

    Attributes
    ----------
    sums, counts : (groups,) int64
        Sum of the distances of the rows of each group, and number of these rows.
    """

    sums: NDArray[np.int64]
    counts: NDArray[np.int64]


@kernel
def total(parts: Parts, queries: Words, bits: NDArray[np.uint64] | None, totals: Totals) -> None:
    """Add the distances of the rows whose bit is set, or of all, to the totals of their groups."""
    word, nearest, room = 0, np.empty(WORD, np.int64), np.empty(WORD, np.int64)
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
            _distances(codes, stride, queries, U(start), U(end - start), nearest, room)
            group, summed, counted = groups[start], np.int64(0), np.int64(0)
            for row in range(U(start), U(end)):  # neighbours often share a group: it is written once for them
                if groups[row] != group:
                    totals.sums[group] += summed
                    totals.counts[group] += counted
                    group, summed, counted = groups[row], np.int64(0), np.int64(0)
                if mask >> (row & U(63)) & U(1) and not flags[row] & DELETED:
                    summed += nearest[row - U(start)]
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
