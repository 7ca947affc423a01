"""Which way is cheaper."""

from math import comb

import numpy as np
import pytest

from hashing.codes import hamming_distance
from storage.segments.costs import Costs, predicted_distance, scan_ns
from tests.support.storage.invented import codes


def test_a_scan_costs_more_for_more_rows_or_nearest_and_less_on_more_cores() -> None:
    assert scan_ns(10**6, 2, 1, 1) > 1.9 * scan_ns(10**6, 1, 1, 1) > 1.9 * scan_ns(10**6, 1, 2, 1)
    assert scan_ns(10**6, 1, 1, 10**4) > scan_ns(10**6, 1, 1, 500) > scan_ns(10**6, 1, 1, 1)


def test_a_step_looks_into_as_many_buckets_as_there_are_ways_to_flip_its_bits() -> None:
    costs = Costs((21, 21, 22), 10**7, inline=True)

    steps = np.diff(costs.buckets)

    assert steps[:9].tolist() == [1, 1, 1, 21, 21, 22, comb(21, 2), comb(21, 2), comb(22, 2)]
    assert costs.buckets[-1] == 2 * 2**21 + 2**22
    assert costs.steps == 3 * 23


def test_as_many_steps_are_affordable_as_the_budget_pays() -> None:
    costs = Costs((16, 16), 10**6, inline=True)

    for steps in (0, 1, 5, 10):
        budget = costs.ns(0, steps, costs.load)
        assert costs.affordable(budget * 1.001) == steps
        assert costs.affordable(budget * 0.999) == max(0, steps - 1)
    assert costs.affordable(1e18) == costs.steps
    assert costs.ns(0, 10**6, costs.load) == costs.ns(0, costs.steps, costs.load)


def test_crowded_buckets_and_codes_elsewhere_cost_more() -> None:
    costs = Costs((16, 16), 10**6, inline=True)

    assert costs.ns(0, 5, 100.0) > costs.ns(0, 5, costs.load)
    assert Costs((16, 16), 10**6, inline=False).ns(0, 5, 1.0) > costs.ns(0, 5, 1.0)


@pytest.mark.parametrize("code_length", [64, 256])
def test_the_distance_predicted_is_that_within_which_the_part_of_the_sample_lies(code_length: int) -> None:
    sample, query = codes(1000, code_length), codes(1, code_length, seed=1)[0]
    distances = np.sort(hamming_distance(query, sample))
    planes = np.ascontiguousarray(sample.T)

    for part in (1.0, 0.5, 0.1, 0.001):
        assert predicted_distance(planes, query, part) == distances[round(part * 1000) - 1]
    assert predicted_distance(planes, query, 7.0) == distances[-1]


def test_the_distance_of_fewer_rows_than_one_of_the_sample_is_predicted_as_of_unlike_codes() -> None:
    stored, k = codes(1 << 18), 5
    planes = np.ascontiguousarray(stored[:: 1 << 6].T)
    queries = codes(30, seed=1)

    found = [predicted_distance(planes, query, k / len(stored)) for query in queries]
    right = [int(np.sort(hamming_distance(query, stored))[k - 1]) for query in queries]

    assert abs(np.subtract(found, right).mean()) < 1
    assert np.subtract([predicted_distance(planes, query, 1 / 4096) for query in queries], right).mean() > 1
    assert predicted_distance(planes, queries[0], 1e-30) == 0
