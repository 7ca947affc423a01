"""Where buckets begin, packed: a line of memory tells where the first of sixty begins, and how many rows each holds.

A byte each is a quarter of what their starts would take, and more of it stays in the caches.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from storage.jit import LINE, U, count_ones, inlined, kernel, octet_sum

Lines = NDArray[np.uint64]

HEAD: Final = 4
"""Bytes of a line before its counts: the start of its first bucket, below EXTENDED."""
A_LINE: Final = 8 * LINE - HEAD
"""Buckets of a line."""
MOST: Final = 255
"""Counts of so much, and more, are continued elsewhere."""
EXTENDED: Final = 1 << 31
"""Added to what a line begins with where that is no start, but the place of one among numbers `beyond` the lines."""
MOST_ROWS: Final = EXTENDED
"""Rows whose starts can be told."""
SEVEN, ONE = U(0x7F7F7F7F7F7F7F7F), U(0x0101010101010101)
"""Of each byte seven bits, and the lowest."""


def _inside() -> Lines:
    """Of each bucket of a line, (LINE,) words whose set bytes hold the counts of those before it."""
    octets = np.zeros((A_LINE, 8 * LINE), np.uint8)
    for bucket in range(A_LINE):
        octets[bucket, HEAD : HEAD + bucket] = 255
    return octets.view("<u8").astype(np.uint64)


INSIDE: Final = _inside()


def lines_of(buckets: int) -> int:
    """How many lines tell where so many buckets begin."""
    return -(-buckets // A_LINE)


@kernel
def pack(offsets: NDArray[np.uint32], told: int) -> tuple[Lines, NDArray[np.uint32]]:
    """Pack the starts of buckets.

    Parameters
    ----------
    offsets : (buckets + 1,)
        Where each starts; it ends where the next one starts. At most MOST_ROWS.
    told
        Numbers that are among `beyond` before.

    Returns
    -------
    lines : (LINE * lines_of(buckets),)
    beyond : (n,)
        Of each line with buckets of MOST rows or more its start, and this with what these, the first, the first two and
        so on, hold beyond MOST.
    """
    buckets = offsets.size - 1
    lines = np.zeros((buckets + A_LINE - 1) // A_LINE * LINE, np.uint64)
    many = 0
    for bucket in range(buckets):
        many += offsets[bucket + 1] - offsets[bucket] >= MOST
    beyond, n = np.empty(2 * many, np.uint32), 0
    for first in range(0, buckets, A_LINE):
        line, head, before, more = first // A_LINE * LINE, np.int64(offsets[first]), n, np.int64(0)
        for bucket in range(first, min(first + A_LINE, buckets)):
            count, octet = np.int64(offsets[bucket + 1]) - np.int64(offsets[bucket]), bucket - first + HEAD
            lines[line + octet // 8] |= U(MOST if count > MOST else count) << U(octet % 8 * 8)
            if count >= MOST:
                if n == before:
                    beyond[n] = head
                    n += 1
                more += count - MOST
                beyond[n] = head + more
                n += 1
        lines[line] |= U(head if n == before else EXTENDED + told + before)
    return lines, beyond[:n].copy()


@inlined
def line_of(first: Any, bucket: Any) -> Any:
    """Place of the line of a bucket, given that of the first line."""
    return U(first) + U(bucket) // U(A_LINE) * U(LINE)


@kernel
def look_up(lines: Lines, first: Any, buckets: Lines, n: Any, beyond: NDArray[np.uint32], bounds: Lines) -> None:
    """Find starts and ends of the first n of some buckets, given where the first line is.

    Parameters
    ----------
    bounds : (2, n or more)
        To be filled.
    """
    heads = U(0)
    for i in range(U(n)):
        line, place = line_of(first, buckets[i]), buckets[i] % U(A_LINE)
        head, before = lines[line] & U(EXTENDED * 2 - 1), octet_sum(lines, line, INSIDE[place])
        bounds[0, i], bounds[1, i] = head + before, head + before + octet_of(lines, line, place)
        heads |= head
    if heads & U(EXTENDED):  # by itself: what is rare must not slow down the rest
        for i in range(U(n)):
            line, place = line_of(first, buckets[i]), buckets[i] % U(A_LINE)
            head, full = lines[line] & U(EXTENDED * 2 - 1), U(octet_of(lines, line, place) == U(MOST))
            if head & U(EXTENDED):
                at = head - U(EXTENDED) + full_before(lines, line, place)
                bounds[0, i] += U(beyond[at]) - head
                bounds[1, i] += U(beyond[at + full]) - head


@inlined
def octet_of(lines: Lines, line: Any, place: Any) -> Any:
    """Byte of a bucket in its line."""
    octet = place + U(HEAD)
    return (lines[line + (octet >> U(3))] >> ((octet & U(7)) << U(3))) & U(255)


@inlined
def full_before(lines: Lines, line: Any, place: Any) -> Any:
    """How many buckets before one of a line hold MOST rows or more: of their bytes all bits are set."""
    full = U(0)
    for w in range(U(LINE)):
        counts = lines[line + w] & INSIDE[place, w]
        full += count_ones(((counts & SEVEN) + ONE) & counts & ~SEVEN)
    return full
