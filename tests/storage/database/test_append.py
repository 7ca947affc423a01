"""Instances on their way into the database."""

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.database.database import Clash
from storage.record import Level, patient_key
from tests.support.storage.databases import appended, create, expected, stored
from tests.support.storage.invented import item


@given(
    st.sampled_from([16, 64, 100, 256]),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 4)), max_size=60, unique_by=lambda each: each[0]),
    st.integers(1, 20),
    st.sets(st.integers(0, 60), max_size=20),
    st.sampled_from([(1, 1), (8, 4), (16, 16), (1024, 512)]),
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_appended_is_there_until_it_is_removed(
    code_length: int, numbers: list[tuple[int, int]], batch: int, removed: set[int], blocks: tuple[int, int]
) -> None:
    items = [item(number, code_length, frames=tuple(range(frames))) for number, frames in numbers]
    gone = {f"2.25.2{number}" for number in removed}
    with tempfile.TemporaryDirectory() as path, create(Path(path), code_length, "model", *blocks) as database:
        for start in range(0, len(items), batch):
            assert database.append(items[start : start + batch]).new == len(items[start : start + batch])
        assert stored(database) == expected(items)
        assert database.verify() == []

        assert database.remove(gone) == len(gone & {each.record.sop_instance_uid for each in items})

        kept = [each for each in items if each.record.sop_instance_uid not in gone]
        assert stored(database) == expected(kept)
        assert database.verify() == []
        assert database.append(items) == appended(new=len(items) - len(kept), known=len(kept))
        assert stored(database) == expected(items)
        assert database.verify() == []


def test_appending_twice_changes_nothing(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        assert database.append([item(1), item(1), item(2)]) == appended(new=2, known=1)
        with database.snapshot() as snapshot:
            before = snapshot.identifier

        assert database.append([item(2), item(1)]) == appended(new=0, known=2)

        with database.snapshot() as snapshot:
            assert (snapshot.identifier, snapshot.rows) == (before, 2)


def test_other_content_under_a_known_uid_is_returned_and_not_stored(tmp_path: Path) -> None:
    other = item(1, content_digest=b"other", instance={"InstanceNumber": "99"})
    with create(tmp_path) as database:
        result = database.append([item(1), other, item(2)])

        assert result == appended(new=2, clashing=(Clash(other.record, Level.IMAGE),))
        assert database.append([other]) == appended(new=0, clashing=(Clash(other.record, Level.IMAGE),))
        assert stored(database) == expected([item(1), item(2)])


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({"series_instance_uid": "2.25.30", "study_instance_uid": "2.25.49"}, Level.SERIES),
        ({"series_instance_uid": "2.25.30", "study_instance_uid": "2.25.41"}, Level.SERIES),
        ({"study_instance_uid": "2.25.40", "series_instance_uid": "2.25.39"}, Level.STUDY),
    ],
)
def test_a_place_that_contradicts_the_one_kept_is_returned_and_not_stored(
    tmp_path: Path, changes: dict[str, Any], level: Level
) -> None:
    misplaced = item(20, **changes)
    with create(tmp_path) as database:
        database.append([item(0), item(4)])

        assert database.append([misplaced]) == appended(new=0, clashing=(Clash(misplaced.record, level),))

        assert stored(database) == expected([item(0), item(4)])
        assert database.verify() == []


