"""Intervals of means over queries. Images of one patient are alike, so patients are resampled, not images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference of two means, its 95 % interval, and its two-sided p value.

    Attributes
    ----------
    p_is_bound
        Whether all draws have the same sign: the p value is then an upper bound that more draws would lower.
    """

    value: float
    low: float
    high: float
    p: float
    p_is_bound: bool = False


class Resampling:
    """Draws of patients with replacement, the same for every measure and method: differences are paired.

    Parameters
    ----------
    groups : (n_queries,)
        Patient of each query, or the patient-like block that stands for one.
    """

    def __init__(self, groups: NDArray[np.str_], rng: np.random.Generator, draws: int = DRAWS) -> None:
        _, self.group = np.unique(groups, return_inverse=True)
        patients = int(self.group.max()) + 1
        self.weights = rng.multinomial(patients, np.full(patients, 1 / patients), size=draws).astype(np.float64)

    def estimate(self, values: NDArray[np.float64]) -> Estimate:
        """Mean of values (n_queries,) that are not NaN, and its interval."""
        low, high = np.nanpercentile(self.means(values), (2.5, 97.5))
        return Estimate(float(np.nanmean(values)), float(low), float(high))

    def macro_estimate(self, values: NDArray[np.float64], labels: NDArray[np.bool_]) -> Estimate:
        """Mean over labels of the mean over the queries that carry the label, (n_queries, n_labels)."""
        carried = labels[:, (labels & ~np.isnan(values)[:, None]).any(axis=0)]
        by_label = np.where(carried, values[:, None], np.nan)
        means = np.stack([self.means(column) for column in by_label.T])
        low, high = np.nanpercentile(np.nanmean(means, axis=0), (2.5, 97.5))
        return Estimate(float(np.nanmean(by_label, axis=0).mean()), float(low), float(high))

    def difference(self, ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Difference:
        """Mean of ours - theirs over the same queries."""
        means = self.means(ours - theirs)
        low, high = np.percentile(means, (2.5, 97.5))
        tail = int(min((means <= 0).sum(), (means >= 0).sum()))
        value = float(np.nanmean(ours - theirs))
        return Difference(value, float(low), float(high), min(1.0, 2 * (tail + 1) / (len(means) + 1)), tail == 0)

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of each draw, (draws,); NaN for a draw without a query that has a value."""
        known = ~np.isnan(values)
        sums = np.bincount(self.group, weights=np.where(known, values, 0.0))
        sizes = self.weights @ np.bincount(self.group, weights=known)
        return np.asarray(np.divide(self.weights @ sums, sizes, out=np.full(len(sizes), np.nan), where=sizes > 0))


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """P values adjusted for their number (Holm, Scand J Stat 1979): the k-th smallest times (n - k + 1), ascending."""
    order = np.argsort(p_values)
    adjusted = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    result = np.empty(len(p_values))
    result[order] = np.minimum(adjusted, 1.0)
    return result
