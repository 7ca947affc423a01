"""Semantic-attention hashing: each term against values computed by hand, and a head that learns where to look."""

from math import cosh, exp, log, log1p, sqrt, tanh

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hashing.codes import pack
from hashing.evaluation.judgement import judge
from hashing.evaluation.protocol import GroundTruth, by_codes, task
from hashing.methods.base import HeadOutputs, Setting, Targets
from hashing.methods.catalogue import TRAINED
from hashing.methods.semantic_attention import (
    AttentionHead,
    SemanticAttentionLoss,
    attention,
    gate,
    image_logits,
    positive_weights,
)
from hashing.training.loop import Learner, Schedule, TrainingBatch, fit

LABELS = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])  # 0 and 1 share a label, so do 1 and 2
CODES = torch.tensor([[2.0, 0.0], [1.0, -1.0], [0.0, 1.0]])
LOGITS = torch.tensor([[0.5, -1.0], [2.0, 0.0], [-0.5, 1.0]])
SETTING = Setting(2, np.array([[True, False], [False, True]]), 0)  # half of its pairs are similar
WIDTHS = {"guided": 384, "unguided": 384, "local": 128, "global": 256}
"""Width of the hash input of each ablation."""


def targets(labels: Tensor = LABELS, progress: float = 1.0) -> Targets:
    return Targets(labels, torch.ones_like(labels), torch.arange(len(labels)), progress)


def loss_of(relaxed: Tensor, about: Targets, logits: Tensor = LOGITS, /, **options: float) -> Tensor:
    value: Tensor = SemanticAttentionLoss(SETTING, **options)(HeadOutputs(relaxed, logits), about)
    return value


def test_evidence_is_pooled_between_its_mean_and_its_maximum() -> None:
    evidence = torch.tensor([0.0, 1.0, 0.5, -2.0]).view(1, 1, 2, 2)

    pooled = float(image_logits(evidence))

    assert pooled == pytest.approx(log((exp(0) + exp(5) + exp(2.5) + exp(-10)) / 4) / 5, rel=1e-6)
    assert float(evidence.mean()) < pooled < 1.0
    assert image_logits(300 * evidence).isfinite().all()


def test_attention_sums_to_one_over_positions_and_follows_the_evidence() -> None:
    evidence = torch.tensor([[0.0, log(3.0)], [1.0, 1.0]]).view(1, 2, 1, 2)

    assert attention(evidence).flatten().tolist() == pytest.approx([0.25, 0.75, 0.5, 0.5])


def test_the_gate_shares_probabilities_and_passes_no_gradient() -> None:
    logits = torch.tensor([[log(3.0), 0.0, -200.0], [-300.0, -300.0, -301.0]], requires_grad=True)  # p: 3/4, 1/2, 0

    shares = gate(logits)

    assert not shares.requires_grad
    assert shares[0].tolist() == pytest.approx([0.6, 0.4, 0.0])
    assert shares[1].tolist() == pytest.approx([1 / (2 + exp(-1))] * 2 + [exp(-1) / (2 + exp(-1))])


def test_the_guided_descriptor_is_the_gated_sum_of_projections_of_attended_maps() -> None:
    torch.manual_seed(0)
    head, maps = AttentionHead((3,), 4, 2).eval(), torch.randn(2, 3, 2, 2)

    outputs = head((maps,))

    assert outputs.evidence is not None
    assert outputs.logits is not None
    assert outputs.features is not None
    assert head.local_layer is not None
    assert head.global_layer is not None
    scaled, local = maps / sqrt(1 + 1e-4), torch.zeros(2, 128)  # untrained statistics: mean 0, variance 1
    for image in range(2):
        for label in range(2):
            weights = outputs.evidence[image, label].exp() / outputs.evidence[image, label].exp().sum()
            attended = (weights[None] * scaled[image]).sum(dim=(1, 2))
            share = torch.sigmoid(outputs.logits[image, label]) / torch.sigmoid(outputs.logits[image]).sum()
            local[image] += share * head.local_layer(attended).clamp(min=0)
    wide = nn.functional.layer_norm(head.global_layer(scaled.mean(dim=(2, 3))), (256,))
    expected = torch.cat([wide, nn.functional.layer_norm(local, (128,))], dim=1)
    assert torch.allclose(outputs.features, expected, atol=1e-5)


