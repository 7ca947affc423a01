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
from storage.segments.top_k import Results, TopK, count

AHEAD: Final = 64
"""Buckets whose offsets are prefetched before the first of them is read: memory answers many requests at a time."""
MAX_FETCHED: Final = 64
"""Greatest number of rows of a bucket whose codes are prefetched before it is read."""
ABANDONED: Final = -1
BUCKETS, ROWS = range(2)
"""Indices of the counters in `work`."""
NO_ADDRESSES: Final = np.empty(0, np.uint64)


class Buckets(NamedTuple):
    """The memory of one multi-index.

    Attributes
    ----------
    numbers : (n,) uint32
        Offsets of buckets, and rows.
    substrings : (3, substrings) int64
        Index of each substring's first offset, index of its first row, and its width in bits.
    codes : (substrings,) uint64
        Addresses of the codes in the order of those rows; empty where they are read from the database.
    blocks : (blocks,) uint64
        Addresses of the database's blocks that hold the codes, all of them full; else empty.
    shift
        Rows of such a block, as a power of two: a division for each row would cost more than all else.
    masks : (substrings, words) uint64
        Bits of each substring in the codes that are read.
    """

    numbers: NDArray[np.uint32]
    substrings: NDArray[np.int64]
    codes: NDArray[np.uint64]
    blocks: NDArray[np.uint64]
    shift: int
    masks: Codes


class ProbeQuery(NamedTuple):
    """One query, in the form that a multi-index needs.

    Attributes
    ----------
    code : (words,) uint64
        With its bits in the order of the codes that are read.
    keys : (substrings,) uint64
        Its bucket in each substring.
    first_row
        Row of the database that is the first of the multi-index.
    """

    code: NDArray[np.uint64]
    keys: NDArray[np.uint64]
    first_row: int


@kernel
def probe(
    buckets: Buckets,
    query: ProbeQuery,
    top_k: TopK,
    results: Results,
    work: NDArray[np.int64],
    first: int,
    end: int,
    max_rows: int,
) -> int:
    """Do steps `first` to `end` - 1, or as many as are needed, and add the rows found to the results.

    Parameters
    ----------
    work : (2,)
        How many buckets and rows were looked at, before and now.
    max_rows
        Rows looked at, at most: the search is given up when there are more.

    Returns
    -------
    int
        The next step, which is needed only while it is at most the threshold; or ABANDONED, when too many rows were
        looked at or the results are full: they are incomplete then.
    """
    keys, bounds = np.empty((2, AHEAD), np.uint64), np.empty((2, AHEAD), np.uint64)
    substrings, step = buckets.substrings.shape[1], first
    while step < end and step <= top_k.threshold[0]:
        radius, j = step // substrings, step % substrings
        if not _step(buckets, query, top_k, results, work, radius, j, max_rows, keys, bounds):
            return ABANDONED
        step += 1
    return step


@kernel
def _step(
    buckets: Buckets,
    query: ProbeQuery,
    top_k: TopK,
    results: Results,
    work: NDArray[np.int64],
    radius: int,
    j: int,
    max_rows: int,
    keys: NDArray[np.uint64],
    bounds: NDArray[np.uint64],
) -> bool:
    """Look into every bucket of substring j that differs in `radius` bits; fetch some while reading others."""
    numbers, blocks, shift, code = buckets.numbers, buckets.blocks, U(buckets.shift), query.code
    offsets, rows, end = U(buckets.substrings[0, j]), U(buckets.substrings[1, j]), U(1) << U(buckets.substrings[2, j])
    codes, masks, turn = buckets.codes[j] if buckets.codes.size else U(0), buckets.masks, 0
    ahead, flips = _next_keys(numbers, offsets, query.keys[j], (U(1) << U(radius)) - U(1), end, keys[0])
    while ahead:
        n = ahead
        for i in range(U(n)):
            bounds[0, i], bounds[1, i] = numbers[offsets + keys[turn, i]], numbers[offsets + keys[turn, i] + U(1)]
            _fetch_bucket(codes, numbers, rows, bounds[0, i], bounds[1, i])
        turn = 1 - turn
        ahead, flips = _next_keys(numbers, offsets, query.keys[j], flips, end, keys[turn])
        if not codes:
            _fetch_codes(numbers, rows, bounds, n, blocks, shift, code.size)
        work[BUCKETS] += n
        for i in range(U(n)):
            work[ROWS] += np.int64(bounds[1, i] - bounds[0, i])
            if work[ROWS] > max_rows:
                return False
            for index in range(bounds[0, i], bounds[1, i]):
                address = _address(codes, U(index), numbers, rows, blocks, shift)
                distance = _distance(address, shift, code)
                new = distance <= top_k.threshold[0] and not _seen_before(address, shift, code, masks, radius, j)
                if new and not _add(top_k, results, query.first_row + np.int64(numbers[rows + index]), distance):
                    return False
    return True


