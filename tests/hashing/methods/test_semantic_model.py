"""The semantic-attention method from the bench into a model file, and from there into the encoder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hashing.__main__ import app
from hashing.bench.bench_data import BenchData
from hashing.bench.experiment import Experiment
from hashing.bench.method_run import Run, outputs_of
from hashing.data import datasets
from hashing.methods.base import Setting
from hashing.methods.catalogue import METHODS, TRAINED
from hashing.model.architectures import build
from hashing.model.encoder import Encoder
from hashing.model.model_file import Architecture, read_model
from hashing.model.weights import export
from tests.support.hashing.standin import experiment

EXPERIMENTS = sorted((Path(__file__).parents[3] / "hashing/experiments").glob("attention_*.toml"))
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 224, 224), np.uint8)


@pytest.mark.parametrize("inputs", ["guided", "unguided", "local", "global"])
def test_a_model_file_gives_the_codes_of_the_head_bit_for_bit(inputs: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    architecture = Architecture(
        head="semantic attention",
        head_options={"inputs": inputs, "hidden": 24},
        code_lengths=(32,),
        modality_bits=False,
        input_size=64,
    )
    network = build(architecture, 3)
    network(torch.from_numpy(IMAGES).unsqueeze(1))  # gives batch normalisation statistics of its own
    network.half().float().eval()
    with torch.inference_mode():
        expected = network(torch.from_numpy(IMAGES).unsqueeze(1)).numpy()
    path = tmp_path / "attention.safetensors"
    export(network, architecture, path, "attention", {}, ("a", "b", "c"))

    encoding = Encoder.load(path, 32, "cpu", "torch").encode(IMAGES, ["DX"] * 6)

    assert read_model(path).architecture == architecture
    assert np.array_equal(encoding.relaxed >= 0, expected[:, :32] >= 0)
    assert np.allclose(encoding.relaxed, expected[:, :32], atol=1e-3)
    assert encoding.class_scores.shape == (6, 3)


@pytest.mark.parametrize(
    ("trunk", "method"), [("imagenet", "semantic attention"), ("own", "local attention only")], ids=["cached", "tuned"]
)
def test_the_method_is_trained_exported_and_encodes_as_it_did_in_the_bench(
    trunk: str, method: str, nih: Path, tmp_path: Path
) -> None:
    path, model = experiment(tmp_path, trunk, [method]), tmp_path / "attention.safetensors"
    path.write_text(path.read_text().replace("size = 32", "size = 64"))  # maps of 2 x 2 positions
    command = ["train", str(path), "--method", method, "--code-length", "16", "--data", str(nih)]

    done = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "runs"), "--model", str(model)])

    assert done.exit_code == 0, done.output
    bench = Experiment.read(path)
    data = BenchData.load(bench, nih, tmp_path / "runs")
    expected = outputs_of(Run(method, 16, 0), bench, data, tmp_path / "runs" / bench.name)[:10]
    images = datasets.load("chestxray14:nih", nih, tmp_path / "runs/cache").images[:10]
    encoding = Encoder.load(model, 16, "cpu").encode(np.asarray(images), ["DX"] * 10)
    assert np.allclose(encoding.relaxed, expected, atol=0.05)  # half precision
    assert read_model(model).classes == data.truth.names


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiments_of_the_ablations_name_methods_and_options_that_are_there(path: Path) -> None:
    bench = Experiment.read(path)

    assert len(EXPERIMENTS) == 3
    assert set(bench.methods) <= set(METHODS)
    trained = [name for name in bench.methods if name in TRAINED]
    assert len(trained) == 5
    for name in trained:
        TRAINED[name].objective(Setting(16, np.eye(3, dtype=bool), 0), **bench.objective_options(name))
