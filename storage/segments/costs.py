"""The cost table of searches in nanoseconds, and predictions from it; `storage.search.planner` decides by them."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import comb, log
from statistics import fmean
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashing.codes import WORD_BITS, Codes
from storage.jit import LANES, U, count_ones, kernel, within

SCAN_NS: Final = 0.35
"""A scan, for one word of a code on one core: reading it from memory."""
SECOND_CORE: Final = 0.8
"""How much of a further core is gained, up to MAX_CORES: they share the memory."""
MAX_CORES: Final = 4
TAKE_NS: Final = 150.0
"""A row that is among the nearest so far, in a scan."""
CALL_NS: Final = 100_000.0
"""The use of an index whatever its size: a scan that is quicker needs no index."""
BUCKET_NS, INLINE_NS, STORED_NS = 30.0, 3.5, 14.0
"""A bucket of an index; and a row in it whose code lies beside those of its bucket, or elsewhere."""
BIT_NS, BYTE_NS, TABLE_NS = 0.1, 0.08, 1.2
"""Filter first, for each row: a bit, a byte of its value, and the look-up of a value in a table."""
WORD_NS, ROW_NS = 80.0, 25.0
"""Values or codes far from others: those of a word of bits beside reading them; and a single one."""
NEAR_NS, TEST_NS = 30.0, 25.0
"""Filter last: a row within the threshold put on a list, and one of its values tested."""
NO_DISTANCE: Final = 65535
Words = NDArray[np.uint64]


def scan_ns(rows: int, words: int, threads: int, k: int) -> float:
    """Predict the time that a scan takes, but for what an index search takes as well: an index takes about 2 k rows."""
    more_taken = max(0.0, rows_taken(rows, k) - 2 * k)
    return (SCAN_NS * rows * words + TAKE_NS * more_taken) / (1 + SECOND_CORE * (min(threads, MAX_CORES) - 1))


def rows_taken(rows: float, k: float) -> float:
    """Predict how many rows, of so many in any order, are among the k nearest of those before them."""
    return k * (1 + log(max(1.0, rows / k)))


def read_ns(bits: NDArray[np.uint64], row_ns: float) -> tuple[float, float]:
    """Predict the time to read the rows whose bit is set: word by word of bits, and row by row.

    Parameters
    ----------
    row_ns
        Time to read a row among its neighbours.
    """
    return np.count_nonzero(bits) * (WORD_BITS * row_ns + WORD_NS), int(np.bitwise_count(bits).sum()) * ROW_NS


@dataclass(frozen=True)
class Costs:
    """Costs of the steps of `storage.segments.probe` in one segment.

    Attributes
    ----------
    widths
        Bits of each substring.
    rows
        Of the segment.
    inline
        Whether codes lie in it.
    """

    widths: tuple[int, ...]
    rows: int
    inline: bool

    @cached_property
    def buckets(self) -> tuple[int, ...]:
        """How many buckets the steps before each look into, of `steps` + 1."""
        steps = [comb(width, radius) for radius in range(max(self.widths) + 1) for width in self.widths]
        return tuple(accumulate(steps, initial=0))

    @cached_property
    def load(self) -> float:
        """Rows in a bucket, on average."""
        return self.rows * fmean(2.0**-width for width in self.widths)

    @property
    def row_ns(self) -> float:
        """Time to look at a row."""
        return INLINE_NS if self.inline else STORED_NS

    @property
    def steps(self) -> int:
        """How many there are."""
        return len(self.buckets) - 1

    def affordable(self, budget_ns: float) -> int:
        """How many steps may be done within a budget, at the average load."""
        return bisect_right(self.buckets, budget_ns / self._bucket_ns(self.load)) - 1

    def ns(self, first: int, end: int, load: float) -> float:
        """Predict the time for steps `first` to `end` - 1; `load` is what buckets near the query hold, others less."""
        end, first = min(end, self.steps), min(first, self.steps)
        return (self.buckets[end] - self.buckets[first]) * self._bucket_ns((load + self.load) / 2)

    def _bucket_ns(self, load: float) -> float:
        return BUCKET_NS + load * self.row_ns


def predicted_distance(sample: Codes, query: NDArray[np.uint64], part: float) -> int:
    """Distance within which a part of the rows lies, by a (words, sampled) sample of their codes.

    Where that is less than one row of the sample, rows are taken to lie about its nearest as codes that are unlike do.
    """
    wanted = min(part * sample.shape[1], float(sample.shape[1]))
    room = np.empty(-(-sample.shape[1] // LANES) * LANES, np.uint16)
    distance = int(distance_within(sample, sample.shape[1], query, max(1.0, wanted), room))
    while wanted < 1 and distance > 0:
        wanted *= (query.size * WORD_BITS + 1 - distance) / distance
        distance -= wanted < 1
    return distance


@kernel
def distance_within(codes: Words, rows: int, query: Words, wanted: float, distances: NDArray[np.uint16]) -> Any:
    """Least distance within which at least `wanted` of the first rows of (words, n) codes lie.

    Parameters
    ----------
    distances : (m,)
        Room, for `rows` or more and a multiple of LANES.
    """
    n, words = U(rows), U(codes.shape[0])
    distances[n:] = NO_DISTANCE
    for row in range(n):
        distances[row] = np.uint16(count_ones(codes[0, row] ^ query[0]))
    for w in range(U(1), words):
        for row in range(n):
            distances[row] += np.uint16(count_ones(codes[w, row] ^ query[w]))
    low, high = np.int64(0), np.int64(codes.shape[0] * 64)
    while low < high:
        middle, found = (low + high) // 2, U(0)
        for row in range(U(0), U(distances.size), U(LANES)):
            found += count_ones(within(distances, row, np.uint16(0), np.uint16(middle)))
        if found < wanted:
            low = middle + 1
        else:
            high = middle
    return low