@inlined
def _add(top_k: TopK, results: Results, row: np.int64, distance: np.int64) -> bool:
    """Count a row and add it to the results; False when they are full."""
    size = results.size[0]
    if size == results.rows.size:
        return False
    results.rows[size], results.distances[size], results.size[0] = row, distance, size + 1
    count(top_k, distance, 1)
    return True


@inlined
def _next_keys(
    numbers: NDArray[np.uint32],
    offsets: np.uint64,
    key: np.uint64,
    flips: np.uint64,
    end: np.uint64,
    keys: NDArray[np.uint64],
) -> tuple[int, np.uint64]:
    """Write the next buckets, in ascending order of the bits that differ (Gosper's hack), and ask for their offsets."""
    n = 0
    while n < AHEAD and flips < end:
        keys[n] = key ^ flips
        prefetch(numbers, offsets + keys[n])
        n += 1
        if flips == U(0):
            flips = end
        else:
            lowest_bit = lowest(flips)
            carried = flips + (U(1) << lowest_bit)
            flips = (((carried ^ flips) >> U(2)) >> lowest_bit) | carried
    return n, flips


@inlined
def _fetch_bucket(
    codes: np.uint64, numbers: NDArray[np.uint32], rows: np.uint64, start: np.uint64, end: np.uint64
) -> None:
    """Ask for the codes of a bucket, or for its rows where the codes are in the database."""
    if codes:
        for index in range(start, min(end, start + U(MAX_FETCHED)), U(LINE)):
            _fetch(codes + (index << U(3)))
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
    """Prefetch the codes of some buckets that lie in the blocks of the database."""
    for i in range(U(n)):
        for index in range(bounds[0, i], min(bounds[1, i], bounds[0, i] + U(MAX_FETCHED))):
            address = _stored(blocks, shift, U(numbers[rows + index]))
            for w in range(U(words)):
                _fetch(address + (w << (shift + U(3))))


@inlined
def _fetch(address: np.uint64) -> None:
    prefetch(carray(at(address, NO_WORDS), (1,)), 0)


@inlined
def _address(
    codes: np.uint64,
    index: np.uint64,
    numbers: NDArray[np.uint32],
    rows: np.uint64,
    blocks: NDArray[np.uint64],
    shift: np.uint64,
) -> np.uint64:
    """Address of the code at an index among those of a substring."""
    return codes + (index << U(3)) if codes else _stored(blocks, shift, U(numbers[rows + index]))


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
    """True if an earlier step has looked at a code: another of its substrings is nearer, or as near and earlier."""
    seen = False
    for other in range(masks.shape[0]):
        apart = np.int64(0)
        for w in range(U(code.size)):
            word = carray(at(address + (w << (shift + U(3))), NO_WORDS), (1,))[0] ^ code[w]
            apart += np.int64(count_ones(word & masks[other, w]))
        seen |= bool(apart < radius + np.int64(other < j))
    return seen
