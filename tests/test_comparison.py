"""The whole bench on a stand-in for ChestX-ray14."""

import csv
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hashing.__main__ import app
from hashing.evaluation.protocol import reported_tasks
from hashing.methods.catalogue import METHODS
from hashing.training import comparison, report
from hashing.training.comparison import compare, health, rows
from hashing.training.experiment import Experiment
from hashing.training.loop import Schedule
from tests.standin import experiment


@pytest.mark.slow
def test_one_command_makes_the_whole_table_from_the_published_tree(nih: Path, tmp_path: Path) -> None:
    path = experiment(tmp_path, "trained", list(METHODS))
    command = ["compare", str(path), "--data", str(nih), "--output", str(tmp_path / "runs"), "--docs", str(tmp_path)]

    done = CliRunner().invoke(app, command)

    assert done.exit_code == 0, done.output
    with (tmp_path / "results.csv").open() as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == [
        "dataset", "method", "code_length", "metric", "relevance", "value", "low", "high", "seeds",
    ]  # fmt: skip
    assert {row["method"] for row in found} == {*METHODS, "chance"}
    assert {row["relevance"] for row in found} == {"codes"} | {
        f"{relevance} {database}" for relevance in ("P-A", "P-B", "P-C") for database in ("DB-seen", "DB-unseen")
    }
    tested = {row["seeds"] for row in found if row["method"] == "DPSH"}
    assert tested == {"1"}
    assert (tmp_path / "results-standin-trained.png").stat().st_size > 10_000
    assert (tmp_path / "curves-standin-trained.png").stat().st_size > 10_000
    assert "### stand-in, P-C DB-unseen: MAP" in (tmp_path / "results.md").read_text()


def test_what_was_measured_is_not_computed_again(nih: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Experiment.read(experiment(tmp_path, "imagenet", ["LSH", "ITQ"]))
    first = [str(row) for row in rows(compare(one, nih, tmp_path / "runs"))]

    def never(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(comparison, "ranker", never)

    assert [str(row) for row in rows(compare(one, nih, tmp_path / "runs"))] == first


def test_code_health_knows_good_codes_from_bad_ones() -> None:
    rng = np.random.default_rng(0)
    good = rng.standard_normal((500, 16)).astype(np.float32)
    bad = np.repeat(good[:, :1], 16, axis=1) + 10 * np.eye(16, dtype=np.float32)[0]

    assert health(good)["bit imbalance"] < 0.05 < health(bad)["bit imbalance"]
    assert health(good)["bit correlation"] < 0.1 < 0.9 < health(bad)["bit correlation"]
    assert float(health(good)["distinct codes"]) > 490
    assert float(health(bad)["distinct codes"]) == 2


def test_every_reported_task_is_judged_with_an_interval(nih: Path, tmp_path: Path) -> None:
    one = Experiment.read(experiment(tmp_path, "imagenet", ["ITQ"]))
    compared = compare(one, nih, tmp_path / "runs")
    found = list(rows(compared))

    assert {row.relevance for row in found} >= {one.name for one in reported_tasks(compared.truth)}
    for row in found:
        if row.metric == "MAP":
            assert row.low <= row.value <= row.high, row
    assert report.method_table([row for row in found if row.metric == "MAP" and row.relevance == "P-A DB-seen"])


def test_a_schedule_of_an_experiment_is_what_its_file_says(tmp_path: Path) -> None:
    assert Experiment.read(experiment(tmp_path, "imagenet", ["ITQ"])).schedule == Schedule(2, 5e-3, 0.1, 0.0, 0)
