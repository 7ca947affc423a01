"""Sets of rows as bits, and the compiled loop that tests columns for them.

Each part of a chunk begins with a word of its own; spare bits are 0.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.compiled import U, at, count_ones, inlined, kernel, lowest

Bits = NDArray[np.uint64]
STRIP: Final = 256
FEW: Final = 12
"""Rows of a strip up to which testing each is quicker than testing all."""
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
    """Clear the bits of rows whose value does not pass; strips without bits are not looked at.

    Parameters
    ----------
    counts, addresses : (parts,)
        Rows of each part, and where their values lie.
    """
    first, meant = 0, np.zeros(STRIP // 8, np.uint64)
    flip = U(0) if condition.wanted else ~U(0)
    for p in range(counts.size):
        n = counts[p]
        column = carray(at(addresses[p], condition.ends), (n,))
        for start in range(0, n, STRIP):
            word, last = first + (start >> 6), first + ((min(start + STRIP, n) + 63) >> 6)
            ones = U(0)
            for w in range(word, last):
                ones += count_ones(bits[w])
            if ones > U(FEW):
                _all(column, U(start), U(min(STRIP, n - start)), condition, meant.view(np.uint8))
                for w in range(word, last):
                    bits[w] &= _gathered(meant, w - word) ^ flip
            elif ones:
                for w in range(word, last):
                    bits[w] = _each(column, start + ((w - word) << 6), condition, bits[w])
        first += (n + 63) // 64


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


@inlined
def _each(column: NDArray[Any], start: int, condition: Condition, word: Any) -> Any:
    """Bits of a word whose rows pass, tested one by one."""
    rest = word
    while rest:
        bit = lowest(rest)
        rest &= rest - U(1)
        if _meant(column[U(start) + bit], condition) != condition.wanted:
            word ^= U(1) << bit
    return word


@inlined
def _all(column: NDArray[Any], start: Any, n: Any, condition: Condition, meant: NDArray[np.uint8]) -> None:
    """Write for each row of a strip whether its value is meant."""
    low, high = condition.ends[0], condition.ends[1]
    for j in range(n):
        value = column[start + j]
        meant[j] = np.uint8(value >= low) & np.uint8(value <= high)
    if condition.table.size:
        base, mask = U(low), U(condition.table.size - 1)
        for j in range(n):
            meant[j] &= np.uint8(condition.table[(U(column[start + j]) - base) & mask])
    if condition.listed.size:
        for j in range(n):
            if meant[j]:
                meant[j] = _meant(column[start + j], condition)


@inlined
def _gathered(meant: Bits, word: int) -> Any:
    """Bits of 64 bytes of 0 or 1."""
    bits = U(0)
    for octet in range(8):
        bits |= ((meant[word * 8 + octet] * GATHER) >> U(56)) << U(octet * 8)
    return bits


@kernel
def _meant(value: Any, condition: Condition) -> Any:
    if value < condition.ends[0] or value > condition.ends[1]:
        return False
    if not condition.table.size:
        return True
    if not condition.table[(U(value) - U(condition.ends[0])) & U(condition.table.size - 1)]:
        return False
    low, high = 0, condition.listed.size
    while low < high:
        middle = (low + high) // 2
        if condition.listed[middle] < value:
            low = middle + 1
        else:
            high = middle
    return condition.listed.size == 0 or (low < condition.listed.size and condition.listed[low] == value)
