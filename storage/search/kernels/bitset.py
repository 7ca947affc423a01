"""Sets of rows as bits, and the compiled loop that tests a column for them.

Each part of a chunk begins with a word of its own; spare bits are 0.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.jit import U, at, count_ones, inlined, kernel, lowest, within

Bits = NDArray[np.uint64]
FEW: Final = U(4)
"""Rows of a word up to which testing each is quicker than testing all."""


class Condition(NamedTuple):
    """A test of the values of a column.

    Attributes
    ----------
    ends : (2 * runs,)
        First and last value of each range, ascending, of the column's own type; empty if no value matches.
    table : (2**n,) bool
        True if a value may match, by its difference from the least, modulo the size; empty if all of the ranges match.
    values : (n,)
        Values that match, ascending, where the table cannot tell two values apart; else empty.
    wanted
        True if rows with a matching value pass, False if the others do.
    """

    ends: NDArray[Any]
    table: NDArray[np.bool_]
    values: NDArray[Any]
    wanted: bool


@kernel
def every(counts: NDArray[np.int64]) -> Bits:
    """Bits of all rows, given how many each part has."""
    bits, end = np.full(((counts + 63) // 64).sum(), ~U(0), np.uint64), 0
    for n in counts:
        end += (n + 63) // 64
        if n % 64:
            bits[end - 1] = (U(1) << U(n % 64)) - U(1)
    return bits


@kernel
def keep(counts: NDArray[np.int64], addresses: NDArray[np.uint64], condition: Condition, bits: Bits) -> None:
    """Clear the bits of rows whose value does not pass.

    Parameters
    ----------
    counts, addresses : (parts,)
        Rows of each part, and where their values lie.
    """
    if not condition.ends.size:
        if condition.wanted:
            bits[:] = U(0)
        return
    low, high, runs = condition.ends[0], condition.ends[1], U(condition.ends.size)
    first, flip = U(0), U(0) if condition.wanted else ~U(0)
    for p in range(counts.size):
        n, words = U(counts[p]), (U(counts[p]) + U(63)) >> U(6)
        column = carray(at(addresses[p], condition.ends), (counts[p],))
        for w in range(words):
            word, start = bits[first + w], w << U(6)
            if not word:
                continue
            if start + U(64) > n or count_ones(word) <= FEW:
                matching = _matching_rows(column, start, condition, word)
            else:
                matching = within(column, start, low, high)
                for run in range(U(2), runs, U(2)):
                    matching |= within(column, start, condition.ends[run], condition.ends[run + U(1)])
                if condition.table.size and word & matching:
                    matching = _in_table(column, start, condition, word & matching)
            bits[first + w] = word & (matching ^ flip)
        first += words


@inlined
def _matching_rows(column: NDArray[Any], start: Any, condition: Condition, word: Any) -> Any:
    """Bits of a word whose rows match, tested one by one."""
    matching, rest = U(0), word
    while rest:
        row = lowest(rest)
        matching |= U(matches(column[start + row], condition)) << row
        rest &= rest - U(1)
    return matching


@kernel
def _in_table(column: NDArray[Any], start: Any, condition: Condition, word: Any) -> Any:
    """Bits of a word whose rows match by the table, and by the list of values behind it."""
    if count_ones(word) > FEW:
        base, mask, known = U(condition.ends[0]), U(condition.table.size - 1), U(0)
        for j in range(U(64)):
            known |= U(condition.table[(U(column[start + j]) - base) & mask]) << j
        word &= known
        if not condition.values.size:
            return word
    return _matching_rows(column, start, condition, word)


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
def matches(value: Any, condition: Condition) -> Any:
    """True if the condition names a value, be it to include or to exclude it."""
    inside = np.uint8(0)
    for run in range(U(0), U(condition.ends.size), U(2)):
        inside |= np.uint8(condition.ends[run] <= value) & np.uint8(value <= condition.ends[run + U(1)])
    if not condition.table.size:
        return inside != 0
    if not inside or not condition.table[(U(value) - U(condition.ends[0])) & U(condition.table.size - 1)]:
        return False
    low, high = 0, condition.values.size
    while low < high:
        middle = (low + high) // 2
        if condition.values[middle] < value:
            low = middle + 1
        else:
            high = middle
    return condition.values.size == 0 or (low < condition.values.size and condition.values[low] == value)
