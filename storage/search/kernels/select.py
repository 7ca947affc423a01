"""Compiled loops that list the rows of a chunk, drop those that fail a condition, and count the others into a top-k.

Few rows are near, so the rows of a list lie far apart in memory. Loops over a list have no branch that depends on what
they read, so that many reads are under way at once.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.database.columns import DELETED
from storage.jit import NO_WORDS, U, at, inlined, kernel, lowest, prefetch
from storage.search.kernels.bitset import Bits, Condition, matches
from storage.search.kernels.distance import AHEAD, BLOCK, WORD, Words, ask_for, is_any_near, least_distance, near_mask
from storage.search.kernels.state import NO_FLAGS, NO_GROUPS, UNSEEN, GroupedTopK, Parts
from storage.segments.top_k import Results, count

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


def new_listing() -> Listing:
    """Room for a list."""
    return Listing(np.empty(MAX_LISTED, np.int64), np.empty(MAX_LISTED, np.int64))


@inlined
def _append(listing: Listing, listed: Any, part: Any, first: Any, mask: Any) -> Any:
    """Append the rows of a word of bits to a list of so many; return how many there are then."""
    while mask:
        listing.parts[listed], listing.offsets[listed] = part, first + np.int64(lowest(mask))
        listed += U(1)
        mask &= mask - U(1)
    return listed


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
    listed = U(0)
    for p in range(position[0], parts.rows.size):
        n, stride = parts.counts[p], parts.strides[p]
        codes = carray(at(parts.codes[p], NO_WORDS), (stride * (queries.shape[1] - 1) + n,))
        for first in range(position[1], n, BLOCK):
            if AHEAD:
                ask_for(codes, stride, queries.shape[1], first + AHEAD, BLOCK)
            if not is_any_near(codes, stride, queries, first, min(n - first, BLOCK), limit):
                continue
            if listed + U(BLOCK) > U(max_rows):
                position[0], position[1] = p, first
                return np.int64(listed)
            for word in range(first, min(first + BLOCK, n), WORD):
                mask = near_mask(codes, stride, queries, word, min(n - word, WORD), limit)
                listed = _append(listing, listed, p, word, mask)
        position[1] = 0
    position[0] = parts.rows.size
    return np.int64(listed)


@kernel
def list_near_set(
    parts: Parts, queries: Words, limit: int, bits: Bits, max_rows: int, listing: Listing, position: NDArray[np.int64]
) -> Any:
    """As `list_near`, among the rows whose bit is set: the other words of bits are passed over.

    Parameters
    ----------
    position : (3,)
        Part, word in it, and word of all bits that the part begins with.
    """
    listed = U(0)
    for p in range(position[0], parts.rows.size):
        n, stride, words = parts.counts[p], parts.strides[p], (parts.counts[p] + WORD - 1) // WORD
        codes = carray(at(parts.codes[p], NO_WORDS), (stride * (queries.shape[1] - 1) + n,))
        here = bits[position[2] : position[2] + words]
        for w in range(position[1], words):
            if w + WORDS_AHEAD < words and here[w + WORDS_AHEAD]:
                ask_for(codes, stride, queries.shape[1], (w + WORDS_AHEAD) * WORD, WORD)
            if not here[w]:
                continue
            if listed + U(WORD) > U(max_rows):
                position[0], position[1] = p, w
                return np.int64(listed)
            mask = near_mask(codes, stride, queries, w * WORD, min(n - w * WORD, WORD), limit)
            listed = _append(listing, listed, p, w * WORD, mask & here[w])
        position[1] = 0
        position[2] += words
    position[0] = parts.rows.size
    return np.int64(listed)


@kernel
def list_set(counts: NDArray[np.int64], bits: Bits, listing: Listing, position: NDArray[np.int64]) -> Any:
    """List rows whose bit is set, as many as there is room for; return how many. `position` as in `list_near_set`."""
    listed = U(0)
    for p in range(position[0], counts.size):
        words = (counts[p] + WORD - 1) // WORD
        for w in range(position[1], words):
            if listed + U(WORD) > U(MAX_LISTED):
                position[0], position[1] = p, w
                return np.int64(listed)
            listed = _append(listing, listed, p, w * WORD, bits[position[2] + w])
        position[1] = 0
        position[2] += words
    position[0] = counts.size
    return np.int64(listed)


@kernel
def keep_listed(listing: Listing, listed: int, addresses: NDArray[np.uint64], condition: Condition) -> Any:
    """Keep the rows of a list whose value meets a condition; return how many.

    Parameters
    ----------
    addresses : (parts,)
        Where the values of each part lie.
    """
    values, left = np.empty(listed, condition.ends.dtype), U(0)
    for i in range(U(listed)):
        if i + ROWS_AHEAD < U(listed):
            prefetch(*_value(listing, i + ROWS_AHEAD, addresses, condition))
        column, offset = _value(listing, i, addresses, condition)
        values[i] = column[offset]
    for i in range(U(listed)):
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
def take_listed(
    parts: Parts, queries: Words, listing: Listing, listed: int, nearest: GroupedTopK, results: Results
) -> None:
    """Add the rows of a list that may be among the nearest to the results, which must have room for all of it."""
    distances, threshold = np.empty(listed, np.int64), nearest.top_k.threshold
    for i in range(U(listed)):
        if i + ROWS_AHEAD < U(listed):
            ahead = U(listing.parts[i + ROWS_AHEAD])
            prefetch(carray(at(parts.codes[ahead], NO_WORDS), (1,)), U(listing.offsets[i + ROWS_AHEAD]))
        p, row = U(listing.parts[i]), U(listing.offsets[i])
        codes = carray(at(parts.codes[p], NO_WORDS), (parts.strides[p] * queries.shape[1],))
        distances[i] = least_distance(codes, parts.strides[p], queries, row)
        if distances[i] <= threshold[0]:
            prefetch(carray(at(parts.flags[p], NO_FLAGS), (1,)), row)
            if parts.groups.size:
                prefetch(carray(at(parts.groups[p], NO_GROUPS), (1,)), row)
    for i in range(U(listed)):
        if distances[i] <= threshold[0]:
            _take(parts, listing.parts[i], U(listing.offsets[i]), distances[i], nearest, results)


@inlined
def _take(parts: Parts, p: Any, row: Any, distance: int, nearest: GroupedTopK, results: Results) -> None:
    """Add one row to the results, unless it is deleted or its group has a nearer one."""
    n, grouped, size = parts.counts[p], parts.groups.size > 0, results.size[0]
    deleted = carray(at(parts.flags[p], NO_FLAGS), (n,))[row] & DELETED
    group = carray(at(parts.groups[p], NO_GROUPS), (n,))[row] if grouped else np.uint32(0)
    if not deleted:
        more = _more_groups(nearest, group, distance) if grouped else 1
        if more >= 0:
            count(nearest.top_k, distance, more)
            results.rows[size], results.distances[size] = parts.rows[p] + np.int64(row), distance
            results.groups[size] = group
            results.size[0] = size + 1


@inlined
def _more_groups(nearest: GroupedTopK, group: Any, distance: int) -> int:
    """How many more groups are within the threshold by a row at a distance; -1 if its group has a nearer row."""
    by_table, before = nearest.best.size > 0, np.int64(UNSEEN)
    if by_table:
        before = np.int64(nearest.best[group])
    elif nearest.last[0] == group:
        before = nearest.last[1]
    counted = before <= nearest.top_k.threshold[0]
    if counted and distance > before:
        return -1
    if counted:
        nearest.top_k.counts[before] -= 1
    if by_table:
        nearest.best[group] = distance
    nearest.last[0], nearest.last[1] = group, distance
    return 0 if counted else 1


@kernel
def select(
    parts: Parts,
    queries: Words,
    nearest: GroupedTopK,
    listing: Listing,
    results: Results,
    position: NDArray[np.int64],
) -> None:
    """Add the rows that may be among the k nearest to any query to the results.

    Parameters
    ----------
    position : (2,)
        As for `list_near`; it is no more than the parts if the results are full, with room for fewer than MIN_LISTED.
    """
    while position[0] < parts.rows.size and results.size[0] + MIN_LISTED <= results.rows.size:
        listed = list_near(parts, queries, nearest.top_k.threshold[0], MIN_LISTED, listing, position)
        take_listed(parts, queries, listing, listed, nearest, results)
