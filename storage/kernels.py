"""Compiled loops over codes where they lie.

Inner loops index with unsigned integers: signed ones keep the wrap-around of negative indices, and with it scalar code.
Rows go in strips that fit the first-level cache: a strip without a row within the threshold is done at once.
"""

from typing import Any, Final

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.columns import DELETED
from storage.compiled import U, at, count_ones, inlined, kernel, lowest, prefetch
from storage.selection import NO_FLAGS, NO_GROUPS, NO_WORDS, UNSEEN, Each, Notes, Parts, Selection

Words = NDArray[np.uint64]

STRIP: Final = 512
FINE: Final = 32
"""Rows whose distances are written down, once a strip has one within the threshold."""
PIECE: Final = 4
"""Times FINE words are read between running ahead: memory answers few requests at once."""
LINE: Final = 8
"""Words that memory brings together."""
AHEAD: Final = 1024
"""Words by which reading runs ahead."""
FEW: Final = 16
"""Rows of a strip up to which looking at each is quicker than looking at the strip."""


@kernel
def select(
    parts: Parts, queries: Words, bits: Words | None, selection: Selection, notes: Notes, place: NDArray[np.int64]
) -> int:
    """Note the rows that may be among the k nearest to any of the queries, and lower the threshold.

    The threshold falls as soon as enough are counted below it; no heap, and equal distances keep their order.

    Parameters
    ----------
    queries : (queries, words)
    bits
        One bit for each row to consider, each part beginning with a word of its own; None for all.
    place : (3,)
        Part, row in it and word of bits to begin with, 0 at first; after the call, where to go on if the notes were
        full, or as many parts as there are.

    Returns
    -------
    int
        How many rows were noted.
    """
    noted, near, rows = 0, np.empty(FINE, np.int64), FINE * (PIECE // queries.shape[1])
    for p in range(place[0], parts.rows.size):
        n, stride = parts.counts[p], parts.strides[p]
        codes = carray(at(parts.codes[p], NO_WORDS), (stride * (queries.shape[1] - 1) + n,))
        flags = carray(at(parts.flags[p], NO_FLAGS), (n,))
        groups = carray(at(parts.groups[p], NO_GROUPS), (n,)) if parts.groups.size else NO_GROUPS
        here = None if bits is None else bits[place[2] :]
        for start in range(place[1], n, STRIP):
            end = min(start + STRIP, n)
            if noted + STRIP > notes.rows.size:
                place[0], place[1] = p, start
                return noted
            asked = STRIP if here is None else _count(here, start, end)
            if here is not None and asked <= FEW:
                for w in range(start >> 6, (end + 63) >> 6):
                    rest = here[w]
                    while rest:
                        row = (w << 6) + np.int64(lowest(rest))
                        rest &= rest - U(1)
                        measure(codes, stride, queries, row, row + 1, near)
                        if near[0] <= selection.threshold[0]:
                            noted = take(flags, groups, row, near[0], parts.rows[p], selection, notes, noted)
                continue
            pieces = reached_pieces(codes, stride, queries, start, end, selection.threshold[0])
            while pieces:
                piece, first = start + rows * np.int64(lowest(pieces)), parts.rows[p]
                pieces, stop = pieces & (pieces - U(1)), min(piece + rows, end)
                noted = _note(
                    codes, stride, flags, groups, queries, here, piece, stop, first, selection, notes, noted, near
                )
        place[1] = 0
        place[2] += (n + 63) // 64
    place[0] = parts.rows.size
    return noted


@kernel
def select_each(parts: Parts, queries: Words, tile: int, k: int, each: Each, place: NDArray[np.int64]) -> None:
    """`select` for each query by itself, tile by tile, so that all of them read a tile while it is near.

    Parameters
    ----------
    tile
        Rows that stay in the second-level cache.
    place : (2,)
        Part and row to begin with, as for `select`.
    """
    best, last, groups = np.empty(0, np.uint16), np.empty(2, np.int64), np.empty(0, np.uint32)
    near = np.empty(FINE, np.int64)
    for p in range(place[0], parts.rows.size):
        n, stride = parts.counts[p], parts.strides[p]
        codes = carray(at(parts.codes[p], NO_WORDS), (stride * (queries.shape[1] - 1) + n,))
        flags = carray(at(parts.flags[p], NO_FLAGS), (n,))
        for first in range(place[1], n, tile):
            if each.noted.max() + tile > each.rows.shape[1]:
                place[0], place[1] = p, first
                return
            for q in range(queries.shape[0]):
                one, noted, offset = queries[q : q + 1], each.noted[q, 0], parts.rows[p] - parts.rows[0]
                chosen = Selection(k, False, each.thresholds[q], each.withins[q], each.counts[q], best, last)
                notes = Notes(each.rows[q], each.distances[q], groups)
                for start in range(first, min(first + tile, n), STRIP):
                    end = min(start + STRIP, n)
                    if reached(codes, stride, one, start, end, each.thresholds[q, 0]):
                        noted = _note(
                            codes, stride, flags, groups, one, None, start, end, offset, chosen, notes, noted, near
                        )
                each.noted[q, 0] = noted
        place[1] = 0
    place[0] = parts.rows.size


@inlined
def _note(
    codes: Words,
    stride: int,
    flags: NDArray[np.uint8],
    groups: NDArray[np.uint32],
    queries: Words,
    bits: Words | None,
    start: int,
    end: int,
    first_row: int,
    selection: Selection,
    notes: Notes,
    noted: int,
    near: NDArray[np.int64],
) -> int:
    """Note what some rows add to a selection; return how many are noted now."""
    for fine in range(start, end, FINE):
        stop, threshold = min(fine + FINE, end), selection.threshold[0]
        word = ~U(0) if bits is None else bits[fine >> 6] >> U(fine & 63)
        if not word << U(64 - FINE) or not reached(codes, stride, queries, fine, stop, threshold):
            continue
        measure(codes, stride, queries, fine, stop, near)
        for j in range(U(stop - fine)):
            if near[j] > threshold or not word >> j & U(1):
                continue
            noted = take(flags, groups, fine + np.int64(j), near[j], first_row, selection, notes, noted)
            threshold = selection.threshold[0]
    return noted


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


@kernel
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


@kernel
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
def _count(bits: Words, start: int, end: int) -> Any:
    """How many rows of a strip have their bit set."""
    ones = U(0)
    for word in range(U(start >> 6), U((end + 63) >> 6)):
        ones += count_ones(bits[word])
    return np.int64(ones)


@inlined
def reached_pieces(codes: Words, stride: int, queries: Words, start: int, end: int, limit: int) -> Any:
    """Which pieces of a strip have a row within `limit` of any query, a bit each; what comes next is asked for."""
    pieces, words = U(0), queries.shape[1]
    rows, bit = U(FINE * (PIECE // words)), U(1)
    for first in range(U(start), U(end), rows):
        for w in range(words):
            for line in range(U(0), rows, U(LINE)):
                prefetch(codes, U(w * stride + AHEAD) + first + line)
        if reached(codes, stride, queries, first, min(U(first) + rows, U(end)), limit):
            pieces |= bit
        bit <<= U(1)
    return pieces


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
def measure(codes: Words, stride: int, queries: Words, start: Any, end: Any, near: NDArray[np.int64]) -> None:
    """Write distances from the nearest query."""
    n = U(end - start)
    for q in range(queries.shape[0]):
        for j in range(n):
            distance = np.int64(0)
            for w in range(queries.shape[1]):
                distance += np.int64(count_ones(codes[U(w * stride + start) + j] ^ queries[q, w]))
            near[j] = distance if q == 0 else min(near[j], distance)
