"""Rows sorted into buckets by the bits of one substring: the work of building a multi-index.

A radix sort in two passes: into a thousand parts, whose ends stay in the cache while they are written, and then each
part, which fits the cache, by the rest of its key. Rows of a bucket stay in row order.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.jit import U, inlined, kernel

PART_BITS: Final = 10
WORD_BYTES: Final = 8


class Sorted(NamedTuple):
    """Rows by substring.

    Attributes
    ----------
    offsets : (2**width + 1,) uint32
        Offset of each bucket among the rows; a bucket ends where the next one starts.
    rows : (rows,) uint32
        Row numbers, counted from the first row.
    gathered : (rows,) uint64
        Gathered bits of each of those rows.
    """

    offsets: NDArray[np.uint32]
    rows: NDArray[np.uint32]
    gathered: NDArray[np.uint64]


def sort_into_buckets(
    blocks: Callable[[], Iterable[Codes]], rows: int, table: NDArray[np.uint64], shift: int, width: int
) -> Sorted:
    """Sort codes by `width` of their gathered bits, from bit `shift`.

    Parameters
    ----------
    blocks
        Yields the (words, n) codes of every row, in row order; it is called twice.
    table
        Made by `storage.segments.substrings.lookup`.
    """
    low = max(width - PART_BITS, 0)
    ends = np.zeros((1 << width - low) + 1, np.int64)
    for codes in blocks():
        count_parts(codes, table, shift + low, ends[1:])
    starts = np.cumsum(ends)
    by_row, gathered = np.empty(rows, np.uint32), np.empty(rows, np.uint64)
    free, first = starts[:-1].copy(), 0
    for codes in blocks():
        deal_parts(codes, table, shift + low, free, first, by_row, gathered)
        first += codes.shape[1]
    offsets = np.empty((1 << width) + 1, np.uint32)
    sort_parts(starts, shift, low, by_row, gathered, offsets)
    return Sorted(offsets, by_row, gathered)


@inlined
def gather_bits(codes: Codes, table: NDArray[np.uint64], row: int) -> int:
    """Gather bits of one of (words, n) codes by a table of `storage.segments.substrings.lookup`."""
    gathered = U(0)
    for w in range(codes.shape[0]):
        word = codes[w, U(row)]
        for byte in range(WORD_BYTES):
            gathered |= table[U(WORD_BYTES * w + byte), (word >> U(8 * byte)) & U(255)]
    return gathered  # type: ignore[return-value]


@kernel
def count_parts(codes: Codes, table: NDArray[np.uint64], shift: int, counts: NDArray[np.int64]) -> None:
    """Add to the number of rows in each part."""
    mask = U(counts.size - 1)
    for row in range(codes.shape[1]):
        counts[(gather_bits(codes, table, row) >> U(shift)) & mask] += 1


@kernel
def deal_parts(
    codes: Codes,
    table: NDArray[np.uint64],
    shift: int,
    free: NDArray[np.int64],
    first: int,
    rows: NDArray[np.uint32],
    gathered: NDArray[np.uint64],
) -> None:
    """Write each row, counted from `first`, and its bits to the next free index of its part."""
    mask = U(free.size - 1)
    for row in range(codes.shape[1]):
        bits = gather_bits(codes, table, row)
        part = (bits >> U(shift)) & mask
        index = U(free[part])
        rows[index], gathered[index] = first + row, bits
        free[part] += 1


@kernel
def sort_parts(
    starts: NDArray[np.int64],
    shift: int,
    low: int,
    rows: NDArray[np.uint32],
    gathered: NDArray[np.uint64],
    offsets: NDArray[np.uint32],
) -> None:
    """Sort the rows within each part by the `low` bits from `shift`, in place, and write the offset of each bucket."""
    largest = 0
    for part in range(starts.size - 1):
        largest = max(largest, starts[part + 1] - starts[part])
    old_rows, old_gathered = np.empty(largest, np.uint32), np.empty(largest, np.uint64)
    free = np.empty(1 << low, np.int64)
    mask = U(free.size - 1)
    for part in range(starts.size - 1):
        start, n = U(starts[part]), starts[part + 1] - starts[part]
        free[:] = 0
        for i in range(n):
            old_rows[i], old_gathered[i] = rows[start + U(i)], gathered[start + U(i)]
            free[(old_gathered[i] >> U(shift)) & mask] += 1
        index = np.int64(start)
        for bucket in range(free.size):
            offsets[(part << low) + bucket] = index
            count, free[bucket] = free[bucket], index
            index += count
        for i in range(n):
            bucket = (old_gathered[i] >> U(shift)) & mask
            target = U(free[bucket])
            rows[target], gathered[target] = old_rows[i], old_gathered[i]
            free[bucket] += 1
    offsets[offsets.size - 1] = starts[starts.size - 1]
