"""The whole bench on a stand-in for ChestX-ray14, and the faults of public code that it must not have."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from typer.testing import CliRunner

from hashing.__main__ import app
from hashing.codes import pack
from hashing.evaluation.judgement import curve, judge
from hashing.evaluation.metrics import average_precision, legacy_average_precision_found
from hashing.evaluation.protocol import Truth, by_codes, reported_tasks, task
from hashing.evaluation.ranking import Levels
from hashing.methods.catalogue import METHODS
from hashing.model.network import FEATURES
from hashing.training import comparison, features, report
from hashing.training.comparison import compare, health, rows
from hashing.training.experiment import Experiment
from hashing.training.features import standardised
from hashing.training.loop import Schedule
from hashing.training.method_run import Material, Run, by_unlikelihood, classifier, ranker, validate
from tests.standin import Film, chest_xray14

TOY = """
title = "stand-in"
dataset = ["chestxray14:nih"]
trunk = "{trunk}"
size = 32
folds = 2
frozen_blocks = 14
trunk_batch = 16
methods = {methods}
code_lengths = [16, 32]
seeds = [0]
batch = 16
sampling = "balanced"
[trunk_schedule]
epochs = 1
learning_rate = 1e-3
trunk_rate = 0.25
weight_decay = 0.0
patience = 0
[schedule]
epochs = 2
learning_rate = 5e-3
trunk_rate = 0.1
weight_decay = 0.0
patience = 0
"""


@pytest.fixture(scope="module")
def nih(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with 90 images of 45 patients, as NIH names and lists them."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    findings = ("Effusion", "Mass", "Nodule")
    films = [
        Film(
            f"{patient:08d}_{number:03d}.png",
            patient,
            "test" if patient >= 30 else "train",
            tuple(name for name in findings if rng.random() < 0.4),
        )
        for patient in range(45)
        for number in range(2)
    ]
    chest_xray14(root / "nih", films)
    return root


def experiment(folder: Path, trunk: str, methods: list[str]) -> Path:
    path = folder / f"standin-{trunk}.toml"
    path.write_text(TOY.format(trunk=trunk, methods=methods))
    return path


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


def test_maps_are_kept_and_average_to_the_features(nih: Path, tmp_path: Path) -> None:
    one = Experiment.read(experiment(tmp_path, "imagenet", ["LSH"]))
    features.load(one, nih, tmp_path / "runs")
    kept = load_file(tmp_path / "runs/standin-imagenet/features-imagenet-32.safetensors")["features"]

    maps = features.load_maps(one, nih, tmp_path / "runs")

    assert maps.shape == (90, FEATURES, 1, 1)
    assert np.allclose(maps.mean(axis=(2, 3), dtype=np.float32), kept, atol=5e-3)
    assert np.array_equal(features.load_maps(one, nih, tmp_path / "runs"), maps)


def test_a_curve_counts_what_lies_within_each_radius() -> None:
    truth, codes = toy(), np.random.default_rng(1).integers(0, 8, (60, 1)).astype(np.uint64)
    asked = task(truth, "P-A", "itself", np.arange(60), np.arange(60))

    found = curve(asked, by_codes(codes))

    for radius in range(4):
        precision, recall = [], []
        for query in asked.queries:
            others = [image for image in asked.images if truth.groups[image] != truth.groups[query]]
            relevant = {image for image in others if (truth.labels[image] & truth.labels[query]).any()}
            within = {image for image in others if int(codes[image, 0] ^ codes[query, 0]).bit_count() <= radius}
            recall.append(len(within & relevant) / len(relevant))
            precision += [len(within & relevant) / len(within)] if within else []
        assert found["precision"][radius] == pytest.approx(np.mean(precision))
        assert found["recall"][radius] == pytest.approx(np.mean(recall))


def test_a_classifier_begins_with_how_often_each_label_occurs() -> None:
    labels = np.zeros((998, 2), bool)
    labels[:99, 0] = True

    with torch.no_grad():
        chances = torch.sigmoid(classifier(4, labels)(torch.zeros(1, 4)))

    assert chances[0].tolist() == pytest.approx([0.1, 0.001])


def test_methods_can_train_the_trunk_end_to_end(nih: Path, tmp_path: Path) -> None:
    path = experiment(tmp_path, "own", ["OrthoHash"])
    done = CliRunner().invoke(
        app,
        ["train", str(path), "--method", "OrthoHash", "--code-length", "16", "--data", str(nih),
         "--output", str(tmp_path / "runs")],
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    assert "validation score" in done.output
    assert (tmp_path / "runs/standin-own/OrthoHash-16-0/log.csv").exists()
    with pytest.raises(ValueError, match="cached features"):
        ranker(Run("LSH", 16, 0), Experiment.read(path), Material.load(Experiment.read(path), nih, tmp_path / "runs"),
               tmp_path)  # fmt: skip


def test_an_unknown_method_or_sampling_is_refused_with_the_choice(nih: Path, tmp_path: Path) -> None:
    one = Experiment.read(experiment(tmp_path, "imagenet", ["LSH"]))

    with pytest.raises(ValueError, match="choose of DSH"):
        validate(Run("DBSH", 16, 0), one, nih, tmp_path / "runs")


def test_test_images_have_no_say_in_how_features_are_standardised() -> None:
    values = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    train = np.arange(10)
    moved = values.copy()
    moved[10:] += 100

    assert np.array_equal(standardised(values, train)[:10], standardised(moved, train)[:10])


def toy(n: int = 60) -> Truth:
    rng = np.random.default_rng(0)
    return Truth(
        labels=rng.random((n, 3)) < 0.4,
        names=("a", "b", "c"),
        groups=np.array([f"p{number // 2}" for number in range(n)]),
        splits=np.repeat(["train", "test"], n // 2),
        kinds=np.repeat("CT", n),
    )


def test_a_query_never_finds_itself_or_its_patient() -> None:
    truth = toy()
    everybody = np.arange(60)
    same = task(truth, "P-A", "itself", everybody, everybody)
    own = pack(np.eye(64, dtype=bool)[np.arange(60) // 2])  # a code that knows the patient, and nothing else

    values = judge(same, by_codes(own))["P@1"]
    chance = judge(same, by_codes(np.zeros((60, 1), np.uint64)))["P@1"]

    assert np.allclose(values, chance, equal_nan=True)


def test_queries_without_a_relevant_image_are_left_out_of_the_mean_not_scored() -> None:
    truth = Truth(
        labels=np.array([[True, False], [False, True], [True, False], [True, False]]),
        names=("a", "b"),
        groups=np.array(["p0", "p1", "p2", "p3"]),
        splits=np.array(["test", "test", "train", "train"]),
        kinds=np.repeat("CT", 4),
    )
    asked = task(truth, "P-A", "DB-seen", truth.part("test"), truth.part("train"))

    for name, values in judge(asked, by_codes(np.zeros((4, 1), np.uint64))).items():
        if name != "empty radius 2":
            assert np.isnan(values[1]), name
            assert not np.isnan(values[0]), name


def test_one_hit_at_the_top_is_not_worth_more_than_two_hits_at_one_and_three() -> None:
    labels = np.array([[True, False], [True, False], [False, True], [False, True], [True, False], [True, False]])
    truth = Truth(labels, ("a", "b"), np.arange(6).astype(str), np.repeat("test", 6), np.repeat("CT", 6))
    asked = task(truth, "P-A", "toy", np.array([0]), np.arange(1, 6))

    def measured(order: list[int], name: str) -> float:
        bits = np.zeros((6, 16), bool)
        for place, image in enumerate(order):
            bits[image, : place + 1] = True
        (levels,) = by_codes(pack(bits))(asked)
        return float(measure(name, levels)[0])

    def measure(name: str, levels: Levels) -> NDArray[np.float64]:
        return legacy_average_precision_found(levels, 3) if name == "found" else average_precision(levels, 3)

    one_hit, two_hits = [1, 2, 3, 4, 5], [1, 2, 4, 3, 5]  # hits at 1, and at 1 and 3
    assert measured(two_hits, "found") < measured(one_hit, "found") == 1.0
    assert measured(two_hits, "ours") > measured(one_hit, "ours")


def test_database_codes_come_from_the_encoder_alone(nih: Path, tmp_path: Path) -> None:
    one = Experiment.read(experiment(tmp_path, "imagenet", ["CSQ"]))
    material = Material.load(one, nih, tmp_path / "runs")
    _, relaxed = ranker(Run("CSQ", 16, 0), one, material, tmp_path)
    assert material.values is not None
    values = np.concatenate([material.values[:1], material.values[:1], material.values[2:]])
    twins = Material(material.truth, values, None)
    torch.manual_seed(0)

    _, same = ranker(Run("CSQ", 16, 0), one, twins, tmp_path)

    assert np.allclose(same[0], same[1], atol=1e-5)  # equal images have equal codes, whatever their labels
    assert relaxed.shape == (90, 16)


def test_the_probability_ranker_asks_for_findings_only_where_no_finding_is_not_relevant() -> None:
    truth = Truth(
        labels=np.array([[True, False], [True, False], [True, False]]),
        names=("Mass", "No Finding"),
        groups=np.array(["a", "b", "c"]),
        splits=np.array(["test", "train", "train"]),
        kinds=np.repeat("DX", 3),
    )
    chances = np.array([[0.5, 0.9], [0.6, 0.0], [0.5, 0.9]])

    def first(relevance: str) -> float:
        asked = task(truth, relevance, "DB-seen", np.array([0]), np.array([1, 2]))
        (levels,) = by_unlikelihood(chances, truth)(asked)
        return float(levels.gains["linear"].sums[0, 0])

    assert first("P-A") == first("P-B") == 1.0


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
