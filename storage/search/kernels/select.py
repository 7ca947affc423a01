"""Compiled loops that list the rows of a chunk, drop those that fail a condition, and count the others into a top-k.

Few rows are near, so the rows of a list lie far apart in memory. Loops over a list have no branch that depends on what
they read, so that many reads are under way at once.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.database.columns import DELETED
from storage.jit import NO_WORDS, U, at, count_ones, inlined, kernel, lowest, prefetch
from storage.search.kernels.bitset import FEW, Bits, Condition, matches
from storage.search.kernels.distance import (
    AHEAD,
    BLOCK,
    NO_FLAGS,
    WORD,
    Parts,
    Words,
    ask_for,
    is_any_near,
    least_distance,
    near_mask,
)
from storage.segments.top_k import NO_GROUPS, Results, TopK, count, more_groups

MAX_LISTED: Final = 8192
"""Rows of a list at most."""
MIN_LISTED: Final = 3 * BLOCK
"""Rows within the threshold that are listed before it is lowered."""
ROWS_AHEAD: Final = U(32)
"""Rows of a list by which reading runs ahead."""
WORDS_AHEAD: Final = 16
"""Words of bits by which reading runs ahead."""


class Listing(NamedTuple):
    """Rows of a chunk, ascending.

    Attributes
    ----------
    parts, offsets : (MAX_LISTED,) int64
        The part that a row lies in, and its offset in it.
    """

    parts: NDArray[np.int64]
    offsets: NDArray[np.int64]


@kernel
def new_listing() -> Listing:
    """Return a list with room for MAX_LISTED rows."""
    return Listing(np.empty(MAX_LISTED, np.int64), np.empty(MAX_LISTED, np.int64))


@inlined
def _append(listing: Listing, size: Any, part: Any, first: Any, mask: Any) -> Any:
    """Append the rows of a word of bits to a list; return its new size."""
    while mask:
        listing.parts[size], listing.offsets[size] = part, first + np.int64(lowest(mask))
        size += U(1)
        mask &= mask - U(1)
    return size


@kernel
def list_near(
    parts: Parts, queries: Words, limit: int, max_rows: int, listing: Listing, position: NDArray[np.int64]
) -> Any:
    """List rows within a limit of any query; return how many.

    Parameters
    ----------
    max_rows
        At least BLOCK, at most MAX_LISTED.
    position : (2,)
        Part and offset to begin with, 0 at first; after the call, where to go on if the list was full, or as many parts
        as there are.
    """
    size = U(0)
    for p in range(position[0], parts.rows.size):
        n, stride = parts.counts[p], parts.strides[p]
        codes = carray(at(parts.codes[p], NO_WORDS), (stride * (queries.shape[1] - 1) + n,))
        for first in range(position[1], n, BLOCK):
            if AHEAD:
                ask_for(codes, stride, queries.shape[1], first + AHEAD, BLOCK)
            if not is_any_near(codes, stride, queries, first, min(n - first, BLOCK), limit):
                continue
            if size + U(BLOCK) > U(max_rows):
                position[0], position[1] = p, first
                return np.int64(size)
            for word in range(first, min(first + BLOCK, n), WORD):
                mask = near_mask(codes, stride, queries, word, min(n - word, WORD), limit)
                size = _append(listing, size, p, word, mask)
        position[1] = 0
    position[0] = parts.rows.size
    return np.int64(size)


@kernel
def list_candidates(
    parts: Parts, queries: Words, limit: int, bits: Bits, max_rows: int, listing: Listing, position: NDArray[np.int64]
) -> Any:
    """List rows whose bit is set, but not those beyond a limit in words of many such rows; return how many.

    The distances of 64 neighbours take as long as those of a few rows by themselves, which `take_listed` computes.

    Parameters
    ----------
    max_rows
        At least WORD, at most MAX_LISTED.
    position : (3,)
        Part, word in it, and word of all bits that the part begins with; as for `list_near`.
    """
    size = U(0)
    for p in range(position[0], parts.rows.size):
        n, stride, words = parts.counts[p], parts.strides[p], (parts.counts[p] + WORD - 1) // WORD
        codes = carray(at(parts.codes[p], NO_WORDS), (stride * (queries.shape[1] - 1) + n,))
        here = bits[position[2] : position[2] + words]
        for w in range(position[1], words):
            mask, ahead = here[w], here[w + WORDS_AHEAD] if w + WORDS_AHEAD < words else U(0)
            if not mask | ahead:
                continue
            if count_ones(ahead) > FEW:
                ask_for(codes, stride, queries.shape[1], (w + WORDS_AHEAD) * WORD, WORD)
            if size + U(WORD) > U(max_rows):
                position[0], position[1] = p, w
                return np.int64(size)
            if count_ones(mask) > FEW:
                mask &= near_mask(codes, stride, queries, w * WORD, min(n - w * WORD, WORD), limit)
            size = _append(listing, size, p, w * WORD, mask)
        position[1] = 0
        position[2] += words
    position[0] = parts.rows.size
    return np.int64(size)


@kernel
def keep_listed(listing: Listing, size: int, addresses: NDArray[np.uint64], condition: Condition) -> Any:
    """Keep the rows of a list whose value meets a condition; return how many.

    Parameters
    ----------
    addresses : (parts,)
        Where the values of each part lie.
    """
    values, left = np.empty(size, condition.ends.dtype), U(0)
    for i in range(U(size)):
        if i + ROWS_AHEAD < U(size):
            prefetch(*_value(listing, i + ROWS_AHEAD, addresses, condition))
        column, offset = _value(listing, i, addresses, condition)
        values[i] = column[offset]
    for i in range(U(size)):
        part, offset = listing.parts[i], listing.offsets[i]
        listing.parts[left], listing.offsets[left] = part, offset
        left += U(matches(values[i], condition) == condition.wanted)
    return np.int64(left)


@inlined
def _value(listing: Listing, i: Any, addresses: NDArray[np.uint64], condition: Condition) -> Any:
    """Values of a part up to that of a row of the list, and its index."""
    offset = listing.offsets[i]
    return carray(at(addresses[U(listing.parts[i])], condition.ends), (offset + 1,)), U(offset)


@kernel
def take_listed(parts: Parts, queries: Words, listing: Listing, size: int, top_k: TopK, results: Results) -> None:
    """Add the rows of a list that may be among the nearest to the results, which must have room for all of it."""
    distances, threshold = np.empty(size, np.int64), top_k.threshold
    for i in range(U(size)):
        if i + ROWS_AHEAD < U(size):
            ahead = U(listing.parts[i + ROWS_AHEAD])
            prefetch(carray(at(parts.codes[ahead], NO_WORDS), (1,)), U(listing.offsets[i + ROWS_AHEAD]))
        p, row = U(listing.parts[i]), U(listing.offsets[i])
        codes = carray(at(parts.codes[p], NO_WORDS), (parts.strides[p] * queries.shape[1],))
        distances[i] = least_distance(codes, parts.strides[p], queries, row)
        if distances[i] <= threshold[0]:
            prefetch(carray(at(parts.flags[p], NO_FLAGS), (1,)), row)
            if parts.groups.size:
                prefetch(carray(at(parts.groups[p], NO_GROUPS), (1,)), row)
    for i in range(U(size)):
        if distances[i] <= threshold[0]:
            _take(parts, listing.parts[i], U(listing.offsets[i]), distances[i], top_k, results)


@inlined
def _take(parts: Parts, p: Any, row: Any, distance: int, top_k: TopK, results: Results) -> None:
    """Add one row to the results, unless it is deleted or its group has a nearer one."""
    n, grouped, size = parts.counts[p], parts.groups.size > 0, results.size[0]
    deleted = carray(at(parts.flags[p], NO_FLAGS), (n,))[row] & DELETED
    group = carray(at(parts.groups[p], NO_GROUPS), (n,))[row] if grouped else np.uint32(0)
    if not deleted:
        more = more_groups(top_k, group, distance) if grouped else 1
        if more >= 0:
            count(top_k, distance, more)
            results.rows[size], results.distances[size] = parts.rows[p] + np.int64(row), distance
            results.groups[size] = group
            results.size[0] = size + 1


@kernel
def select(parts: Parts, queries: Words, top_k: TopK, results: Results, position: NDArray[np.int64]) -> None:
    """Add the rows that may be among the k nearest to any query to the results.

    Parameters
    ----------
    position : (2,)
        As for `list_near`; it is no more than the parts if the results are full, with room for fewer than MIN_LISTED.
    """
    listing = new_listing()
    while position[0] < parts.rows.size and results.size[0] + MIN_LISTED <= results.rows.size:
        size = list_near(parts, queries, top_k.threshold[0], MIN_LISTED, listing, position)
        take_listed(parts, queries, listing, size, top_k, results)
