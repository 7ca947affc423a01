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
from storage.jit import U, count_ones, kernel

SCAN_NS: Final = 0.35
"""Time in which a scan reads one word of a code, on one core."""
SECOND_CORE: Final = 0.8
"""Speed that each further core adds, up to MAX_CORES: they share the memory."""
MAX_CORES: Final = 4
TAKE_NS: Final = 70.0
"""Time in which a scan takes a row that is among the nearest so far."""
CALL_NS: Final = 100_000.0
"""Fixed time of an index search, whatever its size: a scan that is quicker needs no index."""
BUCKET_NS, INLINE_NS, STORED_NS = 30.0, 3.5, 14.0
"""Time for a bucket of an index; for a row in it whose code is stored in the segment; and for one stored elsewhere."""
BYTE_NS: Final = 0.08
"""Time of a filter that is tested first, for each byte of a row's value."""
NEAR_NS, TEST_NS = 30.0, 25.0
"""Time of a filter that is tested last: to list a row within the threshold, and to test one of its values."""
Words = NDArray[np.uint64]


def scan_ns(rows: int, words: int, threads: int, k: int) -> float:
    """Predict the time that a scan takes, but for what an index search takes as well: an index takes about 2 k rows."""
    more_taken = max(0.0, rows_taken(rows, k) - 2 * k)
    return (SCAN_NS * rows * words + TAKE_NS * more_taken) / (1 + SECOND_CORE * (min(threads, MAX_CORES) - 1))


def rows_taken(rows: float, k: float) -> float:
    """Predict how many of `rows` rows, in any order, a scan takes because they are among the k nearest so far."""
    return k * (1 + log(max(1.0, rows / k)))


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
        """(steps + 1,) number of buckets that all steps before each look into."""
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
        """Number of steps."""
        return len(self.buckets) - 1

    def affordable(self, budget_ns: float) -> int:
        """Number of steps that fit a budget, at the average load."""
        return bisect_right(self.buckets, budget_ns / self._bucket_ns(self.load)) - 1

    def ns(self, first: int, end: int, load: float) -> float:
        """Predict the time for steps `first` to `end` - 1; `load` is what buckets near the query hold, others less."""
        end, first = min(end, self.steps), min(first, self.steps)
        return (self.buckets[end] - self.buckets[first]) * self._bucket_ns((load + self.load) / 2)

    def _bucket_ns(self, load: float) -> float:
        return BUCKET_NS + load * self.row_ns


def predicted_distance(sample: Codes, query: NDArray[np.uint64], part: float) -> int:
    """Distance within which a part of the rows lies, by a (words, sampled) sample of their codes.

    If that is less than one row of the sample, rows are taken to lie about its nearest as codes that are unlike do.
    """
    wanted = min(part * sample.shape[1], float(sample.shape[1]))
    distance = int(distance_within(sample, query, max(1.0, wanted)))
    while wanted < 1 and distance > 0:
        wanted *= (query.size * WORD_BITS + 1 - distance) / distance
        distance -= wanted < 1
    return distance


@kernel
def distance_within(codes: Words, query: Words, wanted: float) -> Any:
    """Least distance within which at least `wanted` of (words, n) codes lie."""
    counts = np.zeros(64 * codes.shape[0] + 1, np.int64)
    for row in range(U(codes.shape[1])):
        ones = U(0)
        for w in range(U(codes.shape[0])):
            ones += count_ones(codes[w, row] ^ query[w])
        counts[ones] += 1
    return np.searchsorted(np.cumsum(counts), wanted)
