"""Measures of maps against regions, each beside a value computed by hand."""

import numpy as np
import pytest

from hashing.data.boxes import FindingBox, mean_mask
from hashing.evaluation.localisation import (
    best_overlap,
    centre_prior,
    energy_in_region,
    highest_part,
    pointing_hit,
)

REGION = np.array([[True, True, False], [False, False, False]])


def test_energy_is_the_share_of_positive_values_in_the_region() -> None:
    relevance = np.array([[3.0, 1.0, 2.0], [-5.0, 0.0, 2.0]])

    assert energy_in_region(relevance, REGION) == pytest.approx(4 / 8)
    assert energy_in_region(-np.abs(relevance), REGION) == pytest.approx(2 / 6)  # an even map has the region's share


def test_the_maximum_hits_or_misses_and_equal_maxima_share() -> None:
    relevance = np.array([[3.0, 1.0, 2.0], [0.0, 0.0, 0.0]])

    assert pointing_hit(relevance, REGION) == 1.0
    assert pointing_hit(-relevance, REGION) == 0.0
    assert pointing_hit(np.array([[4.0, 1.0, 4.0], [0.0, 4.0, 4.0]]), REGION) == pytest.approx(1 / 4)


def test_the_best_threshold_is_found_and_equal_values_are_taken_together() -> None:
    relevance = np.array([[3.0, 1.0, 2.0], [0.0, 0.0, 0.0]])  # 1 of 2, 1 of 3, 2 of 3, 2 of 6

    assert best_overlap(relevance, REGION) == pytest.approx(2 / 3)
    assert best_overlap(np.ones((2, 3)), REGION) == pytest.approx(2 / 6)


def test_the_prior_is_highest_in_the_middle_and_alike_on_all_sides() -> None:
    prior = centre_prior(5)

    assert pointing_hit(prior, np.arange(25).reshape(5, 5) == 12) == 1.0
    assert np.allclose(prior, prior.T)
    assert np.allclose(prior, prior[::-1])
    assert prior[2, 0] == pytest.approx(np.exp(-0.5 * (0.4 / 0.25) ** 2))


def test_the_highest_part_has_the_asked_area() -> None:
    relevance = np.array([[3.0, 1.0, 2.0], [0.0, 0.0, 0.0]])

    assert highest_part(relevance, 1 / 3).tolist() == [[True, False, True], [False, False, False]]
    assert highest_part(np.ones((2, 3)), 1 / 2).sum() == 3


def test_a_box_covers_the_pixels_whose_centres_lie_in_it_and_boxes_average() -> None:
    upper, left = FindingBox("a", "Mass", 0.0, 0.0, 1.0, 0.5), FindingBox("b", "Mass", 0.0, 0.0, 0.25, 1.0)

    assert upper.mask(4).tolist() == [[True] * 4] * 2 + [[False] * 4] * 2
    assert mean_mask([upper, left], 2).tolist() == [[0.5, 0.5], [0.0, 0.0]]
    assert mean_mask([upper, left], 8)[0, 0] == 1.0
    assert mean_mask([], 2).tolist() == [[0.0, 0.0], [0.0, 0.0]]
