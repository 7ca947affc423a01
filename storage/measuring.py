"""Rows of a multi-index, measured where their codes lie: beside those of their bucket, or in blocks of the database."""

from typing import Any, Final, NamedTuple

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.compiled import U, at, count_ones, inlined, prefetch
from storage.selection import NO_WORDS

STRIP: Final = 64
"""Rows looked at together, and asked for together."""
LINE: Final = 8
"""Words that memory brings together."""


class Lying(NamedTuple):
    """Where the codes of one substring's buckets are.

    Attributes
    ----------
    codes : uint64
        Address of the first, all in the order of the buckets; 0 where they are read from the database.
    numbers : (n,) uint32; rows : uint64
        Rows of the segment, and where those of this substring begin.
    blocks : (blocks,) uint64; shift : uint64
        Addresses of the database's blocks, and their rows as a power of two.
    """

    codes: np.uint64
    numbers: NDArray[np.uint32]
    rows: np.uint64
    blocks: NDArray[np.uint64]
    shift: np.uint64


@inlined
def near_rows(lying: Lying, start: Any, end: Any, code: NDArray[np.uint64], limit: np.int64) -> Any:
    """Which of at most 64 places are within the limit, a bit each."""
    near, n = U(0), end - start
    if lying.codes and code.size == 1:
        words, word = carray(at(lying.codes + (start << U(3)), NO_WORDS), (n,)), code[0]
        for j in range(n):
            near |= U(np.int64(count_ones(words[j] ^ word)) <= limit) << j
        return near
    for j in range(n):
        near |= U(distance_at(address_of(lying, start + j), lying.shift, code) <= limit) << j
    return near


@inlined
def ask_for_codes(lying: Lying, start: Any, end: Any, words: int) -> None:
    """Ask memory for the codes of some places, not of too many."""
    end = min(end, start + U(STRIP))
    if lying.codes:
        for place in range(start, end, U(LINE)):
            _ask_for(lying.codes + (place << U(3)))
        return
    for place in range(start, end):
        address = address_of(lying, U(place))
        for w in range(U(words)):
            _ask_for(address + (w << (lying.shift + U(3))))


@inlined
def _ask_for(address: np.uint64) -> None:
    prefetch(carray(at(address, NO_WORDS), (1,)), 0)


@inlined
def address_of(lying: Lying, place: np.uint64) -> np.uint64:
    """Address of the first word of the code at a place; of a block, each further word is one plane on."""
    if lying.codes:
        return lying.codes + (place << U(3))
    row = U(lying.numbers[lying.rows + place])
    within = row & ((U(1) << lying.shift) - U(1))
    return lying.blocks[row >> lying.shift] + (within << U(3))  # type: ignore[no-any-return]


@inlined
def distance_at(address: np.uint64, shift: np.uint64, code: NDArray[np.uint64]) -> np.int64:
    """Distance of the code at an address; a single word takes no loop."""
    distance = np.int64(count_ones(carray(at(address, NO_WORDS), (1,))[0] ^ code[0]))
    for w in range(U(1), U(code.size)):
        distance += np.int64(count_ones(carray(at(address + (w << (shift + U(3))), NO_WORDS), (1,))[0] ^ code[w]))
    return distance


@inlined
def seen_before(
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
