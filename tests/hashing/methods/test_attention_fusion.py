"""Attention fusion: its attentions and terms against hand-computed values, a training run, and the way into a model."""

from math import exp, log, tanh
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from typer.testing import CliRunner

import hashing
from hashing.__main__ import app
from hashing.bench.experiment import Experiment
from hashing.codes import pack
from hashing.evaluation.judgement import judge
from hashing.evaluation.protocol import GroundTruth, by_codes, task
from hashing.methods.attention_fusion import (
    AttentionFusionHead,
    AttentionFusionLoss,
    ChannelAttention,
    LastDepthHead,
    PositionAttention,
)
from hashing.methods.base import HeadOutputs, Setting, Targets
from hashing.methods.catalogue import METHODS, TRAINED, trained
from hashing.model.encoder import Encoder
from hashing.model.model_file import Architecture
from hashing.model.network import EfficientNetLite0, HashNetwork, channels_of
from hashing.model.weights import save_network
from hashing.training.batches import MapSource, Sampling, relaxed_codes
from hashing.training.loop import Learner, Schedule, fit
from tests.support.hashing.standin import experiment

CHANNELS = (3, 4, 5)
FUSIONS = [
    pytest.param(name, marks=() if name == "attention fusion" else pytest.mark.slow)
    for name, method in TRAINED.items()
    if issubclass(method.head, AttentionFusionHead)
]
TWO_CLASSES = Setting(2, np.eye(2, dtype=bool), 0)
H = torch.tensor([[2.0, 0.0], [1.0, -1.0], [0.0, 1.0]])
LABELS = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])


def sigmoid(value: float) -> float:
    return 1 / (1 + exp(-value))


def number(value: Tensor) -> float:
    return float(value.detach())


def targets(labels: Tensor, progress: float = 0.0) -> Targets:
    """Targets of images of as many patients, whose labels are all known."""
    return Targets(labels, torch.ones_like(labels), torch.arange(len(labels)), progress)


def terms(setting: Setting = TWO_CLASSES, **weights: Any) -> AttentionFusionLoss:
    """A loss without the terms that are not named."""
    return AttentionFusionLoss(
        setting, **{"triplet": 0.0, "classifying": 0.0, "quantizing": 0.0, "balancing": 0.0} | weights
    )


def maps_of(batch: int, channels: tuple[int, ...] = CHANNELS) -> tuple[Tensor, ...]:
    """Random maps of images of 32 pixels at strides 8, 16 and 32."""
    generator = torch.Generator().manual_seed(0)
    sides = (4, 2, 1)[-len(channels) :]
    return tuple(torch.rand(batch, n, side, side, generator=generator) for n, side in zip(channels, sides, strict=True))


def test_channel_attention_weighs_channels_by_mean_and_maximum() -> None:
    attention = ChannelAttention(2)
    for layer in (attention.layers[0], attention.layers[2]):
        torch.nn.init.ones_(layer.weight)  # type: ignore[arg-type]
        torch.nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    maps = torch.tensor([[[[0.0, 1.0]], [[0.0, 0.5]]]])
    # one hidden unit: the sum over channels of the means, 0.5 + 0.25, and of the maxima, 1 + 0.5
    weight = sigmoid(0.75 + 1.5)

    assert attention(maps).flatten().tolist() == pytest.approx([0.0, weight, 0.0, 0.5 * weight])


def test_position_attention_weighs_positions_by_mean_and_maximum_over_channels() -> None:
    attention = PositionAttention()
    with torch.no_grad():
        attention.convolution.weight.zero_()
        attention.convolution.weight[0, :, 3, 3] = torch.tensor([2.0, 1.0])  # the position itself alone
    maps = torch.tensor([[[[1.0, 0.0]], [[3.0, -2.0]]]])
    weights = sigmoid(2 * 2.0 + 3.0), sigmoid(2 * -1.0 + 0.0)

    assert attention(maps).flatten().tolist() == pytest.approx([weights[0], 0.0, 3 * weights[0], -2 * weights[1]])


@pytest.mark.parametrize("attention", ["both", "channels", "positions", "none"])
def test_the_head_gives_a_code_of_every_image_and_is_rebuilt_from_its_options(attention: str) -> None:
    torch.manual_seed(0)
    head = AttentionFusionHead(CHANNELS, 16, hidden=8, attention=attention).eval()  # type: ignore[arg-type]
    again = AttentionFusionHead(CHANNELS, 16, **head.options).eval()
    again.load_state_dict(head.state_dict())
    outputs = head(maps_of(5))

    assert outputs.relaxed.shape == (5, 16)
    assert outputs.logits is None
    assert torch.equal(outputs.relaxed, again(maps_of(5)).relaxed)
    assert torch.allclose(outputs.relaxed[2:3], head(tuple(maps[2:3] for maps in maps_of(5))).relaxed, atol=1e-6)


