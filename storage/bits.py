"""Sets of rows as bits, and the compiled loop that tests columns for them.

Each part of a chunk begins with a word of its own; spare bits are 0.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.compiled import U, at, count_ones, inlined, kernel, lowest

Bits = NDArray[np.uint64]
FEW: Final = 6
"""Rows of a word up to which testing each is quicker than testing all."""
GATHER: Final = U(0x0102040810204080)
"""Multiplied by eight bytes of 0 or 1, this has them as bits in its highest byte."""


class Condition(NamedTuple):
    """What values of a column must be.

    Attributes
    ----------
    ends : (2,)
        Least and greatest value meant, of the column's own type.
    table : (2**n,) bool
        Whether a value may be meant, by its distance from the least, modulo the size; empty for all between the ends.
    listed : (values,)
        Values meant, ascending, where the table tells two values apart no more; else empty.
    wanted
        Whether rows with such values pass, or the others.
    """

    ends: NDArray[Any]
    table: NDArray[np.bool_]
    listed: NDArray[Any]
    wanted: bool


@kernel
def every(counts: NDArray[np.int64]) -> Bits:
    """Bits of all rows, given how many each part has."""
    words = 0
    for n in counts:
        words += (n + 63) // 64
    bits = np.full(words, ~U(0), np.uint64)
    words = 0
    for n in counts:
        words += (n + 63) // 64
        if n % 64:
            bits[words - 1] = (U(1) << U(n % 64)) - U(1)
    return bits


@kernel
def keep(counts: NDArray[np.int64], addresses: NDArray[np.uint64], condition: Condition, bits: Bits) -> None:
    """Clear the bits of rows whose value does not pass; words without bits are not looked at.

    Parameters
    ----------
    counts, addresses : (parts,)
        Rows of each part, and where their values lie.
    """
    word, passed = 0, np.zeros(8, np.uint64)
    for p in range(counts.size):
        n = counts[p]
        column = carray(at(addresses[p], condition.ends), (n,))
        for start in range(0, n, 64):
            if bits[word] and count_ones(bits[word]) <= U(FEW):
                bits[word] = _each(column, start, condition, bits[word])
            elif bits[word]:
                bits[word] &= _all(column, U(start), U(min(64, n - start)), condition, passed)
            word += 1


@kernel
def rows_of(rows: NDArray[np.int64], counts: NDArray[np.int64], bits: Bits) -> NDArray[np.int64]:
    """Rows whose bit is set, given the first row of each part and how many it has."""
    found, n, word = np.empty(counts.sum(), np.int64), 0, 0
    for p in range(counts.size):
        for start in range(0, counts[p], 64):
            rest = bits[word]
            word += 1
            while rest:
                found[n] = rows[p] + start + np.int64(lowest(rest))
                rest &= rest - U(1)
                n += 1
    return found[:n]


@kernel
def _each(column: NDArray[Any], start: int, condition: Condition, word: Any) -> Any:
    rest = word
    while rest:
        bit = lowest(rest)
        rest &= rest - U(1)
        if _meant(column[U(start) + bit], condition) != condition.wanted:
            word ^= U(1) << bit
    return word


@kernel
def _all(column: NDArray[Any], start: Any, n: Any, condition: Condition, passed: Bits) -> Any:
    octets = passed.view(np.uint8)
    if condition.table.size or condition.listed.size:
        for j in range(n):
            octets[j] = _meant(column[start + j], condition) == condition.wanted
    else:
        low, high, wanted = condition.ends[0], condition.ends[1], np.uint8(condition.wanted)
        for j in range(n):
            value = column[start + j]
            octets[j] = (np.uint8(value >= low) & np.uint8(value <= high)) == wanted
    word = U(0)
    for octet in range(U(8)):
        word |= ((passed[octet] * GATHER) >> U(56)) << (octet << U(3))
    return word


@inlined
def _meant(value: Any, condition: Condition) -> Any:
    meant = condition.ends[0] <= value and value <= condition.ends[1]
    if meant and condition.table.size:
        meant = condition.table[(U(value) - U(condition.ends[0])) & U(condition.table.size - 1)]
    if meant and condition.listed.size:
        place = np.searchsorted(condition.listed, value)
        meant = place < condition.listed.size and condition.listed[place] == value
    return meant
