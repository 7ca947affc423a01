"""Rows listed one by one, where few of a chunk are left: found, tested and taken by compiled loops.

What is listed lies far apart in memory. Loops over a list have no branch that depends on what they read, so that many
reads are under way at once.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.bits import Bits, Condition, meant
from storage.compiled import U, at, count_ones, kernel, lowest, prefetch
from storage.kernels import FINE, PIECE, STRIP, measure, reached, reached_pieces, take
from storage.selection import NO_FLAGS, NO_GROUPS, NO_WORDS, Notes, Parts, Selection

ROOM: Final = 16 * STRIP
"""Rows listed in one call at most."""
BEFORE: Final = U(16)
"""Rows of a list by which reading runs ahead."""
UNREACHED: Final = 1 << 30
"""More than any distance."""


class Listing(NamedTuple):
    """Rows of a chunk, ascending.

    Attributes
    ----------
    parts, places : (ROOM,) int64
        The part that a row lies in, and where.
    """

    parts: NDArray[np.int64]
    places: NDArray[np.int64]


def new_listing() -> Listing:
    """Room for a list."""
    return Listing(np.empty(ROOM, np.int64), np.empty(ROOM, np.int64))


@kernel
def list_near(
    parts: Parts, queries: NDArray[np.uint64], limit: int, most: int, listing: Listing, place: NDArray[np.int64]
) -> Any:
    """List rows within a limit of any query, `most` at most, which is STRIP at least; return how many.

    Parameters
    ----------
    place : (2,)
        Part and row in it to begin with, 0 at first; after the call, where to go on, or as many parts as there are.
    """
    listed, near, rows = U(0), np.empty(FINE, np.int64), FINE * (PIECE // queries.shape[1])
    for p in range(place[0], parts.rows.size):
        n, stride = parts.counts[p], parts.strides[p]
        codes = carray(at(parts.codes[p], NO_WORDS), (stride * (queries.shape[1] - 1) + n,))
        for start in range(place[1], n, STRIP):
            if listed + U(STRIP) > U(most):
                place[0], place[1] = p, start
                return np.int64(listed)
            end = min(start + STRIP, n)
            pieces = reached_pieces(codes, stride, queries, start, end, limit)
            while pieces:
                piece = start + rows * np.int64(lowest(pieces))
                pieces &= pieces - U(1)
                for fine in range(piece, min(piece + rows, end), FINE):
                    stop = min(fine + FINE, end)
                    if not reached(codes, stride, queries, fine, stop, limit):
                        continue
                    measure(codes, stride, queries, fine, stop, near)
                    for j in range(U(stop - fine)):
                        listing.parts[listed], listing.places[listed] = p, fine + np.int64(j)
                        listed += U(near[j] <= limit)
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
            rest = bits[place[2] + w]
            while rest:
                listing.parts[listed], listing.places[listed] = p, (w << 6) + np.int64(lowest(rest))
                listed += U(1)
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
    listed, near = U(0), np.empty(FINE, np.int64)
    for p in range(place[0], parts.rows.size):
        n, stride, words = parts.counts[p], parts.strides[p], (parts.counts[p] + 63) >> 6
        codes = carray(at(parts.codes[p], NO_WORDS), (stride * (queries.shape[1] - 1) + n,))
        for w in range(place[1], words):
            word = bits[place[2] + w]
            if not word:
                continue
            if listed + U(64) > U(most):
                place[0], place[1] = p, w
                return np.int64(listed)
            if not reached(codes, stride, queries, w << 6, min((w << 6) + 64, n), limit):
                continue
            for fine in range(w << 6, min((w << 6) + 64, n), FINE):
                stop = min(fine + FINE, n)
                measure(codes, stride, queries, fine, stop, near)
                for j in range(U(stop - fine)):
                    listing.parts[listed], listing.places[listed] = p, fine + np.int64(j)
                    listed += U(near[j] <= limit) & (word >> (U(fine & 63) + j))
        place[1] = 0
        place[2] += words
    place[0] = parts.rows.size
    return np.int64(listed)


@kernel
def keep_listed(listing: Listing, listed: int, addresses: NDArray[np.uint64], condition: Condition) -> Any:
    """Leave the rows in a list whose value passes, the others out; return how many are left.

    Parameters
    ----------
    addresses : (parts,)
        Where the values of each part lie.
    """
    left = U(0)
    for i in range(U(listed)):
        part, place = listing.parts[i], listing.places[i]
        column = carray(at(addresses[U(part)], condition.ends), (place + 1,))
        listing.parts[left], listing.places[left] = part, place
        left += U(meant(column[U(place)], condition) == condition.wanted)
    return np.int64(left)


@kernel
def take_listed(
    parts: Parts, queries: NDArray[np.uint64], listing: Listing, listed: int, selection: Selection, notes: Notes
) -> Any:
    """Note the rows in a list that may be among the nearest, as `storage.kernels.select` does; return how many.

    `notes` has room for them all.
    """
    noted, near = 0, np.empty(ROOM, np.int64)
    for i in range(U(listed)):
        if i + BEFORE < U(listed):
            a = U(listing.parts[i + BEFORE])
            ahead = carray(at(parts.codes[a], NO_WORDS), (parts.strides[a],))
            prefetch(ahead, U(listing.places[i + BEFORE]))
        p, place, least = U(listing.parts[i]), U(listing.places[i]), np.int64(UNREACHED)
        stride = U(parts.strides[p])
        codes = carray(at(parts.codes[p], NO_WORDS), (np.int64(stride) * queries.shape[1],))
        for q in range(queries.shape[0]):
            distance = np.int64(0)
            for w in range(queries.shape[1]):
                distance += np.int64(count_ones(codes[U(w) * stride + place] ^ queries[q, w]))
            least = min(least, distance)
        near[i] = least
    for i in range(U(listed)):
        if near[i] <= selection.threshold[0]:
            p, n = listing.parts[i], parts.counts[listing.parts[i]]
            flags = carray(at(parts.flags[p], NO_FLAGS), (n,))
            groups = carray(at(parts.groups[p], NO_GROUPS), (n,)) if parts.groups.size else NO_GROUPS
            row = listing.places[i]
            noted = take(flags, groups, row, near[i], parts.rows[p], selection, notes, noted)
    return noted
