"""Sections at near levels get near codes: which sections are compared, and what the loss is worth."""

from math import exp, log1p

import pytest
import torch

from hashing.methods.base import HeadOutputs, Targets
from hashing.methods.union.level_order import LevelOrder

KIND = [1.0, 0.0]


def loss(levels: list[float], patients: list[int], relaxed: list[list[float]], kinds: list[list[float]]) -> float:
    labels = torch.tensor(kinds)
    targets = Targets(labels, torch.ones_like(labels), torch.tensor(patients), levels=torch.tensor(levels))
    return float(LevelOrder(2, n_kinds=2, margin=0.1, scale=2.0)(HeadOutputs(torch.tensor(relaxed)), targets))


def test_the_nearer_level_shall_have_the_nearer_code() -> None:
    codes = [[9.0, 9.0], [9.0, 9.0], [-9.0, -9.0]]

    # each of the outer sections has the middle one as the nearer, the middle one has both: 0-1 .2 and 1-2 .6
    value = loss([0.0, 0.2, 0.8], [0, 1, 2], codes, [KIND] * 3)

    right, even = log1p(exp(-4.0)), log1p(exp(0.0))  # margins 2 - (-2); section 2 has both at -2
    assert value == pytest.approx((right + right + even) / 3, rel=1e-5)


@pytest.mark.parametrize(
    ("levels", "patients", "kinds"),
    [
        pytest.param([0.0, 0.2, float("nan")], [0, 1, 2], [KIND] * 3, id="a level is not known"),
        pytest.param([0.0, 0.2, 0.8], [0, 1, 1], [KIND, KIND, [0.0, 1.0]], id="another kind"),
        pytest.param([0.0, 0.2, 0.8], [0, 0, 0], [KIND] * 3, id="one patient"),
        pytest.param([0.0, 0.2, 0.25], [0, 1, 2], [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], id="too little apart"),
    ],
)
def test_sections_that_cannot_be_compared_do_not_count(
    levels: list[float], patients: list[int], kinds: list[list[float]]
) -> None:
    assert loss(levels, patients, [[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]], kinds) == 0.0


def test_without_levels_there_is_no_loss() -> None:
    labels = torch.ones(2, 2)

    assert float(LevelOrder(2, 2)(HeadOutputs(torch.ones(2, 2)), Targets(labels, labels, torch.arange(2)))) == 0.0
