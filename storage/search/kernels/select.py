"""Compiled loops that list the near rows of a chunk, drop those that fail a condition, and count the others: a top-k.

A list lets columns be tested for near rows only, and lowers the threshold after many rows instead of after each.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.database.columns import DELETED
from storage.jit import LINE, NO_WORDS, U, at, has_fast_prefetch, inlined, kernel, lowest, prefetch
from storage.search.kernels.bitset import Bits, Condition, matches
from storage.search.kernels.distance import NO_FLAGS, WORD, Parts, Words, is_any_near, measure
from storage.segments.top_k import NO_GROUPS, Results, TopK, count, more_groups

BLOCK: Final = 256
"""Rows whose distances are folded into one comparison with the threshold."""
AHEAD: Final = 1024 if has_fast_prefetch() else 0
"""Rows by which a scan asks memory for codes, 0 where the processor does better by itself."""
MAX_LISTED: Final = 8192
"""Rows of a list at most."""
MIN_LISTED: Final = 3 * BLOCK
"""Rows within the threshold that are listed before it is lowered."""


class Listing(NamedTuple):
    """Rows of a chunk, ascending.

    Attributes
    ----------
    parts, offsets, distances : (room,) int64
        The part that a row lies in, its offset in it, and its distance from the nearest query.
    """

    parts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    distances: NDArray[np.int64]


@kernel
def new_listing(rows: int) -> Listing:
    """Return a list with room for some rows."""
    return Listing(np.empty(rows, np.int64), np.empty(rows, np.int64), np.empty(rows, np.int64))


@kernel
def list_near(
    parts: Parts,
    queries: Words,
    limit: int,
    bits: Bits | None,
    max_rows: int,
    listing: Listing,
    position: NDArray[np.int64],
) -> Any:
    """List rows within a limit of any query whose bit is set, or all within the limit; return how many.

    Parameters
    ----------
    max_rows
        At least BLOCK, at most the room of the list.
    position : (2,)
        Part and offset to begin with, 0 at first; after the call, where to go on if the list was full, or as many parts
        as there are.
    """
    size, first_word, distances = U(0), 0, np.empty((2, WORD), np.int64)
    for p in range(parts.rows.size):
        n, stride, word = parts.counts[p], parts.strides[p], first_word
        first_word += (n + WORD - 1) // WORD
        if p < position[0]:
            continue
        codes = carray(at(parts.codes[p], NO_WORDS), (stride * (queries.shape[1] - 1) + n,))
        for first in range(position[1], n, BLOCK):
            end = min(first + BLOCK, n)
            if AHEAD and bits is None:
                _ask_for(codes, stride, queries.shape[1], first + AHEAD)
            if bits is None and not is_any_near(codes, stride, queries, first, end - first, limit):
                continue
            if size + U(BLOCK) > U(max_rows):
                position[0], position[1] = p, first
                return np.int64(size)
            for start in range(first, end, WORD):
                here, mask = min(end - start, WORD), ~U(0) if bits is None else bits[word + start // WORD]
                if mask and is_any_near(codes, stride, queries, start, here, limit):
                    measure(codes, stride, queries, start, here, distances)
                    size = _append(listing, size, p, start, here, distances[0], limit, mask)
        position[1] = 0
    position[0] = parts.rows.size
    return np.int64(size)


@inlined
def _append(
    listing: Listing, size: Any, part: int, first: int, n: Any, distances: NDArray[np.int64], limit: int, mask: Any
) -> Any:
    """Append the near rows of a word of bits to a list; return its new size."""
    near = U(0)
    for j in range(U(n)):
        near |= U(distances[j] <= limit) << j
    near &= mask
    while near:
        j = lowest(near)
        listing.parts[size], listing.offsets[size], listing.distances[size] = part, first + np.int64(j), distances[j]
        size += U(1)
        near &= near - U(1)
    return size


@kernel
def keep_listed(listing: Listing, size: int, addresses: NDArray[np.uint64], condition: Condition) -> Any:
    """Keep the rows of a list whose value meets a condition; return how many.

    Parameters
    ----------
    addresses : (parts,)
        Where the values of each part lie.
    """
    left = U(0)
    for i in range(U(size)):
        part, offset, distance = listing.parts[i], listing.offsets[i], listing.distances[i]
        column = carray(at(addresses[U(part)], condition.ends), (offset + 1,))
        listing.parts[left], listing.offsets[left], listing.distances[left] = part, offset, distance
        left += U(matches(column[U(offset)], condition) == condition.wanted)
    return np.int64(left)


@kernel
def take_listed(parts: Parts, listing: Listing, size: int, top_k: TopK, results: Results) -> None:
    """Add the rows of a list that may be among the nearest to the results, which must have room for all of it.

    Rows that are deleted, and those whose group has a nearer row, are left out.
    """
    for i in range(U(size)):
        p, row, distance, n = U(listing.parts[i]), U(listing.offsets[i]), listing.distances[i], results.size[0]
        if distance > top_k.threshold[0] or carray(at(parts.flags[p], NO_FLAGS), (1,))[row] & DELETED:
            continue
        group, more = np.uint32(0), 1
        if parts.groups.size:
            group = carray(at(parts.groups[p], NO_GROUPS), (1,))[row]
            more = more_groups(top_k, group, distance)
        if more >= 0:
            count(top_k, distance, more)
            results.rows[n], results.distances[n], results.groups[n] = parts.rows[p] + np.int64(row), distance, group
            results.size[0] = n + 1


@kernel
def select(
    parts: Parts, queries: Words, bits: Bits | None, top_k: TopK, results: Results, position: NDArray[np.int64]
) -> None:
    """Add the rows that may be among the k nearest to any query to the results: those whose bit is set, or all.

    Parameters
    ----------
    position : (2,)
        As for `list_near`; it is no more than the parts if the results are full, with room for fewer than MIN_LISTED.
    """
    listing = new_listing(MIN_LISTED)
    while position[0] < parts.rows.size and results.size[0] + MIN_LISTED <= results.rows.size:
        size = list_near(parts, queries, top_k.threshold[0], bits, MIN_LISTED, listing, position)
        take_listed(parts, listing, size, top_k, results)


@inlined
def _ask_for(codes: Words, stride: Any, words: int, first: Any) -> None:
    """Ask memory for the codes of a block."""
    for w in range(U(words)):
        for row in range(U(0), U(BLOCK), U(LINE)):
            prefetch(codes, w * U(stride) + U(first) + row)
