"""Maps that explain a pair: against values computed by hand, and from models with and without class evidence."""

from math import log
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hashing.methods.base import Head, HeadOutputs
from hashing.methods.heads import PlainHead
from hashing.methods.semantic_attention import AttentionHead
from hashing.model.architectures import build
from hashing.model.explain import Explainer, code_contributions, lost_agreement, shared_attention
from hashing.model.model_file import Architecture, ModelError
from hashing.model.weights import export

QUERY, MATCH = np.random.default_rng(0).integers(0, 256, (2, 224, 224), np.uint8)
ATTENTION = Architecture(
    head="semantic attention", head_options={"inputs": "guided"}, code_lengths=(16,), modality_bits=False, input_size=96
)


def explainer(folder: Path, architecture: Architecture, classes: tuple[str, ...] = ()) -> Explainer:
    torch.manual_seed(0)
    network = build(architecture, len(classes))
    path = folder / "model.safetensors"
    export(network, architecture, path, "model", {}, classes)
    return Explainer.load(path, architecture.code_lengths[0], "cpu")


def test_shared_attention_is_the_querys_attention_to_the_labels_that_both_have() -> None:
    nothing, evidence = torch.zeros(1, 2), torch.tensor([[0.0, log(3.0)], [log(4.0), 0.0]]).view(1, 2, 1, 2)
    query = HeadOutputs(nothing, torch.tensor([[log(3.0), 0.0]]), evidence)  # p: 3/4, 1/2; shares .6, .4
    match = HeadOutputs(nothing, torch.tensor([[0.0, 0.0]]), -evidence)  # shares .5, .5

    shared, weights = shared_attention(query, match)

    assert weights[0].tolist() == pytest.approx([0.3, 0.2])
    assert shared[0, 0].tolist() == pytest.approx([0.3 * 0.25 + 0.2 * 0.8, 0.3 * 0.75 + 0.2 * 0.2])
    assert torch.equal(shared_attention(match, query)[1], weights)
    with pytest.raises(ValueError, match="class evidence"):
        shared_attention(HeadOutputs(nothing), match)


class TwoDepths(Head):
    """Sums of the channels of two maps, weighted by position."""

    name: ClassVar[str] = "two depths"
    strides: ClassVar[tuple[int, ...]] = (16, 32)

    def forward(self, maps: tuple[Tensor, ...]) -> HeadOutputs:
        fine, coarse = (some.sum(dim=1) for some in maps)  # (batch, 4, 4), (batch, 2, 2)
        return HeadOutputs(torch.stack([0.01 * fine[:, :2, :2].sum(dim=(1, 2)), 0.01 * coarse[:, 1, 1]], dim=1))


def test_contributions_of_finer_maps_are_summed_within_the_cells_of_the_last() -> None:
    maps = torch.ones(1, 3, 4, 4), torch.ones(1, 5, 2, 2)

    found = code_contributions(TwoDepths((3, 5), 2), maps, torch.tensor([1.0, -1.0]))

    slope = [1 - np.tanh(value) ** 2 for value in (0.12, 0.05)]
    assert found[0].flatten().tolist() == pytest.approx([0.12 * slope[0], 0, 0, -0.05 * slope[1]], abs=1e-6)


@pytest.mark.parametrize(
    "make", [lambda: AttentionHead((6,), 8, 3, "unguided"), lambda: PlainHead((6,), 8)], ids=["maps", "pooled"]
)
def test_a_contribution_is_what_a_slight_change_at_its_position_does_to_the_agreement(make: object) -> None:
    torch.manual_seed(0)
    head: nn.Module = make().double().eval()  # type: ignore[operator]
    assert isinstance(head, Head)
    maps = torch.randn(1, 6, 2, 3, dtype=torch.float64)
    signs = torch.tensor([1.0, -1, 1, 1, -1, 1], dtype=torch.float64)  # the first six of eight bits

    def agreement(values: Tensor) -> float:
        inputs = values if head.strides else values.mean(dim=(2, 3))
        with torch.no_grad():
            return float(torch.tanh(head((inputs,)).relaxed[0, :6]) @ signs)

    found = code_contributions(head, (maps,), signs)

    for row, column in np.ndindex(2, 3):
        more, less = maps.clone(), maps.clone()
        more[:, :, row, column] *= 1 + 1e-5
        less[:, :, row, column] *= 1 - 1e-5
        assert float(found[0, row, column]) == pytest.approx((agreement(more) - agreement(less)) / 2e-5, abs=1e-6)


