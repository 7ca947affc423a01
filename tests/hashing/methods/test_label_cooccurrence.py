"""The objective whose targets come from the label co-occurrence graph."""

from math import log, sqrt

import numpy as np
import pytest
import torch
from torch import Tensor

from hashing.methods.base import HeadOutputs, Setting, Targets
from hashing.methods.catalogue import TRAINED
from hashing.methods.heads import PlainHead
from hashing.methods.label_cooccurrence.objective import (
    LabelCooccurrence,
    fixed_targets,
    image_loss,
    smoothed_cross_entropy,
)
from hashing.training.loop import Learner, Schedule, TrainingBatch, fit

TARGETS = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
CODES = torch.tensor([[2.0, 0.0], [1.0, -1.0]])
LABELS = torch.tensor([[1.0, 0.0], [1.0, 1.0]])


def paired_labels(n: int = 400) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Five labels: 0 and 1 mostly together, 2 and 3 by chance, 4 ("No Finding") where there is no other."""
    rng = np.random.default_rng(0)
    labels = np.zeros((n, 5), bool)
    labels[:, 0] = rng.random(n) < 0.25
    labels[:, 1] = np.where(labels[:, 0], rng.random(n) < 0.8, rng.random(n) < 0.05)
    labels[:, 2:4] = rng.random((n, 2)) < 0.2
    labels[:, 4] = ~labels.any(axis=1)
    return labels


SETTING = Setting(16, paired_labels(), 0)


def batch(labels: Tensor, progress: float = 0.0) -> Targets:
    return Targets(labels, torch.ones_like(labels), torch.arange(len(labels)), progress)


def test_the_cross_entropy_is_the_one_computed_by_hand_and_reaches_negative_classes() -> None:
    scaled = 8 * np.array([1 / sqrt(2) - 0.2, 1 / sqrt(2)])  # of image 0, which has the first label
    of_first, of_second = (log(np.exp(scaled).sum()) - value for value in scaled)

    plain = smoothed_cross_entropy(CODES[:1], TARGETS, LABELS[:1], 0.0, 8.0, 0.2)
    smoothed = smoothed_cross_entropy(CODES[:1], TARGETS, LABELS[:1], 0.1, 8.0, 0.2)

    assert float(plain) == pytest.approx(of_first, rel=1e-5)
    assert float(smoothed) == pytest.approx(0.95 * of_first + 0.05 * of_second, rel=1e-5)


def test_images_without_a_label_have_no_loss_and_a_batch_of_them_divides_by_nothing() -> None:
    with_empty, labels = CODES[[0, 0]], torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    empty = torch.zeros(2, 2)

    alone = smoothed_cross_entropy(CODES[:1], TARGETS, LABELS[:1], 0.1, 8.0, 0.2)

    assert torch.allclose(smoothed_cross_entropy(with_empty, TARGETS, labels, 0.1, 8.0, 0.2), alone)
    assert float(smoothed_cross_entropy(CODES, TARGETS, empty, 0.1, 8.0, 0.2)) == 0
    assert float(image_loss(CODES, TARGETS, empty)) == 0
    objective = LabelCooccurrence(SETTING, eta=1.0)
    codes = torch.zeros(3, 16, requires_grad=True)  # a code of zeros has no direction
    (gradient,) = torch.autograd.grad(objective(HeadOutputs(codes), batch(torch.zeros(3, 5))), codes)
    assert torch.isfinite(gradient).all()


def test_the_loss_of_an_image_is_one_minus_the_cosine_to_its_target() -> None:
    assert float(image_loss(CODES, TARGETS, LABELS)) == pytest.approx((1 - 1 / sqrt(2) + 0) / 2, rel=1e-5)


def test_gradients_of_both_losses_are_those_of_finite_differences() -> None:
    codes, targets = CODES.double().requires_grad_(), TARGETS.double().requires_grad_()

    assert torch.autograd.gradcheck(
        lambda h, t: smoothed_cross_entropy(h, t, LABELS.double(), 0.1, 8.0, 0.2), (codes, targets)
    )
    assert torch.autograd.gradcheck(lambda h, t: image_loss(h, t, LABELS), (codes, targets))


def test_fixed_orthogonal_targets_without_smoothing_are_orthohash() -> None:
    codes = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    targets = batch(torch.from_numpy(SETTING.labels[:8]).float())

    ours = LabelCooccurrence(SETTING, "orthogonal", smoothing=0.0)(HeadOutputs(codes), targets)

    assert torch.allclose(ours, TRAINED["OrthoHash"].objective(SETTING)(HeadOutputs(codes), targets))


@pytest.mark.parametrize("code_length", [16, 32, 48, 64])
def test_targets_begin_orthogonal_for_fifteen_classes_at_each_code_length(code_length: int) -> None:
    base, tie = fixed_targets(Setting(code_length, np.eye(15, dtype=bool), 3), random=False)

    assert torch.equal(base @ base.T, code_length * torch.eye(15))
    assert tie.shape == (code_length,)
    assert set(tie.tolist()) == {-1, 1}


def test_the_whole_loss_is_the_sum_of_its_weighted_parts() -> None:
    codes = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    targets = batch(torch.from_numpy(SETTING.labels[:8]).float())

    def value(guard: float = 0.1, eta: float = 0.0) -> float:
        objective = LabelCooccurrence(SETTING, guard=guard, eta=eta)
        return float(objective(HeadOutputs(codes), targets).detach())

    objective = LabelCooccurrence(SETTING)
    wanted = 0.1 * float((0.3 * objective.similarity).square().sum())  # targets begin orthogonal
    assert value() - value(guard=0.0) == pytest.approx(wanted, rel=1e-3)
    assert wanted > 0
    votes = targets.labels @ objective.base
    own = torch.where(votes == 0, objective.tie, votes.sign())
    expected = 2 * float(image_loss(codes, own, targets.labels))
    assert value(eta=2.0) - value() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("targets", ["graph", "learned graph"])
def test_another_order_of_labels_changes_nothing(targets: str) -> None:
    order = [3, 1, 4, 0, 2]
    codes = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    labels = torch.from_numpy(SETTING.labels[:8]).float()
    one = LabelCooccurrence(SETTING, targets, eta=1.0)
    other = LabelCooccurrence(Setting(16, SETTING.labels[:, order], 0), targets, eta=1.0)
    assert one.generator is not None
    assert other.generator is not None
    with torch.no_grad():
        one.generator.gamma.fill_(0.5)
        other.generator.gamma.fill_(0.5)
        other.base.copy_(one.base[order])
        other.generator.base.copy_(one.base[order])
        if one.generator.inputs is not None and other.generator.inputs is not None:
            other.generator.inputs.copy_(one.generator.inputs[order])

    losses = [
        objective(HeadOutputs(codes), batch(part)) for objective, part in ((one, labels), (other, labels[:, order]))
    ]

    assert torch.allclose(losses[0], losses[1], rtol=1e-5)


def test_unknown_targets_and_too_many_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="choose of random, orthogonal, graph"):
        LabelCooccurrence(SETTING, "moving")
    with pytest.raises(ValueError, match="use longer codes"):
        LabelCooccurrence(Setting(16, np.eye(20, dtype=bool), 0))


def train(objective: LabelCooccurrence, labels: np.ndarray, steps: int = 100) -> list[float]:
    """Losses of a hash layer on features that show the labels, and the targets on the way."""
    rng = np.random.default_rng(1)
    features = labels @ rng.standard_normal((labels.shape[1], 12)) + 0.1 * rng.standard_normal((len(labels), 12))
    torch.manual_seed(0)
    learner = Learner(torch.nn.Identity(), PlainHead((12,), objective.base.shape[1]), objective)
    one = TrainingBatch((torch.from_numpy(features).float(),), batch(torch.from_numpy(labels).float()))
    losses = []
    hook = objective.register_forward_hook(lambda module, given, value: losses.append(float(value.detach())))
    fit(learner, Schedule(1, 0.03, 0.0, 1e-2, 0), steps, lambda epoch: [one] * steps, lambda learner: 0.0, 0)
    hook.remove()
    return losses


@pytest.mark.parametrize("targets", ["graph", "learned graph"])
def test_targets_move_without_collapse_and_rest_for_the_last_fifth(targets: str) -> None:
    objective = LabelCooccurrence(SETTING, targets)

    losses = train(objective, SETTING.labels)

    assert losses[-1] < 0.8 * losses[0]
    shares, bits = objective.history.moments()
    assert shares.tolist() == pytest.approx(np.arange(21) / 20)
    assert np.any(bits[16] != bits[0])
    assert np.all(bits[17:] == bits[17])  # moment 16 is that of the last step that moved them
    assert np.array_equal(bits[-1], objective.class_targets().detach().numpy() >= 0)
    distances = (bits[:, :, None] != bits[:, None]).sum(axis=3)  # (moments, n_labels, n_labels)
    assert distances[:, ~np.eye(5, dtype=bool)].min() >= 2
    assert distances[-1, 0, 1] < distances[0, 0, 1] == 8  # labels that occur together have come closer


def test_single_labels_train_as_on_fixed_targets_that_stay_apart() -> None:
    labels = np.eye(4, dtype=bool)[np.arange(80) % 4]
    objective = LabelCooccurrence(Setting(16, labels, 0))

    losses = train(objective, labels, steps=40)

    assert losses[-1] < losses[0]
    bits = objective.history.moments()[1][-1]
    assert ((bits[:, None] != bits).sum(axis=2) + 16 * np.eye(4)).min() >= 4


def test_a_batch_of_a_single_class_and_a_single_image_have_a_finite_loss() -> None:
    objective = LabelCooccurrence(SETTING, eta=1.0)
    for rows in (1, 6):
        codes = torch.randn(rows, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
        labels = torch.eye(5)[[4] * rows]
        value = objective(HeadOutputs(codes), batch(labels))
        assert torch.isfinite(value)
        assert torch.isfinite(torch.autograd.grad(value, codes)[0]).all()
