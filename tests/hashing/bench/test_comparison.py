"""The whole bench on a stand-in for ChestX-ray14."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hashing.__main__ import app
from hashing.bench import comparison, report
from hashing.bench.comparison import Comparison, compare, health, rows
from hashing.bench.experiment import Experiment
from hashing.bench.graph_gain import graph_gain
from hashing.bench.kept_results import KeptResults
from hashing.bench.method_run import Run
from hashing.evaluation.protocol import reported_tasks
from hashing.methods.catalogue import METHODS
from hashing.training.loop import Schedule
from tests.support.hashing.standin import experiment


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
    assert {row["relevance"] for row in found} == {"codes", "P-A validation"} | {
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


def test_results_of_other_experiments_stay_and_those_of_the_same_are_replaced(nih: Path, tmp_path: Path) -> None:
    docs, path = tmp_path / "docs", experiment(tmp_path, "imagenet", ["LSH", "ITQ"])
    one = compare(Experiment.read(path), nih, tmp_path / "runs")
    other = replace(one, experiment=replace(one.experiment, name="other", title="other set, again"))
    fewer = replace(
        one,
        judgements={key: value for key, value in one.judgements.items() if key[0] != "LSH"},
        health={key: value for key, value in one.health.items() if key[0] != "LSH"},
    )

    report.write([one, other], docs)
    both = KeptResults.read(docs)
    report.write([], docs)
    untouched = KeptResults.read(docs)
    report.write([fewer], docs)
    after = KeptResults.read(docs)

    title = one.experiment.title
    assert list(both.sections) == list(both.summaries) == list(both.rows) == [title, "other set, again"]
    assert untouched == both
    for part in ("sections", "summaries", "rows"):
        assert getattr(after, part)["other set, again"] == getattr(both, part)["other set, again"]
    assert "| LSH |" in both.sections[title]
    assert "| LSH |" not in after.sections[title]
    assert 0 < len(after.rows[title]) < len(both.rows[title])


def test_every_reported_task_is_judged_with_an_interval(nih: Path, tmp_path: Path) -> None:
    one = Experiment.read(experiment(tmp_path, "imagenet", ["ITQ"]))
    compared = compare(one, nih, tmp_path / "runs")
    found = list(rows(compared))

    assert {row.relevance for row in found} >= {one.name for one in reported_tasks(compared.truth)}
    for row in found:
        if row.metric == "MAP":
            assert row.low <= row.value <= row.high, row
    assert report.method_table([row for row in found if row.metric == "MAP" and row.relevance == "P-A DB-seen"], {})


@pytest.fixture(scope="module")
def compared(nih: Path, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """References and two trained methods on the stand-in."""
    folder = tmp_path_factory.mktemp("compared")
    methods = ["source size only", "source only", "modality only", "DPSH", "CSQ"]
    return compare(Experiment.read(experiment(folder, "imagenet", methods)), nih, folder / "runs")


def test_source_size_and_source_alone_stand_beside_modality_and_are_at_chance_where_all_are_alike(
    compared: Comparison,
) -> None:
    maps = {row.method: row.value for row in rows(compared) if (row.metric, row.relevance) == ("MAP", "P-A DB-seen")}

    assert maps["source size only"] == maps["source only"] == maps["modality only"] == maps["chance"]
    table = report.method_table([row for row in rows(compared) if row.relevance == "P-A DB-seen"], {})
    assert "| source size only |" in table
    assert "| source only |" in table


def test_the_best_trained_method_is_chosen_by_validation_images_not_by_test_images(compared: Comparison) -> None:
    better, worse = ("DPSH", "CSQ") if compared.best_trained(32) == "DPSH" else ("CSQ", "DPSH")
    validation = compared.validation | {(worse, 32): compared.validation[better, 32] + 0.1}

    other = replace(compared, validation=validation)

    assert other.best_trained(32) == worse
    shown = [row for row in rows(compared) if (row.metric, row.relevance) == ("MAP", "P-A DB-seen")]
    assert f"| {worse} |" in report.method_table(shown, {32: worse})
    (line,) = [one for one in report.method_table(shown, {32: worse}).splitlines() if one.startswith(f"| {worse} |")]
    assert "**" in line
    assert "**" not in report.method_table(shown, {})


def test_codes_that_have_collapsed_are_named(compared: Comparison) -> None:
    results = [row for row in rows(compared) if row.relevance == "codes"]
    few = [replace(row, value=3.0) if row.metric == "distinct codes" else row for row in results]

    assert "No codes collapsed." in report.health_table(results, images=30)
    assert "**Collapsed** (distinct codes for 1,000 images): DPSH 16 (3), DPSH 32 (3)" in report.health_table(
        few, images=1000
    )


def test_a_difference_that_no_draw_contradicts_has_an_upper_bound_of_p(compared: Comparison) -> None:
    apart = replace(compared, judgements={
        key: {name: np.full(len(values), 0.9 if key[0] == compared.best_trained(key[1]) else 0.1)
              for name, values in judgement.items()}
        for key, judgement in compared.judgements.items()
    })  # fmt: skip

    *_, table = report.differences(apart)

    assert "p < 0." in table


def test_another_setting_is_another_result(tmp_path: Path) -> None:
    one = Experiment.read(experiment(tmp_path, "imagenet", ["DPSH"]))
    stems = {
        Run("DPSH", 16, 0).file_stem(changed, key)
        for changed, key in (
            (one, "a"),
            (one, "b"),
            (replace(one, hidden=512), "a"),
            (replace(one, options={"DPSH": {"scale": 3.0}}), "a"),
            (replace(one, options={"DPSH": {"sampling": "uniform"}}), "a"),
            (replace(one, options={"CSQ": {"eta": 1.0}}), "a"),  # the same as the first
        )
    }

    assert len(stems) == 5


def test_a_schedule_of_an_experiment_is_what_its_file_says(tmp_path: Path) -> None:
    assert Experiment.read(experiment(tmp_path, "imagenet", ["ITQ"])).schedule == Schedule(2, 5e-3, 0.1, 0.0, 0)


def test_the_share_of_the_graph_is_what_it_adds_to_smoothing_alone(compared: Comparison) -> None:
    worth = {"OrthoHash": 0.3, "orthogonal targets": 0.32, "co-occurrence targets": 0.38}
    values = compared.judgements["DPSH", 16, "P-A DB-unseen"]["MAP"]
    judged = {
        (method, length, "P-A DB-unseen"): {"MAP": np.full(len(values), value)}
        for method, value in worth.items()
        for length in (16, 32)
    }
    one = replace(compared, judgements=judged, experiment=replace(compared.experiment, methods=tuple(worth)))

    *_, table = graph_gain(one)

    assert "| 16 | 0.080 (0.080 to 0.080) | 0.020 (0.020 to 0.020) | 0.060 (0.060 to 0.060) | 75% |" in table
    assert list(graph_gain(compared)) == []
