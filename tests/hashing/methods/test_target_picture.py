"""The picture of targets that a label graph moves."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from hashing.__main__ import app
from hashing.bench.experiment import Experiment
from hashing.bench.method_run import Run
from hashing.bench.target_picture import draw_geometry, draw_run, geometry
from hashing.methods.base import Setting
from hashing.methods.label_cooccurrence.objective import LabelCooccurrence
from tests.support.hashing.standin import experiment

LABELS = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]], bool)


def test_the_geometry_says_how_far_targets_are_apart_and_how_far_each_has_moved() -> None:
    objective = LabelCooccurrence(Setting(16, LABELS, 0))
    moved = objective.base.clone()
    moved[0] = moved[1]
    moved[0, :2] *= -1  # targets begin 8 bits apart: now the first two are 2 apart
    objective.history.record(moved, 0.99)

    found = geometry(objective)

    assert found.progress.tolist() == [0, 1]
    assert found.least.tolist() == [8, 2]
    assert found.distances[0, 1] == 2
    assert found.distances[1, 2] == 8
    assert found.moved[0].tolist() == [0, 0, 0]
    assert found.moved[1, 1:].tolist() == [0, 0]
    assert found.moved[1, 0] > 0
    assert found.conditional[0, 1] == pytest.approx(2 / 3)
    assert np.isnan(np.diag(found.conditional)).all()


def test_the_picture_is_an_image_also_before_training_and_for_a_single_label(tmp_path: Path) -> None:
    for names, labels in ((("a", "b", "c"), LABELS), (("a",), LABELS[:, :1])):
        path = tmp_path / f"{len(names)}.png"

        draw_geometry(geometry(LabelCooccurrence(Setting(16, labels, 0))), names, path)

        with Image.open(path) as image:
            assert image.size[0] > image.size[1] > 100


def test_one_command_draws_a_run_and_a_method_without_targets_is_refused(nih: Path, tmp_path: Path) -> None:
    path = experiment(tmp_path, "imagenet", ["co-occurrence targets", "DPSH"])
    picture, runs = tmp_path / "targets.png", tmp_path / "runs"

    done = CliRunner().invoke(
        app, ["targets", str(path), str(picture), "--data", str(nih), "--output", str(runs), "--code-length", "32"]
    )

    assert done.exit_code == 0, done.output
    assert "bits apart" in done.output
    assert picture.stat().st_size > 1000
    with pytest.raises(ValueError, match="DPSH has no targets"):
        draw_run(Run("DPSH", 32, 0), Experiment.read(path), nih, runs, picture)
