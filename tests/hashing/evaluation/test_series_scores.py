"""Scores of series from the codes of their sections, each beside a value computed by hand."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from hashing.__main__ import app
from hashing.evaluation.series_scores import (
    POOLED,
    SeriesCodes,
    evaluate_series,
    level_agreement,
    mean_level_agreement,
    pooled,
    section_distances,
    series_distances,
)
from hashing.model.model_file import DEFAULT_MODEL
from tests.hashing.data.test_dicom_folders import write

BITS = 16


def codes(*ones: int) -> NDArray[np.float32]:
    """A section for each number: so many leading bits are set."""
    return np.where(np.arange(BITS)[None] < np.array(ones)[:, None], 1, -1).astype(np.float32)


def series(patient: str, label: str, *ones: int) -> SeriesCodes:
    positions = np.arange(len(ones), dtype=float) * 5
    return SeriesCodes(patient, f"{patient}.{label}.{ones}", "CT", (label,), codes(*ones), positions)


def test_each_score_has_its_value_by_hand() -> None:
    query, other = series("a", "chest", 0, 4), series("b", "chest", 3, 10)  # distances 3 10 / 1 6

    assert section_distances(query.relaxed, other.relaxed).tolist() == [[3, 10], [1, 6]]
    by_score = {name: series_distances([query, other], name) for name in ("best match", "mean", "late interaction")}
    assert by_score["best match"].tolist() == [[0, 1], [1, 0]]
    assert by_score["mean"].tolist() == [[2, 5], [5, 3.5]]
    assert by_score["late interaction"].tolist() == [[0, 2], [3.5, 0]]  # (3 + 1) / 2, and (1 + 6) / 2


def test_a_pooled_code_is_what_most_sections_say() -> None:
    assert np.array_equal(pooled(codes(2, 5, 9)) >= 0, codes(5) >= 0)
    assert series_distances([series("a", "x", 2, 5, 9), series("b", "x", 7)], POOLED).tolist() == [[0, 2], [2, 0]]


def test_levels_agree_where_matches_are_in_the_same_order() -> None:
    down = series("a", "chest", 0, 3, 6, 9, 12)

    assert level_agreement(down, series("b", "chest", 1, 4, 7, 10, 13)) == pytest.approx(1.0)
    assert level_agreement(down, series("b", "chest", 12, 9, 6, 3, 0)) == pytest.approx(-1.0)
    assert level_agreement(down, series("b", "chest", 6)) == 0.0
    some = [down, series("b", "chest", 1, 4, 7, 10, 13), series("c", "head", 0, 3, 6, 9, 12)]
    value, pairs = mean_level_agreement(some)
    assert pairs == 2
    assert value == pytest.approx(1.0)


def test_a_series_finds_those_of_its_label_and_patient_but_not_itself() -> None:
    some = [
        series("a", "chest", 0, 1),
        series("a", "head", 15, 16),
        series("b", "chest", 1, 2),
        series("b", "head", 14),
    ]

    found = {(row.unit, row.relevance, row.score): row for row in evaluate_series(some)}

    by_label = found["series", "label", "late interaction"]
    assert (by_label.queries, by_label.candidates) == (4, 4)
    assert (by_label.precision, by_label.chance_precision) == (1.0, 0.5)  # of the other patient's two series
    by_patient = found["series", "patient", "late interaction"]
    assert by_patient.precision == 0.0
    assert by_patient.chance_precision == pytest.approx(1 / 3)
    assert found["section", "label", "distance"].queries == 7


def test_where_nothing_is_alike_no_query_counts() -> None:
    found = list(evaluate_series([series("a", "chest", 0, 1), series("b", "head", 15, 16)]))

    assert {row.queries for row in found} == {0}
    assert all(np.isnan(row.precision) for row in found)


def test_one_command_scores_the_series_of_a_folder(tmp_path: Path) -> None:
    for patient in ("P1", "P2"):
        for collection in ("HEAD", "CHEST"):
            for number in range(2):
                write(tmp_path / collection / patient, patient, f"1.2.{len(collection)}.{patient[1]}", number)

    done = CliRunner().invoke(app, ["series", str(DEFAULT_MODEL), str(tmp_path)])

    assert done.exit_code == 0, done.output
    assert "| series | label | late interaction | 4 | 4 |" in done.output
    assert "| section | patient | distance | 8 | 8 |" in done.output
