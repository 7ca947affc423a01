"""Sets of rows as bits, and the compiled loop that tests columns for them.

Each part of a chunk begins with a word of its own; spare bits are 0.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.jit import U, at, count_ones, inlined, kernel, lowest, prefetch, within

Bits = NDArray[np.uint64]
FEW: Final = U(4)
"""Rows of a word up to which testing each is quicker than testing all."""
SPARSE: Final = U(12)
"""Where fewer words than one in so many have rows, those without are passed over."""
AT_ONCE: Final = 1024
"""Rows listed before they are looked at."""
STREAM_BITS: Final = 2
"""Places of a part that are read in turn, as in `storage.search.kernels.distance.reach`: four."""
WORDS_AHEAD: Final = 16
"""Words of bits with rows by which reading runs ahead, where others are passed over."""
LINE_BYTES: Final = 64


class Condition(NamedTuple):
    """What values of a column must be.

    Attributes
    ----------
    ends : (2 * runs,)
        First and last of each run of values meant, ascending, of the column's own type; empty for none.
    table : (2**n,) bool
        Whether a value may be meant, by its distance from the least, modulo the size; empty for all of the runs.
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
    """Clear the bits of rows whose value does not pass.

    Parameters
    ----------
    counts, addresses : (parts,)
        Rows of each part, and where their values lie.
    """
    rows, words = U(0), U(0)
    for word in bits:
        rows += count_ones(word)
        words += U(word != U(0))
    scattered = bool(words * SPARSE < U(bits.size))
    if scattered and rows < words * FEW:
        _keep_listed(counts, addresses, condition, bits)
    elif condition.ends.size:
        _keep_words(counts, addresses, condition, bits, scattered)
    elif condition.wanted:
        bits[:] = U(0)


@kernel
def _keep_words(
    counts: NDArray[np.int64], addresses: NDArray[np.uint64], condition: Condition, bits: Bits, skip: bool
) -> None:
    """As `keep`, word by word; `skip` those without bits, if there are many in a row."""
    low, high, flip = condition.ends[0], condition.ends[1], U(0) if condition.wanted else ~U(0)
    runs, line, first = U(condition.ends.size), U(LINE_BYTES // condition.ends.itemsize), U(0)
    streams = U(0) if skip else U(STREAM_BITS)
    for p in range(counts.size):
        n, words, lead, asked = U(counts[p]), U(counts[p]) >> U(6), U(0), 0
        column, each = carray(at(addresses[p], condition.ends), (counts[p],)), (words >> streams) + U(1)
        for turn in range(each << streams):
            w = (turn & ((U(1) << streams) - U(1))) * each + (turn >> streams)
            if w >= words or (skip and not bits[first + w]):
                continue
            while skip and asked < WORDS_AHEAD and lead < words:
                if bits[first + lead]:
                    asked += 1
                    for place in range(lead << U(6), (lead + U(1)) << U(6), line):
                        prefetch(column, place)
                lead += U(1)
            asked -= 1
            word, start = bits[first + w], w << U(6)
            found = within(column, start, low, high)
            for run in range(U(2), runs, U(2)):
                found |= within(column, start, condition.ends[run], condition.ends[run + U(1)])
            if condition.table.size and word & found:
                found = _told(column, start, condition, word & found)
            bits[first + w] = word & (found ^ flip)
        first += words
        if n & U(63):
            bits[first] = _each(column, n & ~U(63), condition, bits[first])
            first += U(1)


@kernel
def _keep_listed(counts: NDArray[np.int64], addresses: NDArray[np.uint64], condition: Condition, bits: Bits) -> None:
    """As `keep`, row by row: values far apart are read many at a time, not one after the other."""
    parts, places, words = np.empty(AT_ONCE, np.int64), np.empty(AT_ONCE, np.int64), np.empty(AT_ONCE, np.int64)
    listed, first = U(0), 0
    for p in range(counts.size):
        for w in range((counts[p] + 63) >> 6):
            rest = bits[U(first + w)]
            while rest:
                parts[listed], places[listed], words[listed] = p, (w << 6) + np.int64(lowest(rest)), first + w
                listed += U(1)
                rest &= rest - U(1)
                if listed == U(AT_ONCE):
                    _clear(parts, places, words, listed, addresses, condition, bits)
                    listed = U(0)
        first += (counts[p] + 63) >> 6
    _clear(parts, places, words, listed, addresses, condition, bits)


@kernel
def count_set(bits: Bits) -> Any:
    """How many bits are set."""
    ones = U(0)
    for word in bits:
        ones += count_ones(word)
    return np.int64(ones)


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
def _clear(
    parts: NDArray[np.int64],
    places: NDArray[np.int64],
    words: NDArray[np.int64],
    listed: Any,
    addresses: NDArray[np.uint64],
    condition: Condition,
    bits: Bits,
) -> None:
    """Clear the bits of rows in a list that do not pass; what is read first does not wait for anything."""
    values = np.empty(AT_ONCE, condition.ends.dtype)
    for i in range(listed):
        column = carray(at(addresses[U(parts[i])], condition.ends), (places[i] + 1,))
        values[i] = column[U(places[i])]
    for i in range(listed):
        failed = U(meant(values[i], condition) != condition.wanted)
        bits[U(words[i])] &= ~(failed << U(places[i] & 63))


@inlined
def _each(column: NDArray[Any], start: Any, condition: Condition, word: Any) -> Any:
    """Bits of a word whose rows pass, tested one by one."""
    rest = word
    while rest:
        bit = lowest(rest)
        rest &= rest - U(1)
        if meant(column[start + bit], condition) != condition.wanted:
            word ^= U(1) << bit
    return word


@kernel
def _told(column: NDArray[Any], start: Any, condition: Condition, word: Any) -> Any:
    """Bits of a word whose value the table knows, and the list behind it."""
    if count_ones(word) > FEW:
        base, mask, told = U(condition.ends[0]), U(condition.table.size - 1), U(0)
        for j in range(U(64)):
            told |= U(condition.table[(U(column[start + j]) - base) & mask]) << j
        word &= told
        if not condition.listed.size:
            return word
    rest = word
    while rest:
        bit = lowest(rest)
        rest &= rest - U(1)
        if not meant(column[start + bit], condition):
            word ^= U(1) << bit
    return word


@kernel
def meant(value: Any, condition: Condition) -> Any:
    """Whether a value is one of those meant, wanted or not."""
    inside = np.uint8(0)
    for run in range(U(0), U(condition.ends.size), U(2)):
        inside |= np.uint8(condition.ends[run] <= value) & np.uint8(value <= condition.ends[run + U(1)])
    if not condition.table.size:
        return inside != 0
    if not inside or not condition.table[(U(value) - U(condition.ends[0])) & U(condition.table.size - 1)]:
        return False
    low, high = 0, condition.listed.size
    while low < high:
        middle = (low + high) // 2
        if condition.listed[middle] < value:
            low = middle + 1
        else:
            high = middle
    return condition.listed.size == 0 or (low < condition.listed.size and condition.listed[low] == value)
