"""Retrieval measures that do not depend on the order of equal distances.

A Hamming ranking puts many images at one distance; any order among them would invent a result. Each measure is the
expectation over random orders within ties (McSherry and Najork, ECIR 2008).
"""

import numpy as np
from numpy.typing import NDArray


def average_precision(distances: NDArray[np.integer], relevant: NDArray[np.bool_]) -> float:
    """Expected average precision of one query.

    With N and R items and relevant items before a distance level of n items, r of them relevant, the level adds
    (r / n) sum_t [R + 1 + (t - N - 1)(r - 1) / (n - 1)] / t over t = N + 1 ... N + n, and the sum is divided by all
    relevant items.

    Parameters
    ----------
    distances : (n,)
        Hamming distances of the database images, bits.
    relevant : (n,)
        Which of them are relevant; at least one.

    Raises
    ------
    ValueError
        Nothing is relevant: leave the query out and count it.
    """
    if not relevant.any():
        raise ValueError("no relevant image: leave the query out and count it")
    counts = np.bincount(distances)
    hits = np.bincount(distances, weights=relevant)
    before, hits_before = np.cumsum(counts) - counts, np.cumsum(hits) - hits
    level = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(1, len(distances) + 1)
    within = place - before[level] - 1
    slope = np.divide(hits - 1, counts - 1, out=np.zeros(len(counts)), where=counts > 1)
    terms = hits[level] / counts[level] * (hits_before[level] + 1 + within * slope[level]) / place
    return float(terms.sum() / relevant.sum())


def bootstrap_interval(
    values: NDArray[np.float64], groups: NDArray[np.str_], rng: np.random.Generator, draws: int = 2000
) -> tuple[float, float]:
    """95 % interval of a mean over queries, by resampling groups (patients) with replacement.

    Parameters
    ----------
    values, groups : (n_queries,)
        The measure and the patient of each query.
    """
    _, group = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(group, weights=values), np.bincount(group)
    drawn = rng.integers(len(sums), size=(draws, len(sums)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)
