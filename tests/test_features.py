"""Features and maps that are computed once and kept."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from hashing.model.network import FEATURES
from hashing.training import features
from hashing.training.experiment import Experiment
from tests.standin import experiment


def test_maps_are_kept_and_average_to_the_features(nih: Path, tmp_path: Path) -> None:
    one = Experiment.read(experiment(tmp_path, "imagenet", ["LSH"]))
    features.load(one, nih, tmp_path / "runs")
    kept = load_file(tmp_path / "runs/standin-imagenet/features-imagenet-32.safetensors")["features"]

    pyramid = features.load_maps(one, (8, 16, 32), nih, tmp_path / "runs")

    assert [maps.shape for maps in pyramid] == [(90, 40, 4, 4), (90, 112, 2, 2), (90, FEATURES, 1, 1)]
    assert np.allclose(pyramid[2].mean(axis=(2, 3), dtype=np.float32), kept, atol=5e-3)
    (last,) = features.load_maps(one, (32,), nih, tmp_path / "runs")
    assert np.array_equal(last, pyramid[2])


def test_test_images_have_no_say_in_how_features_are_standardised(
    nih: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Experiment.read(experiment(tmp_path, "imagenet", ["LSH"]))
    loaded = features.load(one, nih, tmp_path / "runs")
    train, test = loaded.truth.part("train"), loaded.truth.part("test")
    values = loaded.values.copy()
    values[test] += 100

    monkeypatch.setattr(features, "_cached", lambda *_: values)
    moved = features.load(one, nih, tmp_path / "runs")

    assert np.allclose(moved.values[train].mean(axis=0), 0, atol=1e-4)
    assert np.array_equal(moved.mean, values[train].mean(axis=0))
