"""Compiled sums of distances by group."""

from typing import Any, Final

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.database.columns import DELETED
from storage.jit import NO_WORDS, U, at, count_ones, inlined, kernel
from storage.search.kernels.state import NO_FLAGS, NO_GROUPS, Parts, Totals

STRIP: Final = 64
"""Rows of a word of bits."""


@kernel
def total(parts: Parts, queries: NDArray[np.uint64], bits: NDArray[np.uint64] | None, totals: Totals) -> None:
    """Add the distances of the rows whose bit is set, or of all, to the totals of their groups."""
    word, near, one = 0, np.empty(STRIP, np.int64), np.empty(STRIP, np.int64)
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
            _look(codes, stride, queries, U(start), U(end - start), near, one)
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


@inlined
def _look(
    codes: NDArray[np.uint64],
    stride: int,
    queries: NDArray[np.uint64],
    start: Any,
    n: Any,
    near: NDArray[np.int64],
    one: NDArray[np.int64],
) -> None:
    """Distances of n rows from the nearest query; `one` is room for those from one."""
    for q in range(queries.shape[0]):
        a = queries[q, 0]
        for j in range(n):
            one[j] = np.int64(count_ones(codes[start + j] ^ a))
        for w in range(1, queries.shape[1]):
            b, plane = queries[q, w], U(w * stride) + start
            for j in range(n):
                one[j] += np.int64(count_ones(codes[plane + j] ^ b))
        for j in range(n):
            near[j] = one[j] if q == 0 else min(near[j], one[j])
