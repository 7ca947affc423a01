"""Who asks whom: databases, relevance, and the patients that are left out."""

from dataclasses import replace

import numpy as np
import pytest

from hashing.codes import hamming_distance, pack
from hashing.data.examples import NO_FINDING
from hashing.evaluation.judgement import judge
from hashing.evaluation.protocol import (
    GroundTruth,
    by_chance,
    by_codes,
    by_distance,
    reported_tasks,
    task,
    validation_task,
)


@pytest.fixture
def truth() -> GroundTruth:
    """300 images of 100 patients; a third has no finding."""
    rng = np.random.default_rng(0)
    groups = np.array([f"patient {number:03d}" for number in np.repeat(np.arange(100), 3)])
    findings = rng.random((300, 3)) < 0.3
    labels = np.column_stack([findings, ~findings.any(axis=1)])
    splits = np.repeat(["train", "validation", "test"], (180, 60, 60))
    kinds = np.where(np.arange(300) % 2 == 0, "CT", "MR")
    return GroundTruth(labels, ("Mass", "Nodule", "Edema", NO_FINDING), groups, splits, kinds)


def test_positives_ask_positives_in_the_first_relevance_and_everybody_in_the_third(truth: GroundTruth) -> None:
    tasks = {one.name: one for one in reported_tasks(truth)}
    test, seen = truth.part("test"), truth.part("train", "validation")
    found = np.asarray(truth.labels[:, :3].any(axis=1))

    assert set(tasks) == {
        f"{relevance} {database}" for relevance in ("P-A", "P-B", "P-C") for database in ("DB-seen", "DB-unseen")
    }
    assert tasks["P-A DB-seen"].queries.tolist() == test[found[test]].tolist()
    assert tasks["P-A DB-seen"].images.tolist() == seen[found[seen]].tolist()
    assert tasks["P-B DB-seen"].queries.tolist() == test.tolist()
    assert tasks["P-C DB-seen"].queries.tolist() == test[found[test]].tolist()
    assert tasks["P-C DB-seen"].images.tolist() == seen.tolist()


def test_no_finding_is_relevant_to_no_finding_in_the_second_relevance_only(truth: GroundTruth) -> None:
    everybody = np.arange(300)
    chances = {
        relevance: judge(task(truth, relevance, "all", everybody, everybody), by_chance(300))["P@1"].mean()
        for relevance in ("P-A", "P-B", "P-C")
    }

    def share(queries: np.ndarray, images: np.ndarray, labels: np.ndarray) -> float:
        values = []
        for query in queries:
            others = images[truth.groups[images] != truth.groups[query]]
            values.append((labels[others] & labels[query]).any(axis=1).mean())
        return float(np.mean(values))

    found = np.flatnonzero(truth.labels[:, :3].any(axis=1))
    assert chances["P-A"] == pytest.approx(share(found, found, truth.labels[:, :3]))
    assert chances["P-B"] == pytest.approx(share(everybody, everybody, truth.labels))
    assert chances["P-C"] == pytest.approx(share(found, everybody, truth.labels[:, :3]))


def test_queries_and_database_share_no_patient_of_the_test_part(truth: GroundTruth) -> None:
    for one in reported_tasks(truth):
        if one.database == "DB-unseen":
            assert not set(truth.groups[one.queries]) & set(truth.groups[one.images])
            assert set(truth.splits[one.images]) == {"test"}
        else:
            assert "test" not in truth.splits[one.images]


def test_a_set_without_no_finding_has_one_relevance_and_may_be_cut_by_kind(truth: GroundTruth) -> None:
    plain = GroundTruth(truth.labels, ("a", "b", "c", "d"), truth.groups, truth.splits, truth.kinds)

    assert {one.relevance for one in reported_tasks(plain, by_kind=True)} == {"P-A", "P-A CT", "P-A MR"}
    cut = next(one for one in reported_tasks(plain, by_kind=True) if one.relevance == "P-A CT")
    assert set(truth.kinds[cut.queries]) | set(truth.kinds[cut.images]) == {"CT"}


def test_across_sources_a_query_searches_images_of_other_sources_that_can_be_relevant(truth: GroundTruth) -> None:
    hospital = np.where(np.arange(300) // 3 % 2 == 0, "north", "south")
    hospital[240:270:3] = "north"  # of ten patients of the test part, five have been in both
    labels = truth.labels.copy()
    labels[hospital == "south", 2] = False  # Edema occurs in the north alone
    known = replace(truth, labels=labels, sources=hospital)

    tasks = {one.name: one for one in reported_tasks(known)}

    across = tasks["P-A across sources DB-seen"]
    rows = across.queries
    assert 0 < len(rows) < len(tasks["P-A DB-seen"].queries)
    assert labels[rows][:, :2].any(axis=1).all()
    patients = {name: set(truth.groups[hospital == name]) for name in ("north", "south")}
    assert not set(truth.groups[rows]) & patients["north"] & patients["south"]
    for number, query in enumerate(rows):
        assert np.array_equal(across.grades.of_query(number)[1], hospital[across.images] != hospital[query])
    assert not any("across" in one.name for one in reported_tasks(replace(known, sources=np.repeat("north", 300))))
    assert not any("across" in one.name for one in reported_tasks(truth))


def test_validation_asks_validation(truth: GroundTruth) -> None:
    one = validation_task(truth, limit=10)

    assert set(truth.splits[one.queries]) | set(truth.splits[one.images]) == {"validation"}
    assert len(one.queries) <= 20


def test_an_empty_task_is_an_error(truth: GroundTruth) -> None:
    with pytest.raises(ValueError, match="0 queries"):
        task(truth, "P-A", "all", np.array([], int), np.arange(300))


def test_distances_and_codes_rank_the_same(truth: GroundTruth) -> None:
    codes = pack(np.random.default_rng(1).random((300, 16)) < 0.5)
    one = next(iter(reported_tasks(truth)))

    counted = judge(one, by_codes(codes))
    sorted_one = judge(
        one, by_distance(lambda query, images: hamming_distance(codes[query], codes[images])), codes=False
    )

    assert set(counted) - set(sorted_one) == {"P(radius 2)", "empty radius 2"}
    for name, values in sorted_one.items():
        assert np.allclose(values, counted[name], atol=1e-12, equal_nan=True), name