def test_the_first_value_stays_unless_it_was_empty(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = item(0, study={"StudyDate": "", "AccessionNumber": "A1"}, patient={"PatientName": "Test^A"})
    later = item(
        1,
        study={"StudyDate": "20200102", "AccessionNumber": "A2", "StudyID": ""},
        patient={"PatientName": "Test^B", "PatientSex": "F"},
    )
    with create(tmp_path) as database, caplog.at_level(logging.WARNING):
        result = [database.append([each]) for each in (first, later, item(8))]

        assert [each.conflicts for each in result] == [0, 2, 0]
        with database.snapshot() as snapshot:
            kept = snapshot.record("2.25.20")
            assert kept
            assert kept.study == {"StudyDate": "20200102", "AccessionNumber": "A1", "StudyID": ""}
            assert kept.patient == {"PatientName": "Test^A", "PatientSex": "F"}
            assert snapshot.gather("study_date", np.arange(3)).tolist() == [20200102, 20200102, 20200315]
            assert snapshot.gather("sex", np.arange(3)).tolist() == [2, 2, 2]
        assert database.verify() == []
    assert "PatientName" in caplog.text
    assert "Test^" not in caplog.text
    assert "A2" not in caplog.text


def test_two_patients_without_an_id_are_two(tmp_path: Path) -> None:
    nameless = [item(n, patient_key=patient_key("", "", f"2.25.4{n // 4}")) for n in (0, 1, 4)]
    with create(tmp_path) as database:
        database.append(nameless)

        with database.snapshot() as snapshot:
            assert snapshot.count(Level.PATIENT) == 2
        assert stored(database) == expected(nameless)


def test_an_image_without_patient_id_belongs_to_the_patient_of_its_study(tmp_path: Path) -> None:
    nameless: dict[str, Any] = {"patient_key": patient_key("", "", "2.25.40"), "patient": {"PatientID": ""}}
    with create(tmp_path) as database:
        database.append([item(0), item(1, **nameless)])

        with database.snapshot() as snapshot:
            assert snapshot.children(Level.PATIENT, "P0\\HOSPITAL") == ["2.25.40"]
            assert snapshot.count(Level.PATIENT) == 1
        assert database.verify() == []


@pytest.mark.parametrize("known", [True, False])
def test_the_first_patient_id_of_a_study_names_its_patient(tmp_path: Path, known: bool) -> None:
    nameless: dict[str, Any] = {
        "patient_key": patient_key("", "", "2.25.40"),
        "patient": {"PatientID": "", "PatientSex": "O"},
    }
    with create(tmp_path) as database:
        database.append([item(0, **nameless), item(2, **nameless), *([item(4)] if known else [])])

        assert database.append([item(1)]) == appended(new=1)

        with database.snapshot() as snapshot:
            assert set(snapshot.children(Level.PATIENT, "P0\\HOSPITAL")) == {"2.25.40"} | (
                {"2.25.41"} if known else set()
            )
            assert snapshot.count(Level.PATIENT) == 1
            assert snapshot.ordinal(Level.PATIENT, patient_key("", "", "2.25.40")) is None
            assert set(snapshot.gather("sex", np.arange(snapshot.rows))) == {1}
        assert database.verify() == []


def test_removing_the_last_image_removes_what_is_above_it(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        database.append([item(number) for number in range(9)])

        assert database.remove(["2.25.28", "2.25.20", "2.25.21", "2.25.21", "?"]) == 3

        with database.snapshot() as snapshot:
            assert [snapshot.count(level) for level in Level] == [1, 2, 3, 6]
            assert snapshot.entity(Level.PATIENT, "P1\\HOSPITAL") is None
            assert snapshot.rows == 9
        database.append([item(8)])
        with database.snapshot() as snapshot:
            assert snapshot.ordinal(Level.IMAGE, "2.25.28") == 9  # an ordinal is never given twice
        assert database.verify() == []


def test_odd_texts_come_back_as_they_were(tmp_path: Path) -> None:
    odd = {
        "PatientName": "山田^太郎=やまだ^たろう",
        "PatientComments": "\udc80 ill-decoded",
        "OtherPatientNames": "a\\b",
    }
    key = patient_key("長" * 64, "院" * 200, "")
    with create(tmp_path) as database:
        database.append([item(0, patient=odd, patient_key=key), item(1, patient=odd, patient_key=key)])

        with database.snapshot() as snapshot:
            kept = snapshot.record("2.25.21")
            assert kept
            assert (kept.patient, kept.patient_key) == (odd, key)
            assert snapshot.count(Level.PATIENT) == 1
        assert database.verify() == []
