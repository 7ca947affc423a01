"""Triplets of a batch: which pairs may stand in one, and which are chosen."""

import numpy as np
import pytest
import torch

from hashing.methods.base import Targets
from hashing.methods.triplet import code_distances, random_columns, semi_hard_triplets, triplet_loss, triplet_pairs

LABELS = torch.tensor([[1.0, 0, 0], [1.0, 1, 0], [0, 1.0, 1], [0, 0, 0], [1.0, 0, 0]])


def test_positives_overlap_by_half_negatives_not_at_all_and_patients_differ() -> None:
    patients = torch.tensor([0, 1, 2, 3, 0])  # the last image is of the first one's patient
    pairs = triplet_pairs(Targets(LABELS, torch.ones_like(LABELS), patients))

    assert pairs.positive.nonzero().tolist() == [[0, 1], [1, 0], [1, 4], [4, 1]]  # overlaps of 1/2
    # 1 and 2 share one label of three: neither; the image without labels is a negative of all
    assert pairs.negative.nonzero().tolist() == [
        [0, 2], [0, 3], [1, 3], [2, 0], [2, 3], [2, 4], [3, 0], [3, 1], [3, 2], [3, 4], [4, 2], [4, 3],
    ]  # fmt: skip


def test_with_one_label_each_pairs_are_alike_or_not() -> None:
    classes = torch.tensor([0, 0, 1, 2, 1])
    labels = torch.eye(3)[classes]
    pairs = triplet_pairs(Targets(labels, torch.ones_like(labels), torch.arange(5)))
    alike = classes[:, None] == classes[None]

    assert torch.equal(pairs.positive, alike & ~torch.eye(5, dtype=torch.bool))
    assert torch.equal(pairs.negative, ~alike)


def test_an_unknown_label_makes_no_pair_positive_or_negative_by_chance() -> None:
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.random((20, 4)) < 0.4).float()
    known = torch.from_numpy(rng.random((20, 4)) < 0.7).float()
    pairs = triplet_pairs(Targets(labels * known, known, torch.arange(20)))
    for seed in range(50):  # whatever the unknown labels are
        guess = torch.from_numpy(np.random.default_rng(seed).random((20, 4)) < 0.5).float()
        whole = torch.where(known > 0, labels, guess)
        certain = triplet_pairs(Targets(whole, torch.ones_like(whole), torch.arange(20)))
        assert not (pairs.positive & ~certain.positive).any()
        assert not (pairs.negative & ~certain.negative).any()
    assert pairs.positive.any()
    assert pairs.negative.any()


def test_the_hardest_positive_and_the_nearest_farther_negative_are_chosen() -> None:
    distances = torch.tensor([[0.0, 0.2, 0.4, 0.3, 0.5, 0.9], [0.0, 0.2, 0.8, 0.3, 0.5, 0.7]])
    positive = torch.tensor([[False, True, True, False, False, False]] * 2)
    negative = torch.tensor([[False, False, False, True, True, True]] * 2)

    hardest, chosen = semi_hard_triplets(distances, positive, negative)

    assert hardest.tolist() == [2, 2]
    assert chosen.tolist() == [4, 5]  # farther than .4 by the least; none is farther than .8, so the farthest


def test_collapsed_codes_cost_the_margin_and_codes_apart_nothing() -> None:
    labels = torch.eye(2).repeat(2, 1)
    pairs = triplet_pairs(Targets(labels, torch.ones_like(labels), torch.arange(4)))
    apart = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]).repeat(2, 1)

    for selection in ("semi-hard", "random"):
        assert float(triplet_loss(torch.ones(4, 2), pairs, 0.25, selection)) == pytest.approx(0.25)
        assert float(triplet_loss(apart, pairs, 0.25, selection)) == 0
        assert float(triplet_loss(apart, pairs, 1.25, selection)) == pytest.approx(0.25)


def test_distances_are_the_share_of_bits_that_differ() -> None:
    codes = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 1.0, 1.0], [-1.0, -1.0, -1.0, -1.0]])

    assert code_distances(codes).tolist() == [[0, 0.25, 1], [0.25, 0, 0.75], [1, 0.75, 0]]


def test_a_random_column_is_one_of_the_mask_and_each_comes_up() -> None:
    torch.manual_seed(0)
    mask = torch.tensor([[True, False, True, True]]).repeat(200, 1)

    assert set(random_columns(mask).tolist()) == {0, 2, 3}
