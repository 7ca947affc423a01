"""Many queries over one tile of codes after another, each tile while it is near.

Thresholds fall as soon as enough are counted below them; no heap, and equal distances keep their order.
"""

from typing import Any

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.jit import LINE, NO_WORDS, U, at, inlined, kernel, lowest, prefetch
from storage.search.kernels.distance import STRIP, Words, least_distance, near_rows, reached, take
from storage.search.kernels.nibbles import ENTRIES, GROUP, MOST, PLANES, TOGETHER, Octets, look_up, split
from storage.search.kernels.state import NO_FLAGS, Each, Notes, Parts, Selection


@kernel
def select_each(parts: Parts, queries: Words, tile: int, k: int, each: Each, place: NDArray[np.int64]) -> None:
    """Note what may be among the k nearest to each query.

    Parameters
    ----------
    tile
        Rows that stay in the second-level cache.
    place : (2,)
        Part and row in it to begin with, 0 at first; after the call, where to go on if the notes were full, or as many
        parts as there are.
    """
    spare = _spare()
    for p in range(place[0], parts.rows.size):
        n, stride = parts.counts[p], parts.strides[p]
        codes = carray(at(parts.codes[p], NO_WORDS), (stride * (queries.shape[1] - 1) + n,))
        for first in range(place[1], n, tile):
            if each.noted.max() + tile > each.rows.shape[1]:
                place[0], place[1] = p, first
                return
            last = min(first + tile, n)
            for q in range(queries.shape[0]):
                one = queries[q : q + 1]
                for start in range(first, last, STRIP):
                    end = min(start + STRIP, last)
                    if reached(codes, stride, one, start, end, each.thresholds[q, 0]):
                        for word in range(start, end, 64):
                            near = near_rows(codes, stride, one, word, min(word + 64, end), each.thresholds[q, 0])
                            _note(parts, p, codes, queries, q, word, near, k, each, spare)
        place[1] = 0
    place[0] = parts.rows.size


@kernel
def select_each_by_table(
    parts: Parts,
    queries: Words,
    tables: Octets,
    nibbles: Octets,
    limits: Octets,
    k: int,
    each: Each,
    place: NDArray[np.int64],
) -> None:
    """As `select_each`, with distances from `storage.search.kernels.nibbles`.

    Parameters
    ----------
    tables
        As that module makes them.
    nibbles : (tile * words * PLANES,)
        Room for the nibbles of a tile.
    limits : (queries + TOGETHER - 1,)
        Of each query the threshold, MOST at most; then zeros.
    """
    planes = queries.shape[1] * PLANES
    tile, near, spare = nibbles.size // planes // GROUP * GROUP, np.empty(TOGETHER, np.uint64), _spare()
    for p in range(place[0], parts.rows.size):
        n, stride = parts.counts[p], parts.strides[p]
        codes = carray(at(parts.codes[p], NO_WORDS), (stride * (queries.shape[1] - 1) + n,))
        for first in range(place[1], n, tile):
            if each.noted.max() + tile > each.rows.shape[1]:
                place[0], place[1] = p, first
                return
            groups, end = (min(first + tile, n) - first) // GROUP, min(first + tile, n)
            _split_all(codes, stride, queries.shape[1], first, groups, nibbles)
            for q in range(0, queries.shape[0], TOGETHER):
                _ask_for_part(codes, stride, queries.shape, first + tile, tile, q)
                for group in range(groups):
                    word, here = first + group * GROUP, group * planes * GROUP
                    if look_up(tables, q * planes * ENTRIES, nibbles, here, planes, limits, q, near):
                        for i in range(q, min(q + TOGETHER, queries.shape[0])):
                            _note(parts, p, codes, queries, i, word, near[i - q], k, each, spare)
                            limits[i] = max(0, min(each.thresholds[i, 0], MOST))
            rest = first + groups * GROUP
            for q in range(queries.shape[0] if rest < end else 0):
                few = near_rows(codes, stride, queries[q : q + 1], rest, end, each.thresholds[q, 0])
                _note(parts, p, codes, queries, q, rest, few, k, each, spare)
        place[1] = 0
    place[0] = parts.rows.size


@inlined
def _split_all(codes: Words, stride: Any, words: Any, first: Any, groups: Any, nibbles: Octets) -> None:
    """Split so many groups of 64 rows, one after the other."""
    for group in range(groups):
        for w in range(words):
            split(codes, w * stride + first + group * GROUP, nibbles, (group * words + w) * PLANES * GROUP)


@inlined
def _ask_for_part(codes: Words, stride: Any, queries: Any, first: Any, tile: Any, q: Any) -> None:
    """Ask memory for a part of the next tile, so that all of it is asked for when the last query's turn comes."""
    start, end = tile * q // queries[0], tile * min(q + TOGETHER, queries[0]) // queries[0]
    for w in range(queries[1]):
        for row in range(U(first + start), U(first + end), U(LINE)):
            prefetch(codes, U(w * stride) + row)


@inlined
def _spare() -> Any:
    """What a selection without groups leaves as it is."""
    return np.empty(0, np.uint16), np.empty(2, np.int64), np.empty(0, np.uint32)


@inlined
def _note(
    parts: Parts, p: Any, codes: Words, queries: Words, q: Any, word: Any, near: Any, k: int, each: Each, spare: Any
) -> None:
    """Note the near ones of 64 rows for one query, as long as its threshold has not fallen below them."""
    if not near:
        return
    flags = carray(at(parts.flags[p], NO_FLAGS), (parts.counts[p],))
    best, last, groups = spare
    notes = Notes(each.rows[q], each.distances[q], groups)
    chosen = Selection(k, False, each.thresholds[q], each.withins[q], each.counts[q], best, last)
    noted, offset = each.noted[q, 0], parts.rows[p] - parts.rows[0]
    while near:
        row = word + np.int64(lowest(near))
        near &= near - U(1)
        distance = least_distance(codes, parts.strides[p], queries[q : q + 1], row)
        if distance <= each.thresholds[q, 0]:
            noted = take(flags, groups, row, distance, offset, chosen, notes, noted)
    each.noted[q, 0] = noted
