"""Retrieval measures that do not depend on the order of equal distances.

A Hamming ranking puts many images at one distance; any order among them would invent a result. Each measure is the
expectation over random orders within ties (McSherry and Najork, ECIR 2008; He et al., CVPR 2018).

Every function takes the levels of some queries and returns one value for each. A query without relevant images has no
value (NaN): it is left out of means, and counted.
"""

import numpy as np
from numpy.typing import NDArray

from hashing.evaluation.ranking import Gains, Levels

Values = NDArray[np.float64]
"""(n_queries,)"""


def average_precision(levels: Levels, k: int | None = None) -> Values:
    """Expected average precision; at k it is divided by min(relevant, k).

    With N images and R relevant ones before a level of n images, r of them relevant, the level adds
    (r / n) sum_t [R + 1 + (t - N - 1)(r - 1) / (n - 1)] / t over ranks t = N + 1 ... N + n, cut at k.
    """
    return _divided(_precision_sum(levels, k).sum(axis=1), _at_most(levels.total_relevant, k))


def average_precision_band(levels: Levels) -> tuple[Values, Values]:
    """Average precision with the irrelevant first, and with the relevant first, inside every tie."""
    images, relevant = levels.images, levels.relevant
    before, hits_before = _before(images), _before(relevant)
    total = levels.total_relevant
    low = _run_of_hits(hits_before, before + images - relevant, relevant)
    high = _run_of_hits(hits_before, before, relevant)
    return _divided(low.sum(axis=1), total), _divided(high.sum(axis=1), total)


def legacy_average_precision_found(levels: Levels, k: int) -> Values:
    """Average precision at k divided by the number of relevant images in the first k, 0 where there is none.

    Public hashing code computes it so; it serves comparison with papers that may have used it. One hit at rank 1 and
    nothing else scores 1. It is an expectation over random orders within ties: of the level that k cuts, a
    hypergeometric number of the relevant images comes before the cut.
    """
    images, relevant = levels.images, levels.relevant
    before, hits_before = _before(images), _before(relevant)
    whole = before + images <= k
    settled, retrieved = (_precision_sum(levels, k) * whole).sum(axis=1), (relevant * whole).sum(axis=1)
    cut = np.argmax(before + images > k, axis=1), np.arange(len(images))
    n, r, at, hits_at = (array[cut[1], cut[0]] for array in (images, relevant, before, hits_before))
    counted = np.where((before + images > k).any(axis=1), k - at, 0)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, int(n.max(initial=0)) + 2)))])
    result = np.zeros(len(images))
    for hits in range(k + 1):
        possible = (hits <= np.minimum(counted, r)) & (counted - hits <= n - r)
        chance = possible * _hypergeometric(hits, counted, r, n, log_factorial)
        part = _level_sum(counted, np.minimum(hits, counted), at, hits_at, counted)
        result += chance * _divided(settled + part, retrieved + hits, empty=0.0)
    return np.where(levels.total_relevant > 0, result, np.nan)


def discounted_gain(levels: Levels, k: int, kind: str = "exponential") -> Values:
    """Expected NDCG at k: gain / log2(rank + 1), divided by that of the best order."""
    gains = levels.gains[kind]
    mean = _divided(gains.sums, levels.images, empty=0.0)
    return _divided((mean * _discounts(levels.images, k)).sum(axis=1), _ideal(gains, k))


def precision(levels: Levels, k: int) -> Values:
    """Expected share of relevant images among the first k."""
    before = _before(levels.images)
    counted = np.clip(k - before, 0, levels.images)
    hits = (_divided(levels.relevant, levels.images, empty=0.0) * counted).sum(axis=1)
    return np.where(levels.total_relevant > 0, hits / k, np.nan)


def precision_within(levels: Levels, radius: int) -> Values:
    """Share of relevant images within a Hamming radius; 0 where the ball is empty."""
    retrieved = levels.images[:, : radius + 1].sum(axis=1)
    share = _divided(levels.relevant[:, : radius + 1].sum(axis=1), retrieved, empty=0.0)
    return np.where(levels.total_relevant > 0, share, np.nan)


