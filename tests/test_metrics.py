"""Measures that do not depend on the order of equal distances."""

from collections.abc import Callable
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashing.codes import pack
from hashing.evaluation import metrics
from hashing.evaluation.ranking import Levels, by_hamming_distance, by_score, grade

Order = list[tuple[int, int]]
"""(labels shared with the query, labels of either) of each image, nearest first."""


def levels_of(distances: list[int], shared: list[int], extra: list[int] | None = None) -> Levels:
    """Levels of one query with three labels; image i shares shared[i] of them and has extra[i] others."""
    extra = extra or [0] * len(shared)
    images = np.array(
        [
            [place < n for place in range(3)] + [place < e for place in range(2)]
            for n, e in zip(shared, extra, strict=True)
        ]
    )
    query = np.array([[True, True, True, False, False]])
    grades = grade(query, images, np.array(["asks"]), np.array([f"p{i}" for i in range(len(images))]))
    return by_score(np.array(distances, float), 0, grades)


def ties_averaged(distances: list[int], measure: Callable[[list[int]], float]) -> float:
    """Mean of a plain measure over all orders that sort the distances."""
    return float(np.mean([measure(order) for order in sorting_orders(distances)]))


def sorting_orders(distances: list[int]) -> list[list[int]]:
    return [
        list(order)
        for order in permutations(range(len(distances)))
        if all(distances[a] <= distances[b] for a, b in pairwise(order))
    ]


def test_one_level_of_three_with_one_relevant_is_eleven_eighteenths() -> None:
    assert metrics.average_precision(levels_of([0, 0, 0], [1, 0, 0])) == pytest.approx([11 / 18])


def test_two_levels_of_two_with_one_relevant_each_are_two_thirds() -> None:
    assert metrics.average_precision(levels_of([0, 0, 5, 5], [1, 0, 1, 0])) == pytest.approx([2 / 3])


def test_gains_of_three_and_nothing_on_one_level_have_half_the_ideal_at_one() -> None:
    assert metrics.discounted_gain(levels_of([0, 0], [2, 0]), 1) == pytest.approx([1 / 2])


def plain_average_precision(hits: NDArray[np.bool_], k: int, denominator: int) -> float:
    precisions = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precisions[:k][hits[:k]].sum() / denominator) if denominator else 0.0


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=6),
    st.integers(1, 7),
)
@settings(deadline=None, max_examples=60)
def test_every_measure_is_its_plain_form_averaged_over_all_orders_of_ties(
    images: list[tuple[int, int, int]], k: int
) -> None:
    distances, shared, extra = (list(column) for column in zip(*images, strict=True))
    levels = levels_of(distances, shared, extra)
    relevant, total = np.array(shared) > 0, int(np.count_nonzero(shared))
    overlap = np.array(shared) / (3 + np.array(extra))
    if not total:
        assert np.isnan(metrics.average_precision(levels))
        assert np.isnan(metrics.discounted_gain(levels, k))
        return

    def discounted(gains: NDArray[np.float64]) -> Callable[[list[int]], float]:
        weights = 1 / np.log2(np.arange(2, len(gains) + 2))
        best = (np.sort(gains)[::-1] * weights)[:k].sum()
        return lambda order: float((gains[order] * weights)[:k].sum() / best)

    expected = {
        "ap": lambda order: plain_average_precision(relevant[order], len(order), total),
        "ap@k": lambda order: plain_average_precision(relevant[order], k, min(total, k)),
        "found": lambda order: plain_average_precision(relevant[order], k, int(relevant[order][:k].sum())),
        "ndcg": discounted(2.0 ** np.array(shared) - 1),
        "overlap": discounted(overlap),
        "p@k": lambda order: relevant[order][:k].sum() / k,
    }
    found = {
        "ap": metrics.average_precision(levels),
        "ap@k": metrics.average_precision(levels, k),
        "found": metrics.legacy_average_precision_found(levels, k),
        "ndcg": metrics.discounted_gain(levels, k),
        "overlap": metrics.discounted_gain(levels, k, "overlap"),
        "p@k": metrics.precision(levels, k),
    }
    for name, plain in expected.items():
        assert found[name][0] == pytest.approx(ties_averaged(distances, plain), abs=1e-9), name


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=6))
@settings(deadline=None, max_examples=40)
def test_the_band_holds_the_worst_and_the_best_order_of_ties(images: list[tuple[int, int]]) -> None:
    distances, shared = (list(column) for column in zip(*images, strict=True))
    relevant = np.array(shared) > 0
    if not relevant.any():
        return
    values = [plain_average_precision(relevant[order], 6, relevant.sum()) for order in sorting_orders(distances)]

    low, high = metrics.average_precision_band(levels_of(distances, shared))

    assert (low[0], high[0]) == pytest.approx((min(values), max(values)), abs=1e-9)


