"""Targets that a graph network moves."""

from math import sqrt, tanh

import numpy as np
import pytest
import torch

from hashing.methods.label_cooccurrence.target_generator import (
    TargetGenerator,
    TargetHistory,
    image_targets,
    straight_through,
    target_spread,
)

BASE = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
MIXING = torch.tensor([[0.8, 0.2], [0.0, 1.0]])


@pytest.mark.parametrize("learned", [False, True])
def test_targets_begin_as_the_fixed_targets_whatever_the_weights(learned: bool) -> None:
    generator = TargetGenerator(BASE, MIXING, 0, learned_inputs=learned)

    assert torch.equal(generator(), BASE)
    assert torch.autograd.grad(generator().sum(), generator.gamma)[0] != 0


def test_targets_are_the_fixed_ones_plus_two_graph_convolutions() -> None:
    generator = TargetGenerator(BASE, MIXING, 0, learned_inputs=False)
    first, second = np.array([[1.0, 2.0], [1.0, -1.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    with torch.no_grad():
        generator.first = torch.nn.Parameter(torch.from_numpy(first).float())
        generator.second = torch.nn.Parameter(torch.from_numpy(second).float())
        generator.gamma.fill_(0.5)

    # A Z0 = [[1, 0.6], [1, -1]]; times W0: [[1.6, 1.4], [0, 3]], of which nothing is negative; A mixes it again
    expected = BASE + 0.5 * torch.tensor([[0.8 * 1.6, 0.8 * 1.4 + 0.2 * 3.0], [0.0, 3.0]])
    assert torch.allclose(generator(), expected)


@pytest.mark.parametrize("learned", [False, True])
def test_gradients_of_the_generator_are_those_of_finite_differences(learned: bool) -> None:
    generator = TargetGenerator(BASE, MIXING, 0, learned_inputs=learned).double()
    weights = [generator.gamma, *([] if generator.inputs is None else [generator.inputs])]
    with torch.no_grad():
        generator.gamma.fill_(0.3)

    assert torch.autograd.gradcheck(lambda *_: generator(), weights)


def test_learned_inputs_begin_orthogonal_and_a_seed_gives_one_generator() -> None:
    one, same, other = (TargetGenerator(BASE, MIXING, seed, learned_inputs=True) for seed in (0, 0, 1))

    assert one.inputs is not None
    assert torch.allclose(one.inputs @ one.inputs.T, torch.eye(2), atol=1e-6)
    assert torch.equal(one.first, same.first)
    assert not torch.equal(one.first, other.first)


def test_binary_targets_are_signs_with_the_gradient_of_tanh() -> None:
    values = torch.tensor([0.0, -0.5, 2.0], requires_grad=True)

    binary = straight_through(values)
    (gradient,) = torch.autograd.grad(binary.sum(), values)

    assert binary.tolist() == [1, -1, 1]  # 0 counts as 1
    assert gradient.tolist() == pytest.approx([1 - tanh(value) ** 2 for value in (0.0, -0.5, 2.0)], rel=1e-5)


def test_an_images_target_is_the_majority_of_its_labels_and_ties_are_resolved_alike() -> None:
    labels = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])

    targets = image_targets(BASE, labels, torch.tensor([1.0, -1.0]))

    assert targets.tolist() == [[1, 1], [1, -1], [1, -1]]


def test_the_guard_is_nothing_at_the_wanted_cosines_and_gains_by_alignment() -> None:
    alike = torch.tensor([[0.0, 1.0], [1.0, 0.0]])

    assert float(target_spread(BASE, alike, 0.0)) == pytest.approx(0, abs=1e-10)
    assert float(target_spread(BASE, alike, 0.3)) == pytest.approx(2 * 0.3**2)
    assert float(target_spread(torch.ones(2, 2), alike, 0.3)) == pytest.approx(2 * 0.7**2)
    targets = torch.tensor([[1.0, 0.2], [0.5, -1.0]], dtype=torch.double, requires_grad=True)
    assert float(target_spread(targets.detach(), alike.double(), 0.3)) == pytest.approx(
        2 * (0.3 / (sqrt(1.04) * sqrt(1.25)) - 0.3) ** 2
    )
    assert torch.autograd.gradcheck(lambda values: target_spread(values, alike.double(), 0.3), targets)


def test_a_history_begins_before_training_and_has_the_last_targets_of_each_twentieth() -> None:
    history = TargetHistory(BASE)

    history.record(BASE, 0.0)
    history.record(-BASE, 0.04)
    history.record(BASE, 1.0)

    shares, bits = history.moments()
    assert shares.tolist() == [0, 0.05, 1]
    assert np.array_equal(bits[:, 0, 0], [True, False, True])
    reloaded = TargetHistory(torch.zeros_like(BASE))
    reloaded.load_state_dict(history.state_dict())
    assert np.array_equal(reloaded.moments()[1], bits)
