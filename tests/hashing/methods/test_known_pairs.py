"""Pairs of images whose sets do not know each other's labels: what counts, and how much."""

from math import exp, log1p

import pytest
import torch
from torch import Tensor

from hashing.methods.base import HeadOutputs, Targets
from hashing.methods.known_pairs import Agreement, KnownPairLikelihood

CHEST, HEAD = [1.0, 0.0], [0.0, 1.0]


def targets(rows: list[tuple[list[float], list[float], list[float], int]]) -> Targets:
    """Targets of images by labels, kind, known labels and patient."""
    labels = torch.tensor([[*of_labels, *kind] for of_labels, kind, _, _ in rows])
    known = torch.tensor([[*of_labels, 1.0, 1.0] for _, _, of_labels, _ in rows])
    return Targets(labels, known, torch.tensor([patient for *_, patient in rows]))


def loss(relaxed: list[list[float]], known: Targets, balance: float = 0.0) -> float:
    objective = KnownPairLikelihood(2, n_kinds=2, scale=2.0, balance=balance, eta=0.0)
    return float(objective(HeadOutputs(torch.tensor(relaxed, dtype=torch.float32)), known))


def alike(logit: float) -> float:
    return log1p(exp(-logit))


def test_the_three_means_weigh_the_same() -> None:
    known = targets(
        [
            ([1, 0], CHEST, [1, 1], 0),
            ([1, 0], CHEST, [1, 1], 1),
            ([0, 1], CHEST, [1, 1], 2),
            ([0, 1], HEAD, [1, 1], 3),
        ]
    )

    value = loss([[1, 1], [1, 1], [1, -1], [-1, -1]], known)

    # alike: 0-1, logit 2. Unlike: 0-2 and 1-2, logit 0. Of different kinds: 0-3 and 1-3, logit -2, 2-3, logit 0.
    other_kinds = (2 * alike(2) + alike(0)) / 3
    assert value == pytest.approx((alike(2) + alike(0) + other_kinds) / 3, rel=1e-5)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(([1.0, 0.0], CHEST, [1.0, 1.0], 0), id="one patient"),
        pytest.param(([0.0, 0.0], CHEST, [0.0, 0.0], 1), id="a set that knows no label"),
        pytest.param(([0.0, 1.0], CHEST, [0.0, 1.0], 1), id="a set that knows another label"),
    ],
)
def test_a_pair_of_which_nothing_is_known_does_not_count(
    other: tuple[list[float], list[float], list[float], int],
) -> None:
    known = targets([([1.0, 0.0], CHEST, [1.0, 0.0], 0), other])

    assert loss([[1, 1], [1, 1]], known) == 0
    assert loss([[1, 1], [-1, -1]], known) == 0


def test_balance_lets_rare_labels_count_as_much_as_frequent_ones() -> None:
    frequent = [([1.0, 0.0], CHEST, [1.0, 1.0], patient) for patient in range(6)]
    rare = [([0.0, 1.0], CHEST, [1.0, 1.0], patient) for patient in range(6, 8)]
    known = targets([*frequent, *rare])
    rare_apart = [[1.0, 1.0]] * 6 + [[1.0, -1.0], [-1.0, 1.0]]

    assert loss(rare_apart, known, balance=1.0) > loss(rare_apart, known, balance=0.0)


def test_the_loss_falls_where_codes_of_alike_images_come_together() -> None:
    known = targets([([1.0, 0.0], CHEST, [1.0, 1.0], 0), ([1.0, 0.0], CHEST, [1.0, 1.0], 1)])
    relaxed = torch.tensor([[1.0, -0.5], [-0.2, 0.3]], dtype=torch.float64, requires_grad=True)
    objective = KnownPairLikelihood(2, n_kinds=2)

    def value(codes: Tensor) -> Tensor:
        loss: Tensor = objective(HeadOutputs(codes), known)
        return loss

    assert torch.autograd.gradcheck(value, (relaxed,))


def test_variations_of_one_image_agree_where_their_codes_are_equal() -> None:
    codes = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    unread = Targets(torch.empty(0), torch.empty(0), torch.empty(0))

    assert Agreement()(HeadOutputs(codes.repeat(2, 1)), unread) == 0
    assert Agreement()(HeadOutputs(torch.cat([codes, codes.flip(0)])), unread) > 0.1


def test_a_graded_pair_weighs_by_the_overlap_of_its_labels() -> None:
    labels = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    known = Targets(labels, torch.ones(3, 3), torch.arange(3))
    codes = HeadOutputs(torch.tensor([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]))

    graded = KnownPairLikelihood(2, n_kinds=1, scale=2.0, balance=0.0, eta=0.0, graded=True)

    # alike: 0-1 and 0-2 overlap by a half, 1-2 wholly; logits 0, 2 and 0. No pair is unlike, none of different kinds.
    expected = (0.5 * alike(0) + 0.5 * alike(2) + 1.0 * alike(0)) / 2
    assert float(graded(codes, known)) == pytest.approx(expected / 3, rel=1e-5)


def test_without_kinds_all_images_are_of_one() -> None:
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    known = Targets(labels, torch.ones(3, 2), torch.arange(3))
    codes = HeadOutputs(torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, -1.0]]))

    value = float(KnownPairLikelihood(2, n_kinds=0, scale=2.0, balance=0.0, eta=0.0)(codes, known))

    assert value == pytest.approx((alike(2) + alike(0)) / 3, rel=1e-5)
