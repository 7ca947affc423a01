"""Intervals over patients, paired differences, and many comparisons at once."""

import numpy as np
import pytest

from hashing.evaluation.uncertainty import Resampling, holm


def test_the_interval_covers_the_mean_and_widens_with_clusters() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(50), 10).astype(str)
    values = np.repeat(rng.random(50), 10)

    clustered = Resampling(patients, np.random.default_rng(1)).estimate(values)
    single = Resampling(np.arange(500).astype(str), np.random.default_rng(1)).estimate(values)

    assert clustered.low < values.mean() < clustered.high
    assert clustered.high - clustered.low > 2 * (single.high - single.low)


def test_a_small_difference_is_seen_when_queries_are_paired() -> None:
    rng = np.random.default_rng(0)
    patients, values = np.arange(200).astype(str), rng.random(200)
    better = values + 0.01 + 0.01 * rng.standard_normal(200)

    gap = Resampling(patients, rng).difference(better, values)
    nothing = Resampling(patients, rng).difference(values + 0.01 * rng.standard_normal(200), values)

    assert 0 < gap.low < gap.value < gap.high
    assert gap.p < 0.01
    assert nothing.low < 0 < nothing.high
    assert nothing.p > 0.05


def test_queries_without_a_value_are_left_out() -> None:
    resampling = Resampling(np.array(["a", "b", "c"]), np.random.default_rng(0))

    assert resampling.estimate(np.array([1.0, np.nan, 3.0])).value == 2.0


def test_a_macro_average_gives_a_rare_label_the_same_weight() -> None:
    labels = np.array([[True, False]] * 9 + [[False, True]])
    values = np.array([1.0] * 9 + [0.0])

    macro = Resampling(np.arange(10).astype(str), np.random.default_rng(0)).macro_estimate(values, labels)

    assert macro.value == pytest.approx(0.5)


def test_holm_multiplies_the_smallest_most_and_keeps_the_order() -> None:
    assert holm(np.array([0.03, 0.01, 0.04])) == pytest.approx([0.06, 0.03, 0.06])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])
