"""Faults of public code that the bench must not have, and curves."""

import numpy as np
import pytest
from numpy.typing import NDArray

from hashing.codes import pack
from hashing.evaluation.judgement import curve, judge
from hashing.evaluation.metrics import average_precision, legacy_average_precision_found
from hashing.evaluation.protocol import GroundTruth, by_codes, task
from hashing.evaluation.ranking import Levels


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


def toy(n: int = 60) -> GroundTruth:
    rng = np.random.default_rng(0)
    return GroundTruth(
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
    truth = GroundTruth(
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
    truth = GroundTruth(labels, ("a", "b"), np.arange(6).astype(str), np.repeat("test", 6), np.repeat("CT", 6))
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
