"""Exact search in one multi-index: look where codes near the query must be, until no nearer one can exist.

Step a * m + j looks into those buckets of substring j, of m, whose number differs from the query's in exactly a bits.
Once steps 0 to s are done, every row at distance s or less is found, by the pigeonhole principle: m substrings that
each differ in more bits add up to more than s. So the search ends when the k-th nearest found is no farther than the
last step (Norouzi et al., Fast exact search in Hamming space with multi-index hashing, TPAMI 2014, section 3).
"""

from typing import Final, NamedTuple

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.jit import LINE, NO_WORDS, U, at, count_ones, inlined, kernel, lowest, prefetch
from storage.segments.starts import Lines, line_of, look_up
from storage.segments.top_k import ABANDONED, BUCKETS, NOTED, ROWS, THRESHOLD, Findings, note

AHEAD: Final = 64
"""Buckets asked for before the first of them is read: memory answers many requests in the time of one."""
MOST_ASKED: Final = 64
"""Rows of a bucket that are asked for before it is read."""
NO_ADDRESSES: Final = np.empty(0, np.uint64)


class Buckets(NamedTuple):
    """One multi-index, where it lies in memory.

    Attributes
    ----------
    lines : (l,) uint64; numbers : (n,) uint32
        What `places` counts in: as `storage.segments.starts` packs the starts of buckets, and rows.
    beyond : (b,) uint32
        What does not fit into the lines.
    places : (3, substrings) int64
        Of each substring, where its lines and where its rows begin, and its width in bits.
    codes : (substrings,) uint64
        Addresses of the codes in the order of those rows; empty where they are read from the database.
    blocks : (blocks,) uint64
        Addresses of the database's blocks that hold the codes, all of them full; else empty.
    shift
        Rows of such a block, as a power of two: a division for each row would cost more than all else.
    masks : (substrings, words) uint64
        Bits of each substring in the codes that are read.
    """

    lines: Lines
    numbers: NDArray[np.uint32]
    beyond: NDArray[np.uint32]
    places: NDArray[np.int64]
    codes: NDArray[np.uint64]
    blocks: NDArray[np.uint64]
    shift: int
    masks: Codes


class Question(NamedTuple):
    """What is looked for.

    Attributes
    ----------
    code : (words,) uint64
        With its bits in the order of the codes that are read.
    keys : (substrings,) uint64
        Its bucket in each substring.
    first_row
        Row of the database that the first of the multi-index is.
    """

    code: NDArray[np.uint64]
    keys: NDArray[np.uint64]
    first_row: int


