"""Features and maps that are computed once and kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from hashing.bench import features
from hashing.bench.experiment import Experiment
from hashing.model.network import FEATURES
from tests.support.hashing.standin import experiment


def test_maps_are_kept_and_average_to_the_features(nih: Path, tmp_path: Path) -> None:
    one = Experiment.read(experiment(tmp_path, "imagenet", ["LSH"]))
    features.load(one, nih, tmp_path / "runs")
    (path,) = (tmp_path / "runs/standin-imagenet").glob("features-*.safetensors")
    kept = load_file(path)["features"][0]

    pyramid = features.load_maps(one, (8, 16, 32), nih, tmp_path / "runs")

    assert [maps.shape for maps in pyramid] == [(1, 90, 40, 4, 4), (1, 90, 112, 2, 2), (1, 90, FEATURES, 1, 1)]
    assert np.allclose(pyramid[2][0].mean(axis=(2, 3), dtype=np.float32), kept, atol=5e-3)
    (last,) = features.load_maps(one, (32,), nih, tmp_path / "runs")
    assert np.array_equal(last, pyramid[2])


def test_the_pass_that_makes_the_last_maps_leaves_the_features_behind(
    nih: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = replace(Experiment.read(experiment(tmp_path, "imagenet", ["LSH"])), views=2)
    alone = features.load(one, nih, tmp_path / "alone")
    features.load_maps(one, (8, 32), nih, tmp_path / "runs")

    monkeypatch.delattr(features, "_encoded")  # a second pass would fail

    assert np.allclose(features.load(one, nih, tmp_path / "runs").views, alone.views, atol=1e-3)


def test_views_are_of_training_images_at_other_resolutions_and_repeat_the_first_elsewhere(
    nih: Path, tmp_path: Path
) -> None:
    one = replace(Experiment.read(experiment(tmp_path, "imagenet", ["LSH"])), views=3)

    loaded = features.load(one, nih, tmp_path / "runs")

    train, others = loaded.truth.part("train"), loaded.truth.part("validation", "test")
    assert loaded.views.shape == (3, 90, FEATURES)
    assert np.array_equal(loaded.views[0, others], loaded.views[2, others])
    moved = np.abs(loaded.views[1:, train] - loaded.views[0, train]).mean(axis=(1, 2))
    assert moved.min() > 0.001
    assert not np.array_equal(loaded.views[1, train], loaded.views[2, train])
    assert np.allclose(loaded.views[:, train].mean(axis=(0, 1)), 0, atol=1e-4)


def test_test_images_have_no_say_in_how_features_are_standardised(
    nih: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Experiment.read(experiment(tmp_path, "imagenet", ["LSH"]))
    loaded = features.load(one, nih, tmp_path / "runs")
    train, test = loaded.truth.part("train"), loaded.truth.part("test")
    values = loaded.views.copy()
    values[:, test] += 100

    monkeypatch.setattr(features, "_cached", lambda *_: values)
    moved = features.load(one, nih, tmp_path / "runs")

    assert np.allclose(moved.views[0, train].mean(axis=0), 0, atol=1e-4)
    assert np.array_equal(moved.mean, values[0, train].mean(axis=0))
