"""What distances and class scores mean: counted bands, the usual distance, and the calibration error."""

from math import inf
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hashing.__main__ import app
from hashing.codes import pack
from hashing.evaluation.calibration import (
    Calibration,
    calibration_error,
    distances_and_labels,
    table,
    usual_distances,
)
from hashing.evaluation.protocol import GroundTruth, task
from hashing.model.model_file import DEFAULT_MODEL, Model, read_model

BITS = 64


def code(ones: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.arange(BITS) < ones


def test_nearest_images_of_other_patients_are_counted_by_distance() -> None:
    labels = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], bool)
    truth = GroundTruth(labels, ("a", "b"), np.array(["p", "q", "r", "p"]), np.repeat("test", 4), np.repeat("", 4))
    codes = pack(np.stack([code(0), code(1), code(30), code(0)]))
    asked = task(truth, "P-A", "test", np.array([0]), np.arange(4))

    counted, chance, nearest = distances_and_labels("set", asked, codes[[0]], codes)

    bands = counted(BITS)
    assert [(band.low, band.high, band.pairs, band.sharing) for band in bands] == [(0, 1, 1, 1.0), (20, 63, 1, 0.0)]
    assert chance == 0.5, "of the two other patients one shares a label; the own patient does not count"
    assert nearest.tolist() == [1]


def test_scores_that_are_right_as_often_as_they_say_have_no_error() -> None:
    scores = np.tile([0.75, 0.25], (4, 1))
    labels = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], bool)

    right, error = calibration_error(scores, labels)
    _, sure = calibration_error(np.tile([1.0, 0.0], (4, 1)), labels)

    assert (right, error) == (0.75, 0.0)
    assert sure == pytest.approx(0.25)


def test_a_model_without_class_scores_has_its_distances_told() -> None:
    printed = table([Calibration("nih14k", (), 0.3, 12.0, None, None)])

    assert "| nih14k | 12 bits | | |" in printed


def test_one_command_prints_the_calibration_of_a_model(nih: Path, tmp_path: Path) -> None:
    command = ["calibration", str(DEFAULT_MODEL), "--data", str(nih), "--output", str(tmp_path)]

    done = CliRunner().invoke(app, [*command, "--sets", "chestxray14:nih"])

    assert done.exit_code == 0, done.output
    assert "| chestxray14:nih |" in done.output
    assert "nearest within, 99 %" in done.output


def test_the_usual_distance_is_measured_over_all_sets_of_a_modality() -> None:
    def of_set(nearest: dict[str, list[int]]) -> Calibration:
        return Calibration("set", (), 0.3, 0.0, None, None, {name: np.array(one) for name, one in nearest.items()})

    found = usual_distances([of_set({"DX": [1] * 60 + [9], "US": [3] * 99}), of_set({"DX": [2] * 60})])

    assert found == {"DX": 2}, "99 images are too few for a hundredth"


def test_the_usual_distances_become_part_of_the_model_file(nih: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(DEFAULT_MODEL.read_bytes())
    before = read_model(model)
    options = ["--sets", "chestxray14:nih", "--output", str(tmp_path), "--write"]

    done = CliRunner().invoke(app, ["calibration", str(model), "--data", str(nih), *options])

    assert done.exit_code == 0, done.output
    after = read_model(model)
    assert sorted(after.usual_distances) == [16, 32, 48, 64, 128]
    assert (after.name, after.classes, after.architecture) == (before.name, before.classes, before.architecture)
    assert model.stat().st_size < DEFAULT_MODEL.stat().st_size + 1000, "weights stay in half precision"


def test_a_usual_distance_holds_for_a_family_of_modalities() -> None:
    model = Model("name", "0" * 16, usual_distances={64: {"DX": 12}})

    assert model.usual_distance(64, "CR") == 12
    assert model.usual_distance(64, "CT") == model.usual_distance(32, "CR") == inf