def test_agreement_is_lost_as_if_a_position_had_never_been_seen() -> None:
    torch.manual_seed(0)
    head = PlainHead((6,), 8).eval()
    maps, signs = torch.randn(6, 2, 3), torch.tensor([1.0, -1, 1, 1, -1, 1])

    def agreement(features: Tensor) -> float:
        return float(torch.tanh(head((features.mean(dim=1)[None],)).relaxed[0, :6]) @ signs) / 6

    with torch.no_grad():
        found = lost_agreement(head, maps, signs)
        for position, lost in enumerate(found.flatten().tolist()):
            rest = [other for other in range(6) if other != position]
            assert lost == pytest.approx(agreement(maps.flatten(1)) - agreement(maps.flatten(1)[:, rest]), abs=1e-6)


def test_one_pass_gives_the_reasons_of_both_images(tmp_path: Path) -> None:
    pooled = explainer(tmp_path, Architecture(code_lengths=(64,), input_size=64)).reasons(QUERY, MATCH)
    attending = explainer(tmp_path, ATTENTION, ("Mass", "Nodule"))
    shared = attending.reasons(QUERY, MATCH)

    assert pooled is not None
    assert [one.shape for one in pooled] == [(2, 2), (2, 2)]
    assert all(np.abs(one).max() > 0 for one in pooled)
    assert shared is not None
    for found, pair in zip(shared, ((QUERY, MATCH), (MATCH, QUERY)), strict=True):
        assert np.allclose(found, attending.explain(*pair).reason, atol=1e-5)


def test_a_model_with_class_evidence_explains_a_pair_by_shared_attention(tmp_path: Path) -> None:
    model = explainer(tmp_path, ATTENTION, ("Mass", "Nodule"))

    pair, classes = model.explain(QUERY, MATCH), model.class_maps(QUERY)

    assert pair.shared is not None
    assert pair.occlusion is None
    assert pair.reason is pair.shared
    assert pair.shared.shape == pair.gradient.shape == (3, 3)
    assert np.allclose(pair.shared, np.tensordot(pair.label_weights, classes, axes=1), atol=1e-6)
    assert pair.label_weights.sum() < 1
    assert np.allclose(classes.sum(axis=(1, 2)), 1, atol=1e-5)
    assert np.abs(pair.gradient).max() > 0


def test_a_model_on_pooled_features_explains_a_pair_by_occlusion(tmp_path: Path) -> None:
    model = explainer(tmp_path, Architecture(code_lengths=(64,), input_size=64))

    pair = model.explain(QUERY, MATCH)
    flat = model.explain(np.full((224, 224), 127, np.uint8), MATCH)

    assert pair.shared is None
    assert pair.occlusion is not None
    assert pair.reason is pair.occlusion
    assert pair.occlusion.shape == pair.gradient.shape == (2, 2)
    assert np.abs(pair.occlusion).max() > 0
    assert flat.occlusion is not None
    assert np.allclose(flat.occlusion, 0, atol=1e-6)  # hiding a part of nothing changes nothing
    assert model.class_maps(QUERY).size == pair.label_weights.size == 0


def test_other_images_and_code_lengths_are_refused(tmp_path: Path) -> None:
    model = explainer(tmp_path, ATTENTION, ("Mass", "Nodule"))

    with pytest.raises(ValueError, match="224"):
        model.explain(QUERY[:100], MATCH)
    with pytest.raises(ValueError, match="uint8"):
        model.class_maps(QUERY.astype(np.float32))
    with pytest.raises(ModelError, match="code length 64"):
        Explainer.load(tmp_path / "model.safetensors", 64, "cpu")
