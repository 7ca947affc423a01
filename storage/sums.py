"""Compiled sums of distances by group."""

from typing import Final

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.columns import DELETED
from storage.compiled import U, at, count_ones, kernel
from storage.selection import NO_FLAGS, NO_GROUPS, NO_WORDS, Parts, Totals

STRIP: Final = 64
"""Rows of a word of bits."""


@kernel
def total(parts: Parts, queries: NDArray[np.uint64], bits: NDArray[np.uint64] | None, totals: Totals) -> None:
    """Add the distances of the rows whose bit is set, or of all, to the totals of their groups."""
    word, near = 0, np.empty(STRIP, np.int64)
    for p in range(parts.rows.size):
        n, stride = parts.counts[p], parts.strides[p]
        codes = carray(at(parts.codes[p], NO_WORDS), (stride * (queries.shape[1] - 1) + n,))
        flags = carray(at(parts.flags[p], NO_FLAGS), (n,))
        groups = carray(at(parts.groups[p], NO_GROUPS), (n,))
        here = None if bits is None else bits[word:]
        word += (n + 63) // 64
        for start in range(0, n, STRIP):
            asked, end = ~U(0) if here is None else here[start >> 6], min(start + STRIP, n)
            if not asked:
                continue
            for q in range(queries.shape[0]):
                for j in range(U(end - start)):
                    distance = np.int64(0)
                    for w in range(queries.shape[1]):
                        distance += np.int64(count_ones(codes[U(w * stride + start) + j] ^ queries[q, w]))
                    near[j] = distance if q == 0 else min(near[j], distance)
            group, summed, counted = groups[start], np.int64(0), np.int64(0)
            for row in range(U(start), U(end)):  # neighbours often share a group: it is written once for them
                if groups[row] != group:
                    totals.sums[group] += summed
                    totals.counts[group] += counted
                    group, summed, counted = groups[row], np.int64(0), np.int64(0)
                if asked >> (row & U(63)) & U(1) and not flags[row] & DELETED:
                    summed += near[row - U(start)]
                    counted += 1
            totals.sums[group] += summed
            totals.counts[group] += counted
