"""Compiled loops over codes where they lie.

Inner loops index with unsigned integers: signed ones keep the wrap-around of negative indices, and with it scalar code.
Rows go in strips that fit the first-level cache: a strip without a row within the threshold is done at once.
"""

from typing import Any, Final

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.database.columns import DELETED
from storage.jit import LANES, NO_WORDS, U, at, count_ones, inlined, kernel
from storage.search.kernels.state import NO_FLAGS, UNSEEN, Notes, Parts, Selection
from storage.segments.costs import distance_within

Words = NDArray[np.uint64]

STRIP: Final = 512
STRETCH: Final = 128 * STRIP
"""Rows that are looked at before those found are listed."""
MOST_PIECE: Final = 128
"""Rows looked at in one place, at most, before the next one's turn."""
LEAST_BOUND, BOUND_ROWS = 4096, 16
"""Rows by which the first threshold is set, at least, and for each that is wanted."""
STREAMS: Final = 4
"""Places that are read in turn, planes of long codes among them."""


@inlined
def take(
    flags: NDArray[np.uint8],
    groups: NDArray[np.uint32],
    row: Any,
    distance: int,
    first_row: int,
    selection: Selection,
    notes: Notes,
    noted: int,
) -> Any:
    """Note one row, unless it adds nothing; return how many are noted now."""
    group = groups[row] if groups.size else np.uint32(0)
    if _add(selection, flags[row], group, groups.size > 0, distance):
        notes.rows[noted], notes.distances[noted] = first_row + row, distance
        if groups.size:
            notes.groups[noted] = group
        noted += 1
    return noted


@inlined
def _add(selection: Selection, flags: int, group: Any, grouped: bool, distance: int) -> bool:
    """Count a row, unless it adds nothing, and lower the threshold while enough are counted below it."""
    if flags & DELETED or (grouped and not _advances(selection, group, distance)):
        return False
    threshold, within = selection.threshold[0], selection.within[0] + (not grouped)
    selection.counts[distance] += 1
    while threshold >= 0 and within - selection.keep_ties * selection.counts[threshold] >= selection.k:
        within -= selection.counts[threshold]
        threshold -= 1
    selection.threshold[0], selection.within[0] = threshold, within
    return True


@inlined
def _advances(selection: Selection, group: int, distance: int) -> bool:
    """Whether a row brings its group nearer, or is as near as the nearest of its group; count the group."""
    by_table = selection.best.size > 0
    before = np.int64(UNSEEN)
    if by_table:
        before = np.int64(selection.best[group])
    elif selection.last[0] == group:
        before = selection.last[1]
    counted = before <= selection.threshold[0]
    if counted and distance > before:
        return False
    if counted:
        selection.counts[before] -= 1
    else:
        selection.within[0] += 1
    if by_table:
        selection.best[group] = distance
    selection.last[0], selection.last[1] = group, distance
    return True


@inlined
def piece_rows(words: int) -> int:
    """Rows of a piece, given the words of a code: none lies in two words of bits."""
    return MOST_PIECE if words < 3 else MOST_PIECE // 2


@kernel
def reach(
    codes: Words, stride: int, queries: Words, start: int, end: int, limit: int, strips: NDArray[np.uint64]
) -> None:
    """Find which pieces of a stretch have a row within `limit` of any query: of each strip a word, of each piece a bit.

    The stretch is read in several streams, a piece of each in turn: a processor that follows one alone asks memory for
    too little at once.
    """
    words, bit = queries.shape[1], U(1)
    rows, lane = piece_rows(words), STRETCH // max(1, STREAMS // words)
    strips[:] = U(0)
    for offset in range(0, lane, rows):
        if offset % STRIP == 0:
            bit = U(1)
        for first in range(start + offset, end, lane):
            if reached(codes, stride, queries, first, min(first + rows, end), limit):
                strips[U(first - start) // U(STRIP)] |= bit
        bit <<= U(1)


@inlined
def reached(codes: Words, stride: int, queries: Words, start: Any, end: Any, limit: int) -> Any:
    """Whether any row is within `limit` of any query: a negative number leaves its sign in what is joined."""
    first, n, plane, beyond = U(start), U(end - start), U(stride), np.int64(limit) + 1
    signs, words = np.int64(0), queries.shape[1]
    for q in range(queries.shape[0]):
        a = queries[q, 0]
        if words == 1:
            for j in range(n):
                signs |= np.int64(count_ones(codes[first + j] ^ a)) - beyond
            continue
        b, second = queries[q, 1], first + plane
        if words == 2:
            for j in range(n):
                signs |= np.int64(count_ones(codes[first + j] ^ a) + count_ones(codes[second + j] ^ b)) - beyond
            continue
        c, third = queries[q, 2], second + plane
        d, fourth = queries[q, words - 1], third + plane
        for j in range(n):
            ones = (
                count_ones(codes[first + j] ^ a) + count_ones(codes[second + j] ^ b) + count_ones(codes[third + j] ^ c)
            )
            ones += count_ones(codes[fourth + j] ^ d) if words == 4 else U(0)
            signs |= np.int64(ones) - beyond
    return signs < 0


@inlined
def near_rows(codes: Words, stride: int, queries: Words, start: Any, end: Any, limit: int) -> Any:
    """Which of at most 64 rows are within `limit` of any query, a bit each."""
    first, n, plane, near, words = U(start), U(end - start), U(stride), U(0), queries.shape[1]
    for q in range(queries.shape[0]):
        a = queries[q, 0]
        if words == 1:
            for j in range(n):
                near |= U(np.int64(count_ones(codes[first + j] ^ a)) <= limit) << j
            continue
        b, second = queries[q, 1], first + plane
        if words == 2:
            for j in range(n):
                ones = count_ones(codes[first + j] ^ a) + count_ones(codes[second + j] ^ b)
                near |= U(np.int64(ones) <= limit) << j
            continue
        c, third = queries[q, 2], second + plane
        d, fourth = queries[q, words - 1], third + plane
        for j in range(n):
            ones = (
                count_ones(codes[first + j] ^ a) + count_ones(codes[second + j] ^ b) + count_ones(codes[third + j] ^ c)
            )
            ones += count_ones(codes[fourth + j] ^ d) if words == 4 else U(0)
            near |= U(np.int64(ones) <= limit) << j
    return near


@inlined
def least_distance(codes: Words, stride: Any, queries: Words, row: Any) -> Any:
    """Distance of a row from the nearest query."""
    least = np.int64(UNSEEN)
    for q in range(queries.shape[0]):
        distance = np.int64(0)
        for w in range(queries.shape[1]):
            distance += np.int64(count_ones(codes[U(w) * U(stride) + U(row)] ^ queries[q, w]))
        least = min(least, distance)
    return least


@kernel
def bound(parts: Parts, queries: Words, k: int) -> Any:
    """Distance from the first query within which k of the first rows lie: those farther off matter to no query.

    Many rows are nearer than those before them while few were looked at, and to take one takes longer than to look at
    a hundred. UNSEEN where too few rows are left to tell.
    """
    n = min(parts.counts[0], max(LEAST_BOUND, min(STRETCH, BOUND_ROWS * k)))
    flags = carray(at(parts.flags[0], NO_FLAGS), (n,))
    wanted = k
    for row in range(n):
        wanted += flags[row] & DELETED
    if wanted > n:
        return np.int64(UNSEEN)
    codes = carray(at(parts.codes[0], NO_WORDS), (queries.shape[1], parts.strides[0]))
    return distance_within(
        codes, n, queries[0], np.float64(wanted), np.empty((n + LANES - 1) // LANES * LANES, np.uint16)
    )