@pytest.mark.parametrize(("inputs", "width"), list(WIDTHS.items()))
@pytest.mark.parametrize("hidden", [0, 8])
def test_each_ablation_feeds_the_hash_layer_with_its_descriptors_alone(inputs: str, width: int, hidden: int) -> None:
    head = AttentionHead((6,), 16, 3, inputs, hidden)  # type: ignore[arg-type]

    outputs = head((torch.randn(4, 6, 5, 7),))
    again = AttentionHead((6,), 16, 3, **head.options)

    assert outputs.relaxed.shape == (4, 16)
    assert outputs.logits is not None
    assert outputs.evidence is not None
    assert outputs.features is not None
    assert (outputs.logits.shape, outputs.evidence.shape) == ((4, 3), (4, 3, 5, 7))
    assert outputs.features.shape == (4, width)
    assert again.load_state_dict(head.state_dict())
    losses = SemanticAttentionLoss(Setting(16, np.eye(3, dtype=bool), 0))(outputs, targets(torch.eye(4)[:, :3]))
    losses.backward()
    assert {name for name, weight in head.named_parameters() if weight.grad is None} == set()


def test_a_head_without_labels_or_with_unknown_inputs_is_refused_with_the_choice() -> None:
    with pytest.raises(ValueError, match="n_labels is 0"):
        AttentionHead((6,), 16)
    with pytest.raises(ValueError, match="choose of guided, unguided, local, global"):
        AttentionHead((6,), 16, 3, "both")  # type: ignore[arg-type]


def test_pairs_weigh_by_overlap_and_rarity_in_training_and_codes_are_sharpened_by_the_share_done() -> None:
    options = {"prior": 0.0, "classifying": 0.0, "final": 4.0, "warm_up": 0.2}
    values = [float(loss_of(CODES, targets(progress=done), **options)) for done in (0.2, 0.36, 1.0)]

    def expected(factor: float) -> float:
        codes = np.tanh(factor * CODES.numpy())
        one, two, three = codes[0] @ codes[1], codes[1] @ codes[2], codes[0] @ codes[2]
        # similar pairs weigh overlap 1/2 over share 1/2, the other 1 over 1/2; scale 10 / K = 5
        return float((log1p(exp(-5 * one)) + log1p(exp(-5 * two)) + 2 * log1p(exp(5 * three))) / 4)

    assert values == pytest.approx([expected(1.0), expected(2.0), expected(4.0)], rel=1e-5)


def test_the_prior_and_the_weighted_classifier_are_added() -> None:
    alone = float(loss_of(CODES, targets(), prior=0.0, classifying=0.0, final=1.0))
    prior = float(loss_of(CODES, targets(), prior=1.0, classifying=0.0, final=1.0)) - alone
    classifying = float(loss_of(CODES, targets(), prior=0.0, classifying=1.0, final=1.0)) - alone

    assert prior == pytest.approx(np.mean([log(cosh(tanh(abs(x)) - 1)) for x in CODES.flatten().tolist()]), rel=1e-4)
    softplus = [[log1p(exp(-0.5)), log1p(exp(-1.0))], [log1p(exp(-2.0)), log(2)], [log1p(exp(-0.5)), log1p(exp(-1.0))]]
    assert classifying == pytest.approx(np.mean(softplus), rel=1e-4)  # each label as frequent as not: weight 1


def test_rare_labels_weigh_their_ratio_and_at_most_ten() -> None:
    labels = np.zeros((44, 4), bool)
    labels[:11, 0] = labels[:22, 1] = labels[:1, 2] = True

    assert positive_weights(labels).tolist() == [3.0, 1.0, 10.0, 10.0]


def test_the_classifier_learns_alone_in_the_warm_up() -> None:
    head = AttentionHead((6,), 16, 3)
    loss = SemanticAttentionLoss(Setting(16, np.eye(3, dtype=bool), 0), warm_up=0.1)

    loss(head((torch.randn(4, 6, 2, 2),)), targets(torch.eye(4)[:, :3], progress=0.05)).backward()

    learning = {name.split(".")[0] for name, weight in head.named_parameters() if weight.grad is not None}
    assert learning == {"classifier"}


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_gradients_are_those_of_the_values(progress: float) -> None:
    generator = torch.Generator().manual_seed(1)
    codes, logits = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    labels = torch.tensor([[1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]], dtype=torch.float64)
    loss = SemanticAttentionLoss(Setting(4, labels.bool().numpy(), 0), final=2.0).double()

    def value(relaxed: Tensor, of_labels: Tensor) -> Tensor:
        result: Tensor = loss(HeadOutputs(relaxed, of_labels), targets(labels, progress))
        return result

    assert torch.autograd.gradcheck(value, (codes.requires_grad_(), logits.requires_grad_()))


