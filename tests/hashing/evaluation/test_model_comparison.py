"""Model files beside each other: the images that ask, and what stands in the table."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hashing.data import datasets
from hashing.data.datasets import Dataset
from hashing.data.examples import KINDS
from hashing.evaluation import model_comparison
from hashing.evaluation.judgement import truth_of
from hashing.evaluation.model_comparison import FeaturesAndCodes, asked_by, compare_models, encoded, rankers_of, table
from hashing.evaluation.protocol import reported_tasks
from hashing.model.architectures import build
from hashing.model.encoder import Encoder
from hashing.model.model_file import Architecture
from hashing.model.weights import export


@pytest.fixture
def dataset() -> Dataset:
    """24 pictures of two labels, a patient each: bright above or bright below."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (24, 224, 224), np.uint8)
    of_label = np.arange(24) // 2 % 2
    images[of_label == 0, :112] += 120
    images[of_label == 1, 112:] += 120
    labels = np.eye(2, dtype=bool)[of_label]
    splits = np.repeat(["train", "validation", "test"], 8)
    groups = np.array([f"{number:03}" for number in range(24)])
    return Dataset(images, labels, np.zeros(24, np.int64), groups, splits, ("above", "below"))


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    """An untrained model with bits of the modality, and one without, of 64 pixels and with a hidden layer."""
    torch.manual_seed(0)
    parts = (
        Architecture(input_size=32),
        Architecture(head_options={"hidden": 8}, code_lengths=(16, 64), modality_bits=False, input_size=64),
    )
    paths = [tmp_path / "old.safetensors", tmp_path / "new.safetensors"]
    for path, architecture in zip(paths, parts, strict=True):
        export(build(architecture, 0), architecture, path, path.stem, {})
    return paths


def test_test_images_take_no_part_where_validation_images_ask(dataset: Dataset) -> None:
    truth = truth_of(dataset)

    tasks = list(reported_tasks(asked_by(truth, "validation")))

    asked = np.unique(np.concatenate([np.concatenate([task.queries, task.images]) for task in tasks]))
    assert set(truth.splits[asked]) == {"train", "validation"}
    assert all(set(truth.splits[task.queries]) == {"validation"} for task in tasks)
    assert asked_by(truth, "test") is truth


def test_outputs_are_those_of_the_encoder_of_the_node(dataset: Dataset, models: list[Path]) -> None:
    few = replace(dataset, images=dataset.images[:5], kinds=dataset.kinds[:5])

    for path, length in zip(models, (128, 64), strict=True):
        ours = encoded(path, few)
        theirs = Encoder.load(path, length, "cpu", "torch").encode(few.images, ["DX"] * 5)
        assert ours.features.shape == (5, 1280)
        assert np.allclose(ours.relaxed, theirs.relaxed, atol=1e-3)


def test_codes_that_know_the_label_are_above_those_that_do_not(dataset: Dataset) -> None:
    truth = truth_of(dataset)
    (task, *_) = reported_tasks(truth)
    rng = np.random.default_rng(1)
    blind = rng.standard_normal((24, 64)).astype(np.float32)
    knowing = np.where(truth.labels[:, :1], 1, -1) * np.abs(blind)

    results = list(
        model_comparison._compared(
            "set",
            task,
            truth,
            {
                name: rankers_of(FeaturesAndCodes(blind, codes, (16, 64)), truth)
                for name, codes in (("blind", blind), ("knowing", knowing))
            },
        )
    )

    found = {(row.model, row.ranking): row for row in results}
    best = found["knowing", "64 bits"]
    assert best.estimate.value == 1
    assert best.before is not None
    assert best.before.low > 0
    assert best.rotation is not None
    assert best.rotation.low > 0
    assert found["blind", "64 bits"].before is None
    assert found["knowing", "cosine of outputs"].estimate.value == pytest.approx(1)
    assert set(found) >= {("", "chance"), ("blind", "ITQ"), ("blind", "16 bits")}


def test_the_table_has_every_model_and_every_length(
    dataset: Dataset, models: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(datasets, "load", lambda *_: dataset)

    lines = table(list(compare_models(models, ("set",), tmp_path, tmp_path, "validation"))).splitlines()

    assert len(lines) == 2 + 2 * (1 + (5 + 2) + (2 + 2)), "two tasks: chance, five lengths and two, each with two more"
    assert sum("| new | 64 bits |" in line for line in lines) == 2
    assert KINDS[0] not in lines[2]
