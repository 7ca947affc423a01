"""The sections of a segment file: where each lies, and how it follows from the codes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes, words
from storage.segments.sorting import sort_into_buckets
from storage.segments.substrings import Partition, balanced, lookup

MAX_SAMPLED, SAMPLED_PART = 1 << 16, 64
"""Greatest number of codes in the sample, and rows of the segment for each of these: reading it must cost little."""
LINE_BYTES, WORD_BYTES, NUMBER_BYTES = 64, 8, 4
MAX_ROWS: Final = 1 << 31
"""Rows of a segment at most: its offsets and row numbers are of 32 bits."""

Blocks = Callable[[], Iterable[Codes]]
"""Yields the (words, n) codes of the rows of a segment, in row order, each time it is called."""


def padding(size: int) -> int:
    """Bytes between the end of a section of `size` bytes and the next section."""
    return -size % LINE_BYTES


@dataclass(frozen=True, slots=True)
class SegmentLayout:
    """The parameters from which the sections of a segment follow.

    Attributes
    ----------
    rows, sampled
        Number of its rows, and number of codes in the sample for predictions.
    inline
        True if it holds every code, once for each substring: more than twice the size, and half the time of a search.
    """

    rows: int
    sampled: int
    partition: Partition
    inline: bool

    @property
    def words(self) -> int:
        """Number of words of a code."""
        return words(self.partition.code_length)

    @property
    def offsets(self) -> list[int]:
        """Offset in bytes of each section, and of the end of the last.

        The first section is the sample. Each substring has three more: the offset of each of its buckets and the end of
        the last, its rows, and its codes if they are inline. Each section begins with a cache line.
        """
        sizes = [self.sampled * self.words * WORD_BYTES]
        for width in self.partition.widths.tolist():
            sizes += [((1 << width) + 1) * NUMBER_BYTES, self.rows * NUMBER_BYTES]
            sizes += [self.rows * WORD_BYTES] * self.inline
        return [0, *np.cumsum([size + padding(size) for size in sizes]).tolist()]

    def sections(self, blocks: Blocks) -> Iterator[NDArray[Any]]:
        """Yield the values of each section, computed from the codes."""
        yield draw(blocks, self.rows, self.sampled)
        for j, (bits, width) in enumerate(zip(self.partition.substrings, self.partition.widths.tolist(), strict=True)):
            table = lookup(self.partition.order if self.inline else bits, self.words)
            shift = sum(map(len, self.partition.substrings[:j])) if self.inline else 0
            buckets = sort_into_buckets(blocks, self.rows, table, shift, width)
            yield buckets.offsets
            yield buckets.rows
            if self.inline:
                yield buckets.gathered


def layout_for(blocks: Blocks, rows: int, code_length: int, *, inline: bool) -> SegmentLayout:
    """Lay out a segment of some rows, with substrings chosen by a sample of their codes."""
    sampled = min(MAX_SAMPLED, -(-rows // SAMPLED_PART))
    return SegmentLayout(rows, sampled, balanced(draw(blocks, rows, sampled).T, code_length, rows), inline)


def draw(blocks: Blocks, rows: int, sampled: int) -> Codes:
    """Return the (words, sampled) codes of rows drawn at random, which are the same at every call."""
    chosen = np.sort(np.random.default_rng(0).integers(0, rows, sampled))
    parts, first = [], 0
    for codes in blocks():
        low, high = np.searchsorted(chosen, [first, first + codes.shape[1]])
        parts.append(codes[:, chosen[low:high] - first])
        first += codes.shape[1]
    return np.concatenate(parts, axis=1)
