"""Any method's model: a head that reads a pyramid of maps goes from the bench into a model file and the encoder."""

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from typer.testing import CliRunner

from hashing.__main__ import app
from hashing.bench.bench_data import BenchData
from hashing.bench.experiment import Experiment
from hashing.bench.method_run import Run, outputs_of
from hashing.data import datasets
from hashing.methods import catalogue
from hashing.methods.base import Head, HeadOutputs, Method, Nested, Setting, Sum, Targets
from hashing.methods.heads import HashLayer
from hashing.model.architectures import build
from hashing.model.encoder import Encoder
from hashing.model.model_file import DEFAULT_MODEL, Architecture, ModelError, read_model
from hashing.model.weights import export, load_network
from tests.support.hashing.standin import experiment

MODALITY = ["DX"]


FIRST_MODEL = DEFAULT_MODEL.with_name("lookalike-1.safetensors")


class PyramidHead(Head):
    """Averages of maps at three depths, joined, and a hash layer on them."""

    name: ClassVar[str] = "toy pyramid"
    strides: ClassVar[tuple[int, ...]] = (8, 16, 32)

    def __init__(self, channels: tuple[int, ...], code_length: int, n_labels: int = 0, width: int = 8) -> None:
        super().__init__(channels, code_length, n_labels)
        self.width = width
        self.reduce = nn.ModuleList(nn.Conv2d(size, width, 1) for size in channels)
        self.hash_layer = HashLayer(width * len(channels), code_length)

    @property
    def options(self) -> dict[str, Any]:
        return {"width": self.width}

    def forward(self, maps: tuple[Tensor, ...]) -> HeadOutputs:
        pooled = [reduce(some).mean(dim=(2, 3)) for reduce, some in zip(self.reduce, maps, strict=True)]
        return HeadOutputs(self.hash_layer(torch.cat(pooled, dim=1)))


