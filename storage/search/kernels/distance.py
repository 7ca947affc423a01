"""Compiled distances of codes where they lie, block by block.

Inner loops index with unsigned integers: signed ones keep the wrap-around of negative indices, and with it scalar code.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.jit import LINE, U, count_ones, has_fast_prefetch, inlined, prefetch

Words = NDArray[np.uint64]
NO_FLAGS: Final = np.empty(0, np.uint8)

BLOCK: Final = 256
"""Rows whose distances are folded into one comparison with the threshold."""
WORD: Final = 64
"""Rows of a word of bits."""
AHEAD: Final = 1024 if has_fast_prefetch() else 0
"""Rows by which a scan asks memory for codes, 0 where the processor does better by itself."""


class Parts(NamedTuple):
    """Consecutive rows, in parts that each lie in one block.

    Attributes
    ----------
    rows, counts : (parts,) int64
        First row of each part, and number of its rows.
    strides : (parts,) int64
        Words from one plane of the codes to the next.
    codes, flags, groups : (parts,) uint64
        Addresses of the first row's code, flags and group; `groups` is empty if each row counts by itself.
    """

    rows: NDArray[np.int64]
    counts: NDArray[np.int64]
    strides: NDArray[np.int64]
    codes: NDArray[np.uint64]
    flags: NDArray[np.uint64]
    groups: NDArray[np.uint64]


def packed(queries: Codes) -> Codes:
    """Queries as every kernel is compiled for: contiguous and writable."""
    ready = queries.dtype == np.uint64 and queries.flags.c_contiguous and queries.flags.writeable
    return queries if ready else np.require(queries, np.uint64, ["C", "W"])  # which takes long to find nothing to do


@inlined
def words_of(queries: Words, q: Any) -> tuple[Any, Any, Any, Any]:
    """Four words of a query, 0 for those that it lacks; they stay in registers while codes are read."""
    n, none = queries.shape[1], U(0)
    second, third = queries[q, 1] if n > 1 else none, queries[q, 2] if n > 2 else none
    return queries[q, 0], second, third, queries[q, 3] if n > 3 else none


@inlined
def distance_of(codes: Words, stride: Any, words: int, query: Any, row: Any) -> Any:
    """Hamming distance of a row from a query, as `words_of` gives it; words of a code lie `stride` apart."""
    ones = count_ones(codes[row] ^ query[0])
    if words > 1:
        ones += count_ones(codes[row + stride] ^ query[1])
    if words > 2:
        ones += count_ones(codes[row + stride + stride] ^ query[2])
    if words > 3:
        ones += count_ones(codes[row + stride + stride + stride] ^ query[3])
    return np.int64(ones)


@inlined
def is_any_near(codes: Words, stride: Any, queries: Words, first: Any, n: Any, limit: int) -> Any:
    """True if any of n rows is within `limit` of any query: a negative difference leaves its sign in a joined word."""
    signs, words, beyond = np.int64(0), queries.shape[1], np.int64(limit) + 1
    for q in range(queries.shape[0]):
        query = words_of(queries, q)
        for j in range(U(n)):
            signs |= distance_of(codes, U(stride), words, query, U(first) + j) - beyond
    return signs < 0


@inlined
def near_mask(codes: Words, stride: Any, queries: Words, first: Any, n: Any, limit: int) -> Any:
    """Bitset of the rows, at most 64, within `limit` of any query; a first pass over them finds that there are none."""
    near, words = U(0), queries.shape[1]
    if not is_any_near(codes, stride, queries, first, n, limit):
        return near
    for q in range(queries.shape[0]):
        query = words_of(queries, q)
        for j in range(U(n)):
            near |= U(distance_of(codes, U(stride), words, query, U(first) + j) <= limit) << j
    return near


@inlined
def least_distance(codes: Words, stride: Any, queries: Words, row: Any) -> Any:
    """Distance of a row from the nearest query."""
    least, words = np.int64(64 * queries.shape[1]), queries.shape[1]
    for q in range(queries.shape[0]):
        least = min(least, distance_of(codes, U(stride), words, words_of(queries, q), U(row)))
    return least


@inlined
def ask_for(codes: Words, stride: Any, words: int, first: Any, rows: int) -> None:
    """Ask memory for the codes of some rows."""
    for w in range(U(words)):
        for row in range(U(0), U(rows), U(LINE)):
            prefetch(codes, w * U(stride) + U(first) + row)