@kernel
def probe(buckets: Buckets, question: Question, findings: Findings, first: int, end: int, most_rows: int) -> int:
    """Do steps `first` to `end` - 1, or as many as are needed.

    Parameters
    ----------
    most_rows
        How many rows may have been looked at, before and now, when the search is given up.

    Returns
    -------
    int
        The next step, which is needed only while it is at most the threshold; or ABANDONED, when too many rows were
        looked at or noted: the findings are incomplete then.
    """
    ring, bounds = np.empty((2, AHEAD), np.uint64), np.empty((2, AHEAD), np.uint64)
    substrings, step = buckets.places.shape[1], first
    while step < end and step <= findings.state[THRESHOLD]:
        if not _look(buckets, question, findings, step // substrings, step % substrings, most_rows, ring, bounds):
            return ABANDONED
        step += 1
    return step


@kernel
def _look(
    buckets: Buckets,
    question: Question,
    findings: Findings,
    radius: int,
    j: int,
    most_rows: int,
    ring: NDArray[np.uint64],
    bounds: NDArray[np.uint64],
) -> bool:
    """Look into every bucket of substring j that differs in `radius` bits; fetch some while reading others."""
    lines, numbers, blocks, shift = buckets.lines, buckets.numbers, buckets.blocks, U(buckets.shift)
    starts, rows, width = U(buckets.places[0, j]), U(buckets.places[1, j]), buckets.places[2, j]
    codes = buckets.codes[j] if buckets.codes.size else U(0)
    code, state, limit = question.code, findings.state, findings.state[THRESHOLD]
    key, turn = question.keys[j], 0
    flips, end = (U(1) << U(radius)) - U(1), U(1) << U(width)
    ahead, flips = _fetch_starts(lines, starts, key, flips, end, ring[0])
    while ahead:
        n, here = ahead, ring[turn]
        look_up(lines, starts, here, n, buckets.beyond, bounds)
        for i in range(U(n)):
            _fetch_bucket(codes, numbers, rows, bounds[0, i], bounds[1, i])
        turn = 1 - turn
        ahead, flips = _fetch_starts(lines, starts, key, flips, end, ring[turn])
        if not codes:
            _fetch_codes(numbers, rows, bounds, n, blocks, shift, code.size)
        state[BUCKETS] += n
        for i in range(U(n)):
            state[ROWS] += np.int64(bounds[1, i] - bounds[0, i])
            if state[ROWS] > most_rows:
                return False
            for place in range(bounds[0, i], bounds[1, i]):
                address = _address(codes, U(place), numbers, rows, blocks, shift)
                distance = _distance(address, shift, code)
                if distance <= limit and not _seen_before(address, shift, code, buckets.masks, radius, j):
                    if state[NOTED] == findings.rows.size:
                        return False
                    limit = note(findings, question.first_row + np.int64(numbers[rows + place]), distance)
    return True


@inlined
def _fetch_starts(
    lines: Lines,
    starts: np.uint64,
    key: np.uint64,
    flips: np.uint64,
    end: np.uint64,
    ring: NDArray[np.uint64],
) -> tuple[int, np.uint64]:
    """Note the next buckets, and ask for their starts, in ascending order of the bits that differ (Gosper's hack)."""
    n = 0
    while n < AHEAD and flips < end:
        ring[n] = key ^ flips
        prefetch(lines, line_of(starts, ring[n]))
        n += 1
        if flips == U(0):
            flips = end
        else:
            place = lowest(flips)
            carried = flips + (U(1) << place)
            flips = (((carried ^ flips) >> U(2)) >> place) | carried
    return n, flips


@inlined
def _fetch_bucket(
    codes: np.uint64, numbers: NDArray[np.uint32], rows: np.uint64, start: np.uint64, end: np.uint64
) -> None:
    """Ask for the codes of a bucket, or for its rows where the codes are in the database."""
    if codes:
        for place in range(start, min(end, start + U(MOST_ASKED)), U(LINE)):
            _fetch(codes + (place << U(3)))
    else:
        prefetch(numbers, rows + start)


@inlined
def _fetch_codes(
    numbers: NDArray[np.uint32],
    rows: np.uint64,
    bounds: NDArray[np.uint64],
    n: int,
    blocks: NDArray[np.uint64],
    shift: np.uint64,
    words: int,
) -> None:
    for i in range(U(n)):
        for place in range(bounds[0, i], min(bounds[1, i], bounds[0, i] + U(AHEAD))):
            address = _stored(blocks, shift, U(numbers[rows + place]))
            for w in range(U(words)):
                _fetch(address + (w << (shift + U(3))))


@inlined
def _fetch(address: np.uint64) -> None:
    prefetch(carray(at(address, NO_WORDS), (1,)), 0)


@inlined
def _address(
    codes: np.uint64,
    place: np.uint64,
    numbers: NDArray[np.uint32],
    rows: np.uint64,
    blocks: NDArray[np.uint64],
    shift: np.uint64,
) -> np.uint64:
    """Address of the code at a place among those of a substring."""
    return codes + (place << U(3)) if codes else _stored(blocks, shift, U(numbers[rows + place]))


@inlined
def _stored(blocks: NDArray[np.uint64], shift: np.uint64, row: np.uint64) -> np.uint64:
    """Address of the first word of a code in the database; each further word is one plane of its block on."""
    return blocks[row >> shift] + ((row & ((U(1) << shift) - U(1))) << U(3))  # type: ignore[no-any-return]


@inlined
def _distance(address: np.uint64, shift: np.uint64, code: NDArray[np.uint64]) -> np.int64:
    distance = np.int64(0)
    for w in range(U(code.size)):
        distance += np.int64(count_ones(carray(at(address + (w << (shift + U(3))), NO_WORDS), (1,))[0] ^ code[w]))
    return distance


@inlined
def _seen_before(
    address: np.uint64, shift: np.uint64, code: NDArray[np.uint64], masks: Codes, radius: int, j: int
) -> bool:
    """Whether an earlier step has looked at a code: one of its other substrings is nearer, or as near and earlier."""
    seen = False
    for other in range(masks.shape[0]):
        apart = np.int64(0)
        for w in range(U(code.size)):
            word = carray(at(address + (w << (shift + U(3))), NO_WORDS), (1,))[0] ^ code[w]
            apart += np.int64(count_ones(word & masks[other, w]))
        seen |= bool(apart < radius + np.int64(other < j))
    return seen
