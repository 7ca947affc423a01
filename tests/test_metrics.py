"""Measures that do not depend on the order of equal distances."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashing.metrics import average_precision, bootstrap_interval


def test_one_level_of_three_with_one_relevant_is_eleven_eighteenths() -> None:
    assert average_precision(np.zeros(3, int), np.array([True, False, False])) == pytest.approx(11 / 18)


def test_two_levels_of_two_with_one_relevant_each_are_two_thirds() -> None:
    relevant = np.array([True, False, True, False])

    assert average_precision(np.array([0, 0, 5, 5]), relevant) == pytest.approx(2 / 3)


def naive(distances: list[int], relevant: list[bool]) -> float:
    """Mean of plain average precision over all orders that sort the distances."""
    values = []
    for order in permutations(range(len(distances))):
        if all(distances[a] <= distances[b] for a, b in pairwise(order)):
            hits = np.array([relevant[place] for place in order])
            precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
            values.append(precision[hits].mean())
    return float(np.mean(values))


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=6))
@settings(deadline=None)
def test_average_precision_is_the_mean_over_all_orders_of_ties(images: list[tuple[int, bool]]) -> None:
    distances, relevant = [image[0] for image in images], [image[1] for image in images]
    if not any(relevant):
        with pytest.raises(ValueError, match="leave the query out"):
            average_precision(np.array(distances), np.array(relevant))
        return

    assert average_precision(np.array(distances), np.array(relevant)) == pytest.approx(naive(distances, relevant))


def test_the_interval_covers_the_mean_and_widens_with_clusters() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(50), 10).astype(str)
    values = np.repeat(rng.random(50), 10)

    clustered = bootstrap_interval(values, patients, np.random.default_rng(1))
    single = bootstrap_interval(values, np.arange(500).astype(str), np.random.default_rng(1))

    assert clustered[0] < values.mean() < clustered[1]
    assert clustered[1] - clustered[0] > 2 * (single[1] - single[0])