def random_case(n_bits: int = 16, n_images: int = 300) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.str_]]:
    rng = np.random.default_rng(0)
    bits, labels = rng.random((n_images, n_bits)) < 0.5, rng.random((n_images, 6)) < 0.3
    return bits, labels, np.array([f"patient {number}" for number in rng.integers(0, 60, n_images)])


def all_measures(levels: Levels) -> NDArray[np.float64]:
    low, high = metrics.average_precision_band(levels)
    return np.stack(
        [
            metrics.average_precision(levels),
            metrics.average_precision(levels, 10),
            metrics.discounted_gain(levels, 100),
            metrics.precision(levels, 10),
            metrics.legacy_average_precision_found(levels, 10),
            low,
            high,
        ]
    )


def test_shuffling_the_database_changes_no_number() -> None:
    bits, labels, groups = random_case()
    order = np.random.default_rng(1).permutation(np.arange(50, 300))

    def measured(images: NDArray[np.int64]) -> NDArray[np.float64]:
        grades = grade(labels[:50], labels[images], groups[:50], groups[images])
        (levels,) = by_hamming_distance(pack(bits[:50]), pack(bits[images]), grades)
        return np.concatenate([all_measures(levels), [metrics.precision_within(levels, 2)]])

    assert np.array_equal(measured(np.arange(50, 300)), measured(order), equal_nan=True)


def test_codes_and_scores_of_equal_distances_measure_the_same() -> None:
    bits, labels, groups = random_case(n_bits=80)
    grades = grade(labels[:50], labels, groups[:50], groups)
    (counted,) = by_hamming_distance(pack(bits[:50]), pack(bits), grades)
    distances = (bits[:50, None] != bits[None]).sum(axis=2)

    sorted_ones = [all_measures(by_score(distances[query].astype(float), query, grades)) for query in range(50)]

    assert np.allclose(all_measures(counted), np.concatenate(sorted_ones, axis=1), atol=1e-12, equal_nan=True)


def test_no_image_of_the_querying_patient_is_counted() -> None:
    bits, labels, groups = random_case(n_images=200)
    (levels,) = by_hamming_distance(pack(bits), pack(bits), grade(labels, labels, groups, groups))

    others = (groups[:, None] != groups[None]).sum(axis=1)

    assert np.array_equal(levels.images.sum(axis=1), others)


def test_precision_within_a_radius_is_zero_where_the_ball_is_empty() -> None:
    levels = by_hamming_distance(
        pack(np.zeros((2, 16), bool)),
        pack(np.array([[True] * 3 + [False] * 13, [True] * 2 + [False] * 14])),
        grade(
            np.eye(2, dtype=bool), np.array([[True, False], [False, True]]), np.array(["a", "b"]), np.array(["c", "d"])
        ),
    )
    (counted,) = levels

    assert metrics.precision_within(counted, 2).tolist() == [0.0, 1.0]
    assert metrics.ball_is_empty(counted, 2).tolist() == [0.0, 0.0]
    assert metrics.ball_is_empty(counted, 1).tolist() == [1.0, 1.0]


def test_precision_and_recall_grow_to_everything() -> None:
    precision, recall = metrics.precision_and_recall(levels_of([0, 1, 1], [1, 0, 2]))

    assert precision.tolist() == [[1.0, 2 / 3]]
    assert recall.tolist() == [[0.5, 1.0]]


def test_the_area_under_the_curve_counts_equal_scores_half() -> None:
    scores, positive = np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True])

    assert metrics.area_under_curve(scores, positive) == pytest.approx(3.5 / 4)
