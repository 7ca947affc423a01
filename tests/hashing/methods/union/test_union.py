"""The union of the three methods: its head, its loss, and that a model file can rebuild it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from hashing.__main__ import app
from hashing.methods.base import HeadOutputs, Setting, Targets
from hashing.methods.catalogue import HEADS, TRAINED
from hashing.methods.label_cooccurrence.label_graph import Cooccurrence
from hashing.methods.label_cooccurrence.nested_targets import NestedGraphTargets
from hashing.methods.union.head import UnionHead
from hashing.methods.union.objective import UnionLoss, nested_lengths, shares_of
from hashing.model.encoder import Encoder
from hashing.model.explain import Explainer
from hashing.model.network import channels_of
from tests.support.hashing.standin import experiment

CHANNELS = (4, 6, 8)


def maps(batch: int, seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    sides = (8, 4, 2)
    return tuple(torch.rand(batch, n, side, side, generator=generator) for n, side in zip(CHANNELS, sides, strict=True))


def head(**options: bool) -> UnionHead:
    torch.manual_seed(0)
    return UnionHead(CHANNELS, 32, 3, 16, **options)


def test_the_head_gives_codes_logits_evidence_and_features_of_the_right_shapes() -> None:
    outputs = head()(maps(5))

    assert outputs.relaxed.shape == (5, 32)
    assert outputs.logits is not None
    assert outputs.logits.shape == (5, 3)
    assert outputs.evidence is not None
    assert outputs.evidence.shape == (5, 3, 2, 2)
    assert outputs.features is not None
    assert outputs.features.shape == (5, 8)


@pytest.mark.parametrize("options", [{}, {"depths": False}, {"regions": False}])
def test_options_build_an_equal_head(options: dict[str, bool]) -> None:
    first = head(**options).eval()

    second = HEADS["union"](CHANNELS, 32, 3, **first.options).eval()
    second.load_state_dict(first.state_dict())

    assert second(maps(2)).relaxed.equal(first(maps(2)).relaxed)


def test_each_depth_and_the_place_of_evidence_move_the_code() -> None:
    whole = head().eval()
    shown = maps(1)
    code = whole(shown).relaxed

    for depth in range(3):
        other = tuple(maps(1, seed=1)[n] if n == depth else shown[n] for n in range(3))
        assert not torch.allclose(whole(other).relaxed, code), f"depth {depth}"
    turned = (*shown[:2], shown[2].flip(3))
    assert not torch.allclose(whole(turned).logits, torch.zeros(1, 3))
    without = head(depths=False).eval()
    assert torch.allclose(without((*maps(1, seed=1)[:2], shown[2])).relaxed, without(shown).relaxed)


def test_the_hash_loss_does_not_move_the_shares_of_classes() -> None:
    learner = head()

    learner(maps(4)).relaxed.square().sum().backward()  # the gate passes no gradient, the attention does
    by_attention = learner.classifier.weight.grad
    assert by_attention is not None
    assert by_attention.abs().sum() > 0
    assert learner.classifier.bias is not None
    assert learner.classifier.bias.grad is not None
    assert torch.allclose(learner.classifier.bias.grad, torch.zeros(3), atol=1e-6)  # only the gate reads the bias


def test_a_temperature_flattens_class_scores_and_leaves_codes_alone() -> None:
    one = head().eval()
    before = one(maps(2))

    one.temperature.fill_(2.0)

    after = one(maps(2))
    assert before.logits is not None
    assert after.logits is not None
    assert torch.allclose(after.logits, before.logits / 2)
    assert after.relaxed.equal(before.relaxed)


def test_a_head_without_classes_or_with_other_maps_is_refused() -> None:
    with pytest.raises(ValueError, match="n_labels is 0"):
        UnionHead(CHANNELS, 32, 0)
    with pytest.raises(ValueError, match="give one number for each"):
        UnionHead((8,), 32, 3)


@pytest.mark.parametrize(("length", "lengths"), [(16, (16,)), (48, (16, 32, 48)), (128, (16, 32, 48, 64, 128))])
def test_leading_parts_of_a_code_are_codes(length: int, lengths: tuple[int, ...]) -> None:
    assert nested_lengths(length) == lengths


def test_images_without_labels_have_no_shares() -> None:
    assert shares_of(torch.tensor([[1.0, 1.0], [0.0, 0.0]])).tolist() == [[0.5, 0.5], [0.0, 0.0]]


def test_the_loss_falls_as_codes_and_shares_fit_the_labels() -> None:
    labels = torch.eye(3).repeat(4, 1)
    targets = Targets(labels, torch.ones_like(labels), torch.arange(12))
    loss = UnionLoss(Setting(32, labels.numpy() > 0, 0)).requires_grad_(requires_grad=False)
    base = torch.sign(torch.randn(3, 32, generator=torch.Generator().manual_seed(2))).repeat(4, 1)

    fitting = HeadOutputs(base, 6 * labels, features=base)
    wrong = HeadOutputs(base[:1].repeat(12, 1), -6 * labels, features=base)

    assert float(loss(fitting, targets)) < float(loss(wrong, targets))


def test_every_term_passes_a_gradient_and_an_image_without_labels_none_of_the_targets() -> None:
    labels = torch.tensor([[1.0, 0, 0], [1.0, 1, 0], [0, 0, 0]])
    targets = Targets(labels, torch.ones_like(labels), torch.arange(3))
    relaxed = torch.randn(3, 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
    graph = Cooccurrence.of_labels(labels.numpy() > 0)

    NestedGraphTargets(graph, (16, 32), 0)(HeadOutputs(relaxed), targets._replace(labels=shares_of(labels))).backward()

    assert relaxed.grad is not None
    assert relaxed.grad[:2].abs().sum() > 0
    assert relaxed.grad[2].abs().sum() == 0


def test_a_class_that_a_set_does_not_know_does_not_push_its_images() -> None:
    labels, known = torch.tensor([[1.0, 0, 0]]), torch.tensor([[1.0, 1, 0]])
    graph = Cooccurrence.of_labels(np.eye(3, dtype=bool))
    targets = NestedGraphTargets(graph, (16,), 0, guard=0.0).requires_grad_(requires_grad=False)
    towards = targets.generator.base[2:].sign()
    code = targets.generator.base[:1] + 0.0

    def loss(of_known: Tensor, relaxed: Tensor) -> float:
        return float(targets(HeadOutputs(relaxed), Targets(labels, of_known, torch.tensor([0]))))

    assert loss(known, code) < loss(torch.ones(1, 3), code)  # one class less in the softmax
    nearer = code + 0.2 * towards
    unknown_moves = loss(known, nearer) - loss(known, code)
    known_moves = loss(torch.ones(1, 3), nearer) - loss(torch.ones(1, 3), code)
    assert unknown_moves < known_moves


def test_targets_rest_at_the_end() -> None:
    labels = torch.eye(3)
    targets = NestedGraphTargets(Cooccurrence.of_labels(labels.numpy() > 0), (16,), 0, rest_from=0.8)
    relaxed = torch.randn(3, 16, requires_grad=True)

    for progress, moves in ((0.5, True), (0.9, False)):
        targets.zero_grad()
        targets(HeadOutputs(relaxed), Targets(labels, torch.ones(3, 3), torch.arange(3), progress)).backward()
        assert (targets.generator.gamma.grad is not None) == moves


def test_the_union_is_trained_exported_and_explains_by_shared_attention(nih: Path, tmp_path: Path) -> None:
    path, model = experiment(tmp_path, "imagenet", ["union"]), tmp_path / "union.safetensors"
    command = ["train", str(path), "--method", "union", "--code-length", "16", "--data", str(nih)]

    done = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "runs"), "--model", str(model)])

    assert done.exit_code == 0, done.output
    images = np.random.default_rng(0).integers(0, 255, (2, 224, 224), np.uint8)
    encoding = Encoder.load(model, 16, "cpu").encode(images, ["DX", "DX"])
    assert encoding.relaxed.shape == (2, 16)
    assert np.allclose(encoding.class_scores.sum(axis=1), 1, atol=1e-6)
    pair = Explainer.load(model, 16, "cpu").explain(*images)
    assert pair.shared is not None
    assert 0 < pair.shared.sum() <= 1 + 1e-5


def test_all_forms_of_the_union_are_methods_of_the_bench() -> None:
    forms = [name for name in TRAINED if name.startswith("union")]

    for name in forms:
        method = TRAINED[name]
        channels = channels_of(method.head.strides)
        built = method.head(channels, 32, 2, **method.head_options)
        assert built.options == method.head(channels, 32, 2, **built.options).options
    assert len(forms) == 6
