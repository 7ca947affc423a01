"""Rows listed one by one: those that are near, or set, are found, tested and taken by compiled loops.

Few rows of a search are near, so what is listed lies far apart in memory. Loops over a list have no branch that depends
on what they read, so that many reads are under way at once.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.jit import LINE, NO_WORDS, U, at, count_ones, inlined, kernel, lowest, prefetch
from storage.search.kernels.bitset import Bits, Condition, meant
from storage.search.kernels.distance import STRETCH, STRIP, least_distance, near_rows, piece_rows, reach, take
from storage.search.kernels.state import NO_FLAGS, NO_GROUPS, Notes, Parts, Selection

ROOM: Final = 16 * STRIP
"""Rows listed in one call at most."""
BEFORE: Final = U(32)
"""Rows of a list by which reading runs ahead."""
WORDS_AHEAD: Final = 16
"""Words of bits with rows by which reading runs ahead."""
USUAL: Final = 2
"""Rows of a word that are listed in any case."""
LEAST_LISTED: Final = STRIP + STRIP // 2
"""Rows within the threshold that are listed before it is lowered, or the sieve asked about them."""


class Listing(NamedTuple):
    """Rows of a chunk, ascending.

    Attributes
    ----------
    parts, places : (ROOM,) int64
        The part that a row lies in, and where.
    pieces : (STRETCH / STRIP,) uint64
        What `reach` found in the stretch that is being listed.
    """

    parts: NDArray[np.int64]
    places: NDArray[np.int64]
    pieces: NDArray[np.uint64]


def new_listing() -> Listing:
    """Room for a list."""
    return Listing(np.empty(ROOM, np.int64), np.empty(ROOM, np.int64), np.empty(STRETCH // STRIP, np.uint64))


@kernel
def select(
    parts: Parts,
    queries: NDArray[np.uint64],
    selection: Selection,
    listing: Listing,
    notes: Notes,
    noted: int,
    place: NDArray[np.int64],
) -> Any:
    """Note the rows that may be among the k nearest to any of the queries, after so many others; return how many then.

    The threshold falls as soon as enough are counted below it; no heap, and equal distances keep their order.

    Parameters
    ----------
    listing
        The same until all parts are gone over.
    place : (2,)
        Part and row in it to begin with, 0 at first; after the call, where to go on if the notes were full, or as many
        parts as there are.
    """
    while place[0] < parts.rows.size and noted + STRIP <= notes.rows.size:
        most = min(LEAST_LISTED, notes.rows.size - noted)
        listed = list_near(parts, queries, selection.threshold[0], most, listing, place)
        noted = take_listed(parts, queries, listing, listed, selection, notes, noted)
    return noted


@kernel
def list_near(
    parts: Parts,
    queries: NDArray[np.uint64],
    limit: int,
    most: int,
    listing: Listing,
    place: NDArray[np.int64],
) -> Any:
    """List rows within a limit of any query, `most` at most, which is STRIP at least; return how many.

    Parameters
    ----------
    limit
        Not more than in the call before.
    listing
        The same until all parts are gone over.
    place : (2,)
        As for `select`.
    """
    listed, rows = U(0), piece_rows(queries.shape[1])
    for p in range(place[0], parts.rows.size):
        n, stride = parts.counts[p], parts.strides[p]
        codes = carray(at(parts.codes[p], NO_WORDS), (stride * (queries.shape[1] - 1) + n,))
        for start in range(place[1], n, STRIP):
            if listed + U(STRIP) > U(most):
                place[0], place[1] = p, start
                return np.int64(listed)
            if start % STRETCH == 0:
                reach(codes, stride, queries, start, min(start + STRETCH, n), limit, listing.pieces)
            end, pieces = min(start + STRIP, n), listing.pieces[start % STRETCH // STRIP]
            while pieces:
                piece = start + rows * np.int64(lowest(pieces))
                pieces &= pieces - U(1)
                stop = min(piece + rows, end)
                for first in range(piece, stop, 64):
                    near = near_rows(codes, stride, queries, first, min(first + 64, stop), limit)
                    while near:
                        listing.parts[listed], listing.places[listed] = p, first + np.int64(lowest(near))
                        listed += U(1)
                        near &= near - U(1)
        place[1] = 0
    place[0] = parts.rows.size
    return np.int64(listed)


@kernel
def list_set(counts: NDArray[np.int64], bits: Bits, listing: Listing, place: NDArray[np.int64]) -> Any:
    """List rows whose bit is set, as many as there is room for; return how many.

    Parameters
    ----------
    place : (3,)
        Part, word in it, and word of all bits to begin with, as for `list_near`.
    """
    listed, most = U(0), U(listing.parts.size - 64)
    for p in range(place[0], counts.size):
        words = (counts[p] + 63) >> 6
        for w in range(place[1], words):
            if listed > most:
                place[0], place[1] = p, w
                return np.int64(listed)
            rest, found = bits[place[2] + w], listed
            listed += count_ones(rest)
            for _ in range(USUAL):  # also where there is none: guessing whether takes longer
                listing.parts[found], listing.places[found] = p, (w << 6) + np.int64(lowest(rest))
                found += U(1)
                rest &= rest - U(1)
            while rest:
                listing.parts[found], listing.places[found] = p, (w << 6) + np.int64(lowest(rest))
                found += U(1)
                rest &= rest - U(1)
        place[1] = 0
        place[2] += words
    place[0] = counts.size
    return np.int64(listed)


@kernel
def list_near_set(
    parts: Parts,
    queries: NDArray[np.uint64],
    limit: int,
    bits: Bits,
    most: int,
    listing: Listing,
    place: NDArray[np.int64],
) -> Any:
    """As `list_near`, among the rows whose bit is set: only words with such rows are looked at.

    Parameters
    ----------
    place : (3,)
        As for `list_set`.
    """
    listed = U(0)
    for p in range(place[0], parts.rows.size):
        n, stride, words = parts.counts[p], parts.strides[p], (parts.counts[p] + 63) >> 6
        codes = carray(at(parts.codes[p], NO_WORDS), (stride * (queries.shape[1] - 1) + n,))
        lead, asked = place[1], 0
        for w in range(place[1], words):
            word = bits[place[2] + w]
            if not word:
                continue
            while asked < WORDS_AHEAD and lead < words:
                if bits[place[2] + lead]:
                    asked += 1
                    for plane in range(queries.shape[1]):
                        for line in range(0, 64, LINE):
                            prefetch(codes, U(plane * stride + (lead << 6) + line))
                lead += 1
            asked -= 1
            if listed + U(64) > U(most):
                place[0], place[1] = p, w
                return np.int64(listed)
            near = word & near_rows(codes, stride, queries, w << 6, min((w << 6) + 64, n), limit)
            while near:
                listing.parts[listed], listing.places[listed] = p, (w << 6) + np.int64(lowest(near))
                listed += U(1)
                near &= near - U(1)
        place[1] = 0
        place[2] += words
    place[0] = parts.rows.size
    return np.int64(listed)


@kernel
def keep_listed(listing: Listing, listed: int, addresses: NDArray[np.uint64], condition: Condition) -> Any:
    """Leave the rows in a list whose value passes, the others out; return how many are left.

    What is read first does not wait for what is decided by it.

    Parameters
    ----------
    addresses : (parts,)
        Where the values of each part lie.
    """
    values, left = np.empty(listed, condition.ends.dtype), U(0)
    for i in range(U(listed)):
        if i + BEFORE < U(listed):
            ahead = U(listing.places[i + BEFORE])
            prefetch(_column(addresses, listing.parts[i + BEFORE], ahead, condition), ahead)
        place = U(listing.places[i])
        values[i] = _column(addresses, listing.parts[i], place, condition)[place]
    for i in range(U(listed)):
        part, place = listing.parts[i], listing.places[i]
        listing.parts[left], listing.places[left] = part, place
        left += U(meant(values[i], condition) == condition.wanted)
    return np.int64(left)


@inlined
def _column(addresses: NDArray[np.uint64], part: Any, place: Any, condition: Condition) -> Any:
    """Values of a part up to a place."""
    return carray(at(addresses[U(part)], condition.ends), (np.int64(place) + 1,))


@kernel
def take_listed(
    parts: Parts,
    queries: NDArray[np.uint64],
    listing: Listing,
    listed: int,
    selection: Selection,
    notes: Notes,
    noted: int,
) -> Any:
    """Note the rows in a list that may be among the nearest, after so many others; return how many are noted then.

    There must be room for all of the list.
    """
    near = np.empty(listed, np.int64)
    for i in range(U(listed)):
        if i + BEFORE < U(listed):
            a = U(listing.parts[i + BEFORE])
            ahead = carray(at(parts.codes[a], NO_WORDS), (parts.strides[a],))
            prefetch(ahead, U(listing.places[i + BEFORE]))
        p = U(listing.parts[i])
        codes = carray(at(parts.codes[p], NO_WORDS), (parts.strides[p] * queries.shape[1],))
        near[i] = least_distance(codes, parts.strides[p], queries, listing.places[i])
        if near[i] <= selection.threshold[0]:
            place = U(listing.places[i])
            prefetch(carray(at(parts.flags[p], NO_FLAGS), (parts.counts[p],)), place)
            if parts.groups.size:
                prefetch(carray(at(parts.groups[p], NO_GROUPS), (parts.counts[p],)), place)
    for i in range(U(listed)):
        if near[i] <= selection.threshold[0]:
            p, n = listing.parts[i], parts.counts[listing.parts[i]]
            flags = carray(at(parts.flags[p], NO_FLAGS), (n,))
            groups = carray(at(parts.groups[p], NO_GROUPS), (n,)) if parts.groups.size else NO_GROUPS
            noted = take(flags, groups, listing.places[i], near[i], parts.rows[p], selection, notes, noted)
    return noted
