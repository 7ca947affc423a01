"""A training run in small: data sets with the layout of the public packages, two stages, a model in the end."""

import csv
import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from hashing.__main__ import app
from hashing.data import datasets
from hashing.data.datasets import FINDINGS
from hashing.evaluation.evaluate import evaluate, table
from hashing.methods.union.head import UnionHead
from hashing.model.architectures import build
from hashing.model.encoder import Encoder
from hashing.model.model_file import Architecture, read_model
from hashing.model.weights import export, load_network
from hashing.training.class_targets import CLASSES
from hashing.training.recipe import Recipe
from hashing.training.train import train

EXPERIMENT = """
seed = 1
batch = 4
frozen_blocks = 5
kind_share = 0.5
loss = { classes = 1.0, targets = 1.0 }
averaging = 0.5
"""
ARCHITECTURE = """
[architecture]
head_options = { hidden = 24 }
code_lengths = [16, 64]
modality_bits = false
input_size = 64
"""
STAGE = """
[[stage]]
datasets = ["nih14k"]
size = 64
draws = {draws}
wide = {wide}
schedule = {{ epochs = 1, learning_rate = 1e-3 }}
"""
SCHEDULE = """
[schedule]
trunk_rate = 0.25
weight_decay = 1e-4
patience = 0
"""
HEAD = """
[head]
datasets = ["nih14k"]
omitted = []
max_images = 20
draws = 2
rough = 1
size = 64
steps = 4
batch = 8
learning_rate = 1e-3
noise = 0.1
loss = { pairs = 1.0, relation = 1.0, agreement = 1.0 }
seed = 1

[classifier]
steps = 4
batch = 8
learning_rate = 1e-3
weight_decay = 1e-2
noise = 0.1
seed = 1
"""


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """Folder with a tiny ChestX-ray14: bright images have an effusion, dark ones nothing."""
    root = tmp_path / "public"
    (root / "chestxray14").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    with zipfile.ZipFile(root / "chestxray14/nih_cxr_128.zip", "w") as archive:
        for number in range(40):
            effusion = number % 2
            pixels = rng.integers(0, 60, (128, 128), np.uint8) + 120 * effusion
            buffer = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(buffer, "png")
            archive.writestr(f"{number:08d}_000.png", buffer.getvalue())
            split = "test" if number >= 32 else "train_val"
            labels = {finding: str(int(finding == "Effusion" and effusion)) for finding in FINDINGS}
            rows.append(
                {"image": f"{number:08d}_000.png", "patient_id": number // 2, "split_official": split, **labels}
            )
    for empty in ("nih_cxr_64.zip", "nih_cxr_256.zip"):
        zipfile.ZipFile(root / "chestxray14" / empty, "w").close()
    with gzip.open(root / "chestxray14/labels.csv.gz", "wt", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


def test_a_run_trains_resumes_and_gives_a_model_that_encodes(public: Path, tmp_path: Path) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(EXPERIMENT + SCHEDULE + HEAD + STAGE.format(draws=0, wide="false"))
    first = train(Recipe.read(file), public, tmp_path / "runs")
    file.write_text(file.read_text() + STAGE.format(draws=8, wide="true"))

    second = train(Recipe.read(file), public, tmp_path / "runs")

    before, after = first.state_dict(), second.state_dict()
    assert before["trunk.stem.convolution.weight"].equal(after["trunk.stem.convolution.weight"])  # frozen
    assert not before["trunk.head.convolution.weight"].equal(after["trunk.head.convolution.weight"])
    network, trained = load_network(tmp_path / "runs/tiny.safetensors")
    export(network, trained.architecture, tmp_path / "tiny-model.safetensors", "tiny", {}, trained.classes)
    encoder = Encoder.load(tmp_path / "tiny-model.safetensors", 128, "cpu")
    results = list(evaluate(encoder, ("nih14k",), public, tmp_path / "runs/cache"))
    assert {one.code_length for one in results} == {16, 32, 48, 64, 128}
    assert "| nih14k | P-A | DB-seen | 16 |" in table(results)


def test_a_recipe_says_what_the_network_is_built_of(public: Path, tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text(EXPERIMENT + SCHEDULE + HEAD + ARCHITECTURE + STAGE.format(draws=0, wide="false"))

    train(Recipe.read(file), public, tmp_path / "runs")

    network, trained = load_network(tmp_path / "runs/other.safetensors")
    assert trained.architecture == Architecture("efficientnet-lite0", "plain", {"hidden": 24}, (16, 64), False, 64)
    assert network.width == 64 + len(CLASSES)
    images = torch.randint(0, 256, (3, 1, 224, 224), dtype=torch.uint8)
    assert torch.isfinite(network.eval()(images)).all()


def test_the_union_is_trained_on_maps_and_its_class_scores_get_a_temperature(public: Path, tmp_path: Path) -> None:
    file = tmp_path / "union.toml"
    loss = "loss = { shares = 1.0, graded_pairs = 1.0, graph = 0.1, levels = 0.2, relation = 1.0, agreement = 1.0 }"
    head = HEAD.replace("loss = { pairs = 1.0, relation = 1.0, agreement = 1.0 }", loss)
    union = ARCHITECTURE.replace("head_options", 'head = "union"\nhead_options')
    file.write_text(EXPERIMENT + SCHEDULE + head + union + STAGE.format(draws=0, wide="false"))

    network = train(Recipe.read(file), public, tmp_path / "runs")

    trained = load_network(tmp_path / "runs/union.safetensors")[1]
    assert isinstance(network.head, UnionHead)
    assert network.head.temperature != 1
    assert trained.architecture.head == "union"
    model = export(network, trained.architecture, tmp_path / "model.safetensors", "union", {}, trained.classes)
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224), np.uint8)
    encoding = Encoder.load(tmp_path / "model.safetensors", 64, "cpu").encode(images, ["DX", "DX"])
    assert model.classes == CLASSES
    assert np.allclose(encoding.class_scores.sum(axis=1), 1, atol=1e-5)


def test_a_finished_model_gets_a_classifier_and_keeps_its_other_weights(public: Path, tmp_path: Path) -> None:
    experiment, model = tmp_path / "tiny.toml", tmp_path / "model.safetensors"
    experiment.write_text(EXPERIMENT + SCHEDULE + HEAD + STAGE.format(draws=0, wide="false"))
    export(build(Architecture(), 0), Architecture(), model, "mine", {})
    before, files = load_file(model), set()

    for _ in range(2):
        arguments = ["classify", str(model), str(experiment), "--data", str(public), "--output", str(tmp_path / "runs")]
        outcome = CliRunner().invoke(app, arguments)
        files.add(model.read_bytes())

    after = load_file(model)
    assert outcome.exit_code == 0, outcome.output
    assert (read_model(model).name, read_model(model).classes) == ("mine", CLASSES)
    assert set(after) - set(before) == {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert len(files) == 1, "the second run gives the same file"


def test_a_group_on_both_sides_of_the_split_is_an_error_that_names_it(public: Path, tmp_path: Path) -> None:
    path = public / "chestxray14/labels.csv.gz"
    text = gzip.decompress(path.read_bytes()).decode().splitlines()
    text[-1] = text[-1].replace(",19,test", ",3,test")
    path.write_bytes(gzip.compress("\n".join(text).encode()))

    with pytest.raises(ValueError, match="nih-3"):
        datasets.load("nih14k", public, tmp_path / "cache")


def test_an_unknown_key_of_an_experiment_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "odd.toml"
    file.write_text(EXPERIMENT + SCHEDULE + HEAD.replace("seed", "sed", 1) + STAGE.format(draws=0, wide="false"))
    with pytest.raises(TypeError, match="sed"):
        Recipe.read(file)

    file.write_text(EXPERIMENT + "learnin_rate = 1\n" + SCHEDULE + HEAD + STAGE.format(draws=0, wide="false"))

    with pytest.raises(TypeError, match="learnin_rate"):
        Recipe.read(file)