def test_every_depth_moves_the_code_and_the_ablation_reads_the_last_alone() -> None:
    head, maps = AttentionFusionHead(CHANNELS, 16).eval(), maps_of(2)
    for depth in range(3):
        changed = tuple(one + (number == depth) for number, one in enumerate(maps))
        assert not torch.allclose(head(changed).relaxed, head(maps).relaxed)

    assert LastDepthHead((5,), 16).eval()(maps[2:]).relaxed.shape == (2, 16)


def test_what_the_head_cannot_do_is_refused_with_the_choice() -> None:
    with pytest.raises(ValueError, match="no logits, but 7"):
        AttentionFusionHead(CHANNELS, 16, 7)
    with pytest.raises(ValueError, match="strides"):
        AttentionFusionHead((5,), 16)
    with pytest.raises(ValueError, match="choose both, channels"):
        AttentionFusionHead(CHANNELS, 16, attention="all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="choose learned"):
        AttentionFusionLoss(TWO_CLASSES, slope="steep")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="choose semi-hard"):
        AttentionFusionLoss(TWO_CLASSES, selection="hard")  # type: ignore[arg-type]


def test_ptanh_is_learned_scheduled_or_plain() -> None:
    value = torch.tensor([[0.1]])
    learned = AttentionFusionLoss(TWO_CLASSES)
    assert learned.log_slope is not None
    torch.nn.init.constant_(learned.log_slope, log(3.0))
    scheduled, plain = (AttentionFusionLoss(TWO_CLASSES, slope=slope) for slope in ("scheduled", "one"))

    assert number(learned.ptanh(value, 0.5)) == pytest.approx(tanh(0.3))
    assert [number(scheduled.ptanh(value, done)) for done in (0, 0.5, 1)] == pytest.approx(
        [tanh(0.1), tanh(0.55), tanh(1.0)]
    )
    assert number(plain.ptanh(value, 1.0)) == pytest.approx(tanh(0.1))


def test_each_term_has_its_value_by_hand() -> None:
    u = np.tanh(H.numpy())
    outputs = HeadOutputs(H)
    distance = (2 - u @ u.T) / 4
    # anchors 0 and 1, each the other's positive, 2 the only negative; 2 has no positive
    expected = [max(0.0, distance[a, 1 - a] - distance[a, 2] + 0.25) for a in (0, 1)]

    assert number(terms(triplet=1.0)(outputs, targets(LABELS))) == pytest.approx(np.mean(expected), rel=1e-5)
    assert number(terms(quantizing=1.0)(outputs, targets(LABELS))) == pytest.approx(np.mean((np.abs(u) - 1) ** 2))
    assert number(terms(balancing=1.0)(outputs, targets(LABELS))) == pytest.approx(np.sum(u.mean(axis=0) ** 2))


def test_the_classifier_reads_the_relaxed_code_by_softmax_or_where_labels_overlap_each_by_itself() -> None:
    u = torch.tanh(H)
    overlapping = Setting(2, np.array([[True, True], [False, False]]), 0)
    one, many = terms(classifying=1.0), terms(overlapping, classifying=1.0)
    assert one.classifier is not None
    assert many.classifier is not None
    both = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])

    assert torch.isclose(
        one(HeadOutputs(H), targets(LABELS)), functional.cross_entropy(one.classifier(u), torch.tensor([0, 0, 1]))
    )
    assert torch.isclose(
        many(HeadOutputs(H), targets(both)), functional.binary_cross_entropy_with_logits(many.classifier(u), both)
    )


