"""Is a query cheaper by scan or by multi-index? Predicted from what the index has found so far and from a sample.

The first steps in an index are so few that they cost nothing beside a scan, and most queries end there. For the others
the question is how far the k-th nearest is: no farther than that of those found so far, and about as far as the sample
says. What the remaining steps cost follows from how many buckets they look into.
"""

from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.compiled import count_ones, kernel

SCAN_NS: Final = 0.6
"""What a scan takes for one word, on one core: reading it from memory."""
SECOND_CORE: Final = 0.8
"""How much of a further core is gained, up to MOST_CORES: they share the memory."""
MOST_CORES: Final = 4
BUCKET_NS, INLINE_NS, STORED_NS = 25.0, 2.5, 10.0
"""What it takes to look up a bucket, and to look at a row in it: its code beside those of its bucket, or elsewhere."""
FREE: Final = 0.05
"""Part of a scan that may be spent before predicting."""
MOST_ROWS: Final = 0.3
"""Part of a scan's time in which so many rows are looked at that predictions no longer hold."""
CALL_NS: Final = 100_000.0
"""What the use of an index takes whatever its size: a scan that is quicker needs no index."""


def scan_ns(rows: int, words: int, threads: int) -> float:
    """Predict the time that a scan takes."""
    return SCAN_NS * rows * words / (1 + SECOND_CORE * (min(threads, MOST_CORES) - 1))


@dataclass(frozen=True)
class Costs:
    """What the steps of `storage.multi_index` cost in one segment.

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
    def buckets(self) -> NDArray[np.float64]:
        """(steps + 1,) how many buckets the steps before each look into."""
        steps = [comb(width, radius) for radius in range(max(self.widths) + 1) for width in self.widths]
        return np.concatenate([[0.0], np.cumsum(steps, dtype=np.float64)])

    @cached_property
    def load(self) -> float:
        """Rows in a bucket, on average."""
        return self.rows * float(np.mean([2.0**-width for width in self.widths]))

    @property
    def row_ns(self) -> float:
        """Time to look at a row."""
        return INLINE_NS if self.inline else STORED_NS

    @property
    def steps(self) -> int:
        """How many there are."""
        return self.buckets.size - 1

    def affordable(self, budget_ns: float) -> int:
        """How many steps may be done within a budget, at the average load."""
        return int(np.searchsorted(self.buckets, budget_ns / self._bucket_ns(self.load), side="right")) - 1

    def ns(self, first: int, end: int, load: float) -> float:
        """Predict the time for steps `first` to `end` - 1; `load` is what buckets near the query hold, others less."""
        end, first = min(end, self.steps), min(first, self.steps)
        return float(self.buckets[end] - self.buckets[first]) * self._bucket_ns((load + self.load) / 2)

    def _bucket_ns(self, load: float) -> float:
        return BUCKET_NS + load * self.row_ns


def predicted_distance(sample: Codes, query: NDArray[np.uint64], part: float, code_length: int) -> int:
    """Distance within which a part of the rows lies, by a (words, sampled) sample of their codes."""
    within = np.cumsum(count_distances(sample, query, np.zeros(code_length + 1, np.int64)))
    wanted = min(max(1.0, part * sample.shape[1]), float(sample.shape[1]))
    return int(np.searchsorted(within, wanted))


@kernel
def count_distances(codes: Codes, query: NDArray[np.uint64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add to how many of (words, n) codes are at each distance; return it."""
    for row in range(codes.shape[1]):
        distance = np.int64(0)
        for w in range(codes.shape[0]):
            distance += np.int64(count_ones(codes[w, row] ^ query[w]))
        counts[distance] += 1
    return counts
