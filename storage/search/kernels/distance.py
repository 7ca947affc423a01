"""Compiled distances of codes, and their order between equal distances.

Inner loops index with unsigned integers: signed ones keep the wrap-around of negative indices, and with it scalar code.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.jit import U, count_ones, inlined, kernel, lowest

Words = NDArray[np.uint64]
NO_FLAGS: Final = np.empty(0, np.uint8)
WORD: Final = 64
"""Rows of a word of bits."""
WEIGHT_BITS: Final = 16
"""Bits of a key below the distance: 256 weights of at most 127 fit."""
MAX_WEIGHT: Final = (1 << WEIGHT_BITS) - 1


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
def is_any_near(codes: Words, stride: Any, queries: Words, first: Any, n: Any, limit: int) -> Any:
    """True if any of n rows is within `limit` of any query: a negative difference leaves its sign in a joined word."""
    signs, words, beyond = np.int64(0), queries.shape[1], np.int64(limit) + 1
    for q in range(queries.shape[0]):
        query = _words_of(queries, q)
        for j in range(U(n)):
            signs |= _distance(codes, U(stride), words, query, U(first) + j) - beyond
    return signs < 0


@inlined
def measure(codes: Words, stride: Any, queries: Words, first: Any, n: Any, distances: NDArray[np.int64]) -> None:
    """Write the distance of each of n rows from its nearest query to the first row of (2, n or more) distances.

    The second row is for the distances from one query.
    """
    for q in range(queries.shape[0]):
        for w in range(queries.shape[1]):
            word, plane = queries[q, w], U(w) * U(stride) + U(first)
            for j in range(U(n)):
                ones = np.int64(count_ones(codes[plane + j] ^ word))
                distances[1, j] = ones if w == 0 else distances[1, j] + ones
        for j in range(U(n)):
            distances[0, j] = distances[1, j] if q == 0 else min(distances[0, j], distances[1, j])


@kernel
def order_keys(codes: Codes, query: NDArray[np.uint64], weights: NDArray[np.uint8], keys: NDArray[np.uint32]) -> None:
    """Lower the key of each code to that of its pair with a query, if that is less.

    Parameters
    ----------
    codes : (words, n)
    query : (words,)
    weights : (64 * words,)
        Weight of each bit, at most 127.
    keys : (n,)
        Distance of the pair shifted by WEIGHT_BITS, plus the sum of the weights of the bits that differ.
    """
    for row in range(U(codes.shape[1])):
        distance, weight = U(0), U(0)
        for w in range(U(codes.shape[0])):
            bits = codes[w, row] ^ query[w]
            distance += count_ones(bits)
            while bits:
                weight += U(weights[(w << U(6)) + lowest(bits)])
                bits &= bits - U(1)
        keys[row] = min(keys[row], np.uint32(distance << U(WEIGHT_BITS) | weight))


@inlined
def _words_of(queries: Words, q: Any) -> tuple[Any, Any, Any, Any]:
    """Four words of a query, 0 for those that it lacks; they stay in registers while codes are read."""
    n, none = queries.shape[1], U(0)
    second, third = queries[q, 1] if n > 1 else none, queries[q, 2] if n > 2 else none
    return queries[q, 0], second, third, queries[q, 3] if n > 3 else none


@inlined
def _distance(codes: Words, stride: Any, words: int, query: Any, row: Any) -> Any:
    """Hamming distance of a row from a query, as `_words_of` gives it; words of a code lie `stride` apart."""
    ones = count_ones(codes[row] ^ query[0])
    if words > 1:
        ones += count_ones(codes[row + stride] ^ query[1])
    if words > 2:
        ones += count_ones(codes[row + stride + stride] ^ query[2])
    if words > 3:
        ones += count_ones(codes[row + stride + stride + stride] ^ query[3])
    return np.int64(ones)