@pytest.mark.parametrize("slope", ["learned", "scheduled", "one"])
def test_gradients_are_those_of_the_value(slope: str) -> None:
    torch.manual_seed(0)
    loss = AttentionFusionLoss(Setting(6, np.eye(3, dtype=bool), 0), slope=slope).double()  # type: ignore[arg-type]
    known = targets(torch.eye(3).repeat(3, 1).double(), 0.3)
    values = torch.randn(9, 6, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(lambda h: loss(HeadOutputs(h), known), (values,))


@pytest.mark.parametrize("labels", [torch.zeros(4, 3), torch.ones(4, 3), torch.eye(3)[:1].repeat(4, 1), torch.eye(3)])
def test_a_batch_without_triplets_has_a_finite_loss_and_gradient(labels: Tensor) -> None:
    values = torch.randn(len(labels), 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = AttentionFusionLoss(Setting(8, np.ones((2, 3), bool), 0))

    loss(HeadOutputs(values), targets(labels)).backward()

    assert values.grad is not None
    assert torch.isfinite(values.grad).all()
    assert number(terms(Setting(8, np.eye(3, dtype=bool), 0), triplet=1.0)(HeadOutputs(values), targets(labels))) == 0


def generated() -> tuple[list[np.ndarray], GroundTruth]:
    """Maps of 96 images of 4 classes and 48 patients; a class shows as a channel at one depth, under noise."""
    rng = np.random.default_rng(0)
    classes = np.arange(96) // 2 % 4
    maps = [rng.random((1, 96, n, side, side)).astype(np.float32) for n, side in zip(CHANNELS, (4, 2, 1), strict=True)]
    for row, kind in enumerate(classes):
        maps[kind % 3][0, row, kind // 3] += 1.0
    truth = GroundTruth(
        labels=np.eye(4, dtype=bool)[classes],
        names=("a", "b", "c", "d"),
        groups=np.array([f"p{row // 2}" for row in range(96)]),
        splits=np.repeat(["train", "test"], 48),
        kinds=np.repeat("CT", 96),
    )
    return maps, truth


def mean_average_precision(relaxed: np.ndarray, truth: GroundTruth) -> float:
    test = task(truth, "P-A", "DB-seen", truth.part("test"), truth.part("train"))
    return float(judge(test, by_codes(pack(relaxed >= 0)))["MAP"].mean())


@pytest.mark.parametrize("name", FUSIONS)
def test_training_lowers_the_loss_and_the_codes_rank_better_than_random_ones(name: str) -> None:
    maps, truth = generated()
    method = trained(name)
    depths = len(method.head.strides)
    torch.manual_seed(0)
    objective = method.objective(Setting(16, truth.labels[truth.part("train")], 0))
    learner = Learner(torch.nn.Identity(), method.head(CHANNELS[-depths:], 16, **method.head_options), objective)
    source = MapSource(maps[-depths:], truth, truth.part("train"), Sampling("apart", 24, 0))
    (batch, *_) = source(0)

    before = number(learner.objective(learner.eval()(batch.inputs), batch.targets))
    fit(learner, Schedule(12, 0.02, 0.0, 0.0, 0), source.steps, source, lambda one: 0.0, 0)

    after = number(learner.objective(learner(batch.inputs), batch.targets))
    random = mean_average_precision(np.random.default_rng(0).standard_normal((96, 16)), truth)
    reached = mean_average_precision(relaxed_codes(learner, source, np.arange(96)), truth)
    assert after < 0.8 * before
    assert reached > (0.8 if depths == 3 else random + 0.1)  # the last depth alone shows one class of four


@pytest.mark.parametrize("head_class", [AttentionFusionHead, LastDepthHead])
def test_the_encoder_gives_the_codes_of_the_trained_head_bit_for_bit(
    head_class: type[AttentionFusionHead], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    head = head_class(channels_of(head_class.strides), 32, attention="channels")
    network = HashNetwork(EfficientNetLite0(), head)
    images = np.random.default_rng(0).integers(0, 256, (6, 224, 224), np.uint8)
    batch = torch.from_numpy(images)[:, None]
    network.train()(batch)  # statistics of the batch normalisation other than those of the start
    architecture = Architecture(
        head=head.name, head_options=head.options, code_lengths=(32,), modality_bits=False, input_size=224
    )
    path = tmp_path / "fusion.safetensors"
    save_network(network, architecture, path, "fusion", {})

    with torch.inference_mode():
        expected = network.eval()(batch).numpy() >= 0
    encoding = Encoder.load(path, 32, "cpu").encode(images, ["CT"] * 6)

    assert np.array_equal(encoding.relaxed >= 0, expected)
    assert np.array_equal(encoding.codes, pack(expected))
    assert 0.2 < expected.mean() < 0.8


def test_the_bench_trains_it_and_writes_a_model_that_the_node_loads(nih: Path, tmp_path: Path) -> None:
    path, model = experiment(tmp_path, "imagenet", ["attention fusion"]), tmp_path / "fusion.safetensors"
    path.write_text("hidden = 32\n" + path.read_text() + '[options."attention fusion"]\nsampling = "apart"\n')
    command = ["train", str(path), "--method", "attention fusion", "--code-length", "16", "--data", str(nih)]

    done = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "runs"), "--model", str(model)])

    assert done.exit_code == 0, done.output
    encoder = Encoder.load(model, 16, "cpu")
    assert encoder.model.architecture.head_options == {"hidden": 32, "attention": "both"}
    assert encoder.encode(np.zeros((2, 224, 224), np.uint8), ["DX", "CT"]).codes.shape == (2, 1)
    assert Experiment.read(path).sampling_of("attention fusion") == "apart"


def test_the_experiment_compares_it_with_itself_without_each_part() -> None:
    bench = Experiment.read(Path(hashing.__file__).parent / "experiments/dafh_fusion.toml")
    fusion = {name for name, method in TRAINED.items() if issubclass(method.head, AttentionFusionHead)}

    assert fusion <= set(bench.methods) <= set(METHODS)
    assert all(issubclass(trained(name).head, LastDepthHead) == ("last depth" in name) for name in fusion)
    assert bench.sampling_of("attention fusion") == "apart"