def ball_is_empty(levels: Levels, radius: int) -> Values:
    """1 where no image lies within the Hamming radius, else 0."""
    return np.asarray(levels.images[:, : radius + 1].sum(axis=1) == 0, float)


def precision_and_recall(levels: Levels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall up to each level, (n_queries, n_levels) each; NaN where no image is within the level."""
    retrieved, hits = np.cumsum(levels.images, axis=1), np.cumsum(levels.relevant, axis=1)
    return _divided(hits, retrieved), _divided(hits, levels.total_relevant[:, None])


def area_under_curve(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Chance that a positive image scores above a negative one; equal scores count half.

    Parameters
    ----------
    scores, positive : (n,)
        At least one image of each sort.
    """
    _, level, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2  # mean rank of a level, from 1
    n_positive = int(positive.sum())
    ranks = middle[level][positive].sum() - n_positive * (n_positive + 1) / 2
    return float(ranks / (n_positive * (len(positive) - n_positive)))


def _precision_sum(levels: Levels, k: int | None) -> NDArray[np.float64]:
    before, hits_before = _before(levels.images), _before(levels.relevant)
    counted = levels.images if k is None else np.clip(k - before, 0, levels.images)
    return _level_sum(levels.images, levels.relevant, before, hits_before, counted)


def _level_sum(
    n: NDArray[np.float64],
    r: NDArray[np.float64],
    before: NDArray[np.float64],
    hits_before: NDArray[np.float64],
    counted: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The sum in `average_precision` over the first `counted` of a level, in closed form."""
    inverse = _harmonic(before, before + counted)  # sum of 1 / t
    slope = _divided(r - 1, n - 1, empty=0.0)
    return _divided(r, n, empty=0.0) * ((hits_before + 1) * inverse + slope * (counted - (before + 1) * inverse))


def _run_of_hits(
    hits_before: NDArray[np.float64], before: NDArray[np.float64], hits: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum of (R + j) / (N + j) for j = 1 ... hits."""
    return hits - (before - hits_before) * _harmonic(before, before + hits)


def _hypergeometric(hits: int, counted: Values, r: Values, n: Values, log_factorial: NDArray[np.float64]) -> Values:
    """Chance that `counted` of n images, drawn at random, hold `hits` of the r relevant ones (if possible)."""

    def log_choose(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logarithm of the binomial coefficient, a over b."""
        a, b = np.maximum(a, 0).astype(int), np.maximum(b, 0).astype(int)
        return np.asarray(log_factorial[a] - log_factorial[np.minimum(a, b)] - log_factorial[np.maximum(a - b, 0)])

    missed = counted - hits
    return np.asarray(np.exp(log_choose(r, np.full_like(r, hits)) + log_choose(n - r, missed) - log_choose(n, counted)))


def _harmonic(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of 1 / t for t = low + 1 ... high."""
    sums = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, int(high.max(initial=0)) + 1))])
    return np.asarray(sums[high.astype(int)] - sums[low.astype(int)])


def _discounts(counts: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Sum of 1 / log2(t + 1) over the ranks of each level, cut at k."""
    sums = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, k + 2)))])
    after = np.minimum(np.cumsum(counts, axis=1), k).astype(int)
    return np.asarray(np.diff(sums[after], axis=1, prepend=0.0))


def _ideal(gains: Gains, k: int) -> Values:
    return np.asarray((gains.values * _discounts(gains.counts, k)).sum(axis=1))


def _before(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.cumsum(counts, axis=1) - counts


def _at_most(values: Values, k: int | None) -> Values:
    return values if k is None else np.minimum(values, k)


def _divided(a: NDArray[np.float64], b: NDArray[np.float64], empty: float = np.nan) -> NDArray[np.float64]:
    shape = np.broadcast_shapes(a.shape, b.shape)
    return np.asarray(np.divide(a, b, out=np.full(shape, empty), where=np.broadcast_to(b > 0, shape)))