def test_gradients_of_the_head_reach_its_maps_through_the_attention() -> None:
    torch.manual_seed(0)
    head = AttentionHead((3,), 2, 2).double().eval()
    head.requires_grad_(requires_grad=False)
    maps = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    shares = gate(torch.zeros(2, 2, dtype=torch.float64))

    def local(values: Tensor) -> Tensor:
        descriptors = attention(head.classifier(values)).flatten(2) @ values.flatten(2).transpose(1, 2)
        return (shares[:, :, None] * descriptors).sum(dim=1)

    assert torch.autograd.gradcheck(local, (maps,))
    assert torch.autograd.gradcheck(lambda values: image_logits(head.classifier(values)), (maps,))


@pytest.mark.parametrize(
    "labels",
    [torch.zeros(3, 2), torch.ones(3, 2), torch.eye(3)[:, :2]],
    ids=["no labels at all", "one class", "no similar pair"],
)
def test_batches_without_similar_or_dissimilar_pairs_give_finite_losses_and_gradients(labels: Tensor) -> None:
    for codes in (CODES, torch.zeros(3, 2), torch.full((3, 2), 1e4)):
        relaxed = codes.clone().requires_grad_()

        value = loss_of(relaxed, targets(labels))
        (gradient,) = torch.autograd.grad(value, relaxed)

        assert value.isfinite()
        assert gradient.isfinite().all()


def test_images_of_one_patient_alone_leave_the_classifier_only() -> None:
    same = targets()._replace(patients=torch.zeros(3))

    assert loss_of(CODES, same, prior=0.0) == loss_of(CODES, targets(progress=0.0), prior=0.0)


def test_codes_that_collapse_cost_more_than_codes_that_tell_labels_apart() -> None:
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    apart = torch.tensor([[3.0, 3.0], [3.0, 3.0], [-3.0, -3.0], [-3.0, -3.0]])

    collapsed = loss_of(torch.full((4, 2), 3.0), targets(labels), torch.zeros(4, 2))

    assert loss_of(apart, targets(labels), torch.zeros(4, 2)) < collapsed - 1


def lesions() -> tuple[Tensor, Tensor, GroundTruth]:
    """240 maps (16, 5, 5) of noise, with the direction of their class at one position of 25; and these positions."""
    rng = np.random.default_rng(0)
    classes, positions = np.arange(240) % 4, rng.integers(25, size=240)
    maps = rng.standard_normal((240, 16, 25))
    maps[np.arange(240), :, positions] += 3.5 * np.sign(rng.standard_normal((4, 16)))[classes]
    truth = GroundTruth(
        labels=np.eye(4, dtype=bool)[classes],
        names=tuple("abcd"),
        groups=np.arange(240).astype(str),
        splits=np.repeat(["train", "test"], 120),
        kinds=np.repeat("CT", 240),
    )
    return torch.from_numpy(maps.reshape(240, 16, 5, 5)).float(), torch.from_numpy(positions), truth


def mean_average_precision(relaxed: np.ndarray, truth: GroundTruth) -> float:
    test = task(truth, "P-A", "DB-seen", truth.part("test"), truth.part("train"))
    return float(judge(test, by_codes(pack(relaxed >= 0)))["MAP"].mean())


def short_training(method: str) -> tuple[Learner, float, float]:
    """A learner after 60 steps on the training half of `lesions`, and its loss before and afterwards."""
    maps, _, truth = lesions()
    train, made = truth.part("train"), TRAINED[method]
    torch.manual_seed(0)
    head = made.head((16,), 16, 4, **made.head_options)
    learner = Learner(nn.Identity(), head, made.objective(Setting(16, truth.labels[train], 0, (16,))))
    about = targets(torch.from_numpy(truth.labels[train]).float())
    batches = [TrainingBatch((maps[train],), about)] * 15

    def loss() -> float:
        with torch.inference_mode():
            return float(learner.objective(learner((maps[train],)), about))

    before = loss()
    fit(learner, Schedule(4, 0.02, 0.0, 0.0, patience=0), 15, lambda epoch: batches, lambda one: 0.0, 0)
    return learner, before, loss()


@pytest.mark.parametrize("method", ["semantic attention", "unguided attention"])
def test_a_short_training_lowers_the_loss_and_beats_random_codes(method: str) -> None:
    maps, positions, truth = lesions()

    learner, before, after = short_training(method)

    with torch.inference_mode():
        outputs = learner((maps,))
    by_chance = mean_average_precision(np.random.default_rng(0).standard_normal((240, 16)), truth)
    assert after < 0.7 * before
    assert by_chance < 0.3
    assert mean_average_precision(outputs.relaxed.numpy(), truth) > by_chance + 0.3
    of_class = outputs.evidence[torch.arange(240), torch.from_numpy(truth.labels).int().argmax(dim=1)]
    hits = of_class.flatten(1).argmax(dim=1) == positions
    assert hits[truth.part("test")].float().mean() > 0.5  # by chance 1 / 25