@pytest.fixture(autouse=True)
def pyramid(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method with a head of its own in the catalogue."""
    method = Method(catalogue.TRAINED["OrthoHash"].objective, PyramidHead)
    monkeypatch.setitem(catalogue.TRAINED, "toy", method)
    monkeypatch.setitem(catalogue.HEADS, PyramidHead.name, PyramidHead)


@pytest.mark.parametrize("trunk", ["imagenet", "own"])
def test_a_method_with_a_pyramid_is_trained_exported_and_encodes_as_it_did_in_the_bench(
    trunk: str, nih: Path, tmp_path: Path
) -> None:
    path, model = experiment(tmp_path, trunk, ["toy"]), tmp_path / "toy.safetensors"
    command = ["train", str(path), "--method", "toy", "--code-length", "16", "--data", str(nih)]

    done = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "runs"), "--model", str(model)])

    assert done.exit_code == 0, done.output
    assert read_model(model).architecture == Architecture(
        "efficientnet-lite0", "toy pyramid", {"width": 8}, (16,), modality_bits=False, input_size=32
    )
    bench = Experiment.read(path)
    data = BenchData.load(bench, nih, tmp_path / "runs")
    expected = outputs_of(Run("toy", 16, 0), bench, data, tmp_path / "runs" / bench.name)[:10]
    images = datasets.load("chestxray14:nih", nih, tmp_path / "runs/cache").images[:10]
    encoding = Encoder.load(model, 16, "cpu").encode(np.asarray(images), MODALITY * 10)
    assert np.allclose(encoding.relaxed, expected, atol=0.05)  # half precision
    with pytest.raises(ModelError, match="code length 64"):
        Encoder.load(model, 64, "cpu")


@pytest.mark.parametrize(("method", "hidden"), [("DPSH", 0), ("DPSH", 64), ("co-occurrence targets", 64)])
def test_a_plain_method_takes_raw_features_once_it_is_exported(
    method: str, hidden: int, nih: Path, tmp_path: Path
) -> None:
    path, model = experiment(tmp_path, "imagenet", [method]), tmp_path / "model.safetensors"
    path.write_text(f"hidden = {hidden}\n" + path.read_text())
    command = ["train", str(path), "--method", method, "--code-length", "32", "--data", str(nih)]

    done = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "runs"), "--model", str(model)])

    assert done.exit_code == 0, done.output
    bench = Experiment.read(path)
    data = BenchData.load(bench, nih, tmp_path / "runs")
    expected = outputs_of(Run(method, 32, 0), bench, data, tmp_path)[:10]
    images = datasets.load("chestxray14:nih", nih, tmp_path / "runs/cache").images[:10]
    encoding = Encoder.load(model, 32, "cpu").encode(np.asarray(images), MODALITY * 10)
    assert np.allclose(encoding.relaxed, expected, atol=0.05)
    sure = np.abs(expected) > 0.05
    assert np.array_equal((encoding.relaxed >= 0)[sure], (expected >= 0)[sure])
    assert encoding.class_scores.shape == (10, 0)
    assert read_model(model).architecture.head_options == ({"hidden": 64} if hidden else {})


def test_a_bench_without_one_trunk_for_all_images_gives_no_model(nih: Path, tmp_path: Path) -> None:
    path, model = experiment(tmp_path, "trained", ["DPSH"]), tmp_path / "dpsh.safetensors"
    command = ["train", str(path), "--method", "DPSH", "--code-length", "16", "--data", str(nih)]

    done = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "runs"), "--model", str(model)])

    assert isinstance(done.exception, ModelError)
    assert "2 folds" in str(done.exception)
    assert not model.exists()


@pytest.mark.parametrize(
    ("path", "fingerprint", "is_first"),
    [(FIRST_MODEL, "312a18979fecd1a4", True), (DEFAULT_MODEL, "fed5a98a7f3b6028", False)],
)
def test_a_shipped_file_is_what_its_own_weights_are_exported_to(
    path: Path, fingerprint: str, is_first: bool, tmp_path: Path
) -> None:
    network, model = load_network(path)

    assert model.fingerprint == fingerprint
    assert (model.architecture == Architecture()) == is_first
    facts = facts_of(path)
    again = export(network, model.architecture, tmp_path / "again.safetensors", model.name, facts, model.classes)
    assert again.fingerprint == model.fingerprint


def facts_of(path: Path) -> dict[str, str]:
    """What the header of a shipped model says of its making."""
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    return {
        key: value
        for key, value in header.items()
        if key not in {*Architecture(input_size=1).header(), "name", "classes"}
    }


def test_a_file_without_a_header_is_of_the_first_architecture(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    save_file(build(Architecture(), 0).weights(), path)

    _, model = load_network(path)

    assert (model.name, model.architecture, model.classes) == ("bare", Architecture(), ())


def test_a_header_that_names_unknown_or_missing_parts_is_refused_with_the_choice(tmp_path: Path) -> None:
    path, weights = tmp_path / "odd.safetensors", load_file(DEFAULT_MODEL)
    named = Architecture(input_size=128).header()
    for changed, reason in (
        ({"architecture": "other"}, "architecture other is unknown"),
        ({**named, "head": "hydra"}, "no head 'hydra': known are plain"),
        ({**named, "trunk": "oak"}, "no trunk 'oak'"),
        ({**named, "head_options": '{"arms": 7}'}, "does not take"),
        ({**named, "head_options": "[7]"}, "does not name its parts"),
        ({**named, "code_lengths": "none"}, "does not name its parts"),
        ({key: value for key, value in named.items() if key != "head"}, "does not name its parts"),
        ({**named, "classes": "{"}, "cannot be used"),
        ({**named}, "do not fit its header"),  # a classifier without names of its classes
    ):
        save_file(weights, path, metadata=changed)
        with pytest.raises(ModelError, match=reason):
            load_network(path)


def test_an_objective_can_be_nested_and_summed_on_any_head() -> None:
    labels = torch.eye(4).repeat(4, 1)
    targets = Targets(labels, torch.ones_like(labels), torch.arange(16))
    outputs = HeadOutputs(torch.randn(16, 32, generator=torch.Generator().manual_seed(0)))
    setting = Setting(16, np.eye(4, dtype=bool), 0)
    make = catalogue.TRAINED["DPSH"].objective
    parts = [make(setting)(outputs._replace(relaxed=outputs.relaxed[:, :length]), targets) for length in (16, 32)]

    nested = Nested(lambda _: make(setting), (16, 32))
    summed = Sum([(2.0, nested), (1.0, make(setting))])

    assert torch.isclose(nested(outputs, targets), torch.stack(parts).mean())
    assert torch.isclose(summed(outputs, targets), 2 * torch.stack(parts).mean() + parts[1])
