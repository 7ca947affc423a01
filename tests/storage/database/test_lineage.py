"""Objects that correct what arrived before them, and patients whose issuer some objects leave out."""

from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.database.database import Appended, Database, Item
from storage.record import Level, may_be_one_patient, patient_key
from tests.support.storage.invented import item, record

LATER_NS = 1_800_000_000_000_000_000
STUDY = record(0).study_instance_uid
PATIENTS = (("I", ""), ("I", "HERE"), ("I", "THERE"), ("I2", ""), ("", ""), ("I\\", ""), ("i", ""))
OLD, NEW = (patient_key(name, "HOSPITAL", STUDY) for name in ("P0", "P9"))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.create_or_open(tmp_path / "database", 64, "model", 1 << 26, block_rows=16, tail_rows=4) as database:
        yield database


def corrected(number: int, **changes: Any) -> Item:
    """Instance `number` sent again with other content, later than all that was sent before."""
    defaults: dict[str, Any] = {"content_digest": f"corrected {number}".encode(), "received_ns": LATER_NS + number}
    return item(number, **(defaults | changes))


def replacing(database: Database, *items: Item) -> Appended:
    return database.append(items, replace=True)


def patients(database: Database) -> dict[str, str]:
    """Patient key by SOP Instance UID of every instance."""
    with database.snapshot() as snapshot:
        return {entity.uid: entity.uids[Level.PATIENT] for entity in snapshot.entities(Level.IMAGE)}


def attributes(database: Database, number: int) -> dict[str, str]:
    with database.snapshot() as snapshot:
        entity = snapshot.entity(Level.IMAGE, record(number).sop_instance_uid)
        assert entity is not None
        return dict(entity.attributes)


def uids(numbers: Sequence[int]) -> list[str]:
    return [record(number).sop_instance_uid for number in numbers]


@pytest.mark.parametrize("order", [*permutations(range(3))])
@pytest.mark.parametrize("together", [True, False])
def test_a_study_sent_again_with_another_patient_id_moves_there_whole(
    database: Database, order: tuple[int, ...], together: bool
) -> None:
    database.append([item(number) for number in range(3)])
    again = [corrected(number, patient_key=NEW, patient={"PatientID": "P9"}) for number in order]

    for batch in [again] if together else [[one] for one in again]:
        assert replacing(database, *batch) == Appended(0, 0, len(batch), (), 0)

    assert patients(database) == dict.fromkeys(uids(range(3)), NEW)
    with database.snapshot() as snapshot:
        assert [snapshot.count(level) for level in Level] == [1, 1, 2, 3]
    assert database.verify() == []


def test_one_corrected_instance_takes_its_siblings_along_and_loses_none(database: Database) -> None:
    database.append([item(number) for number in range(8)])  # two studies of one patient

    replacing(database, corrected(1, patient_key=NEW, patient={"PatientSex": "O"}))

    found = patients(database)
    assert {found[uid] for uid in uids(range(4))} == {NEW}
    assert {found[uid] for uid in uids(range(4, 8))} == {OLD}
    assert database.verify() == []
    with database.snapshot() as snapshot:  # the columns follow: the codes of all four belong to the new patient
        [ordinal] = snapshot.ordinals(Level.PATIENT, [NEW])
        assert np.count_nonzero(snapshot.gather("patient", np.arange(snapshot.rows)) == ordinal) == 4


def test_corrections_of_the_newest_object_hold_for_the_whole_study_while_siblings_remain(database: Database) -> None:
    database.append([item(number) for number in range(4)])

    replacing(
        database,
        corrected(
            0,
            patient={"PatientName": "Right^Name", "PatientSex": "F"},
            study={"AccessionNumber": "A2", "StudyDate": "20210101", "StudyDescription": "right"},
            series={"Modality": "US", "BodyPartExamined": ""},
        ),
    )

    sibling, same_series = attributes(database, 3), attributes(database, 1)
    assert {k: sibling[k] for k in ("PatientName", "AccessionNumber", "StudyDate", "StudyDescription", "Modality")} == {
        "PatientName": "Right^Name", "AccessionNumber": "A2", "StudyDate": "20210101", "StudyDescription": "right",
        "Modality": "MR",
    }  # fmt: skip
    assert (same_series["Modality"], same_series["BodyPartExamined"]) == ("US", "CHEST")  # empty changes nothing
    assert database.verify() == []


def test_a_new_object_of_the_study_corrects_it_too(database: Database) -> None:
    database.append([item(0), item(1)])

    done = replacing(database, corrected(2, patient_key=NEW, study={"AccessionNumber": "A2"}))

    assert (done.new, done.replaced) == (1, 0)
    assert set(patients(database).values()) == {NEW}
    assert attributes(database, 0)["AccessionNumber"] == "A2"


def test_an_object_that_arrived_earlier_corrects_nothing_but_is_stored(database: Database) -> None:
    replacing(database, corrected(0, patient_key=NEW, study={"AccessionNumber": "A2"}))

    done = replacing(database, item(1, study={"AccessionNumber": "A1", "StudyID": "7"}))

    assert (done.new, done.conflicts) == (1, 1)
    assert set(patients(database).values()) == {NEW}
    assert (attributes(database, 1)["AccessionNumber"], attributes(database, 1)["StudyID"]) == ("A2", "7")
    assert database.verify() == []


def test_a_known_object_that_comes_again_takes_a_correction_back(database: Database) -> None:
    first = [item(number, study={"AccessionNumber": "A1"}) for number in range(2)]
    database.append(first)
    replacing(database, corrected(0, study={"AccessionNumber": "A2"}, patient_key=NEW))

    done = replacing(database, item(1, study={"AccessionNumber": "A1"}, received_ns=LATER_NS + 50))

    assert done.known == 1
    assert attributes(database, 0)["AccessionNumber"] == "A1"
    assert set(patients(database).values()) == {OLD}


def test_two_contents_of_one_batch_leave_the_later_one(database: Database) -> None:
    done = replacing(
        database,
        item(0),
        item(1),
        corrected(0),
        corrected(1),
        item(2),
        corrected(0, content_digest=b"old", received_ns=1),
    )

    assert (done.new, done.replaced, len(done.clashing)) == (3, 2, 1)
    assert done.clashing[0].level is Level.IMAGE
    with database.snapshot() as snapshot:
        found = snapshot.record(record(0).sop_instance_uid)
        assert found is not None
        assert found.content_digest == b"corrected 0"
    assert database.verify() == []
    database.compact()
    assert database.verify() == []


def test_without_the_policy_the_first_patient_and_the_first_values_stay(database: Database) -> None:
    database.append([item(0, study={"AccessionNumber": "A1"})])

    done = database.append([item(1, patient_key=NEW), item(2, study={"AccessionNumber": "A2"})])

    assert ([clash.level for clash in done.clashing], done.conflicts) == ([Level.STUDY], 1)
    assert attributes(database, 2)["AccessionNumber"] == "A1"


@pytest.mark.parametrize("order", [*permutations(range(3))])
@pytest.mark.parametrize("replace", [True, False])
def test_a_missing_issuer_contradicts_none(database: Database, order: tuple[int, ...], replace: bool) -> None:
    keys = [patient_key("I", "", STUDY), patient_key("I", "HOSPITAL", STUDY), patient_key("", "", STUDY)]
    named = {"PatientName": "Only^Here", "PatientSex": ""}
    sent = [item(n, patient_key=keys[n], patient=named if n == 0 else {}) for n in order]

    for one in sent:
        assert database.append([one], replace=replace).new == 1

    assert patients(database) == dict.fromkeys(uids(range(3)), keys[1])
    assert attributes(database, 1)["PatientName"] == "Only^Here"
    with database.snapshot() as snapshot:
        assert snapshot.count(Level.PATIENT) == 1
    assert database.verify() == []


def test_a_patient_without_issuer_keeps_its_other_studies(database: Database) -> None:
    bare, issued = patient_key("I", "", STUDY), patient_key("I", "HOSPITAL", STUDY)
    database.append([item(0, patient_key=bare), item(4, patient_key=bare)])

    database.append([item(1, patient_key=issued)])

    found = patients(database)
    assert [found[uid] for uid in uids([0, 1, 4])] == [issued, issued, bare]
    assert database.verify() == []


def test_two_issuers_of_one_patient_id_are_two_patients(database: Database) -> None:
    database.append([item(0, patient_key=patient_key("I", "HERE", STUDY))])

    assert len(database.append([item(1, patient_key=patient_key("I", "THERE", STUDY))]).clashing) == 1


def test_possible_patients_are_all_that_no_issuer_tells_apart(database: Database) -> None:
    keys = [
        patient_key(*who, f"2.25.4{n}")
        for n, who in enumerate(
            [("I", ""), ("I", "HERE"), ("I", "THERE"), ("I2", ""), ("", ""), ("I\\", ""), ("i", "")]
        )
    ]
    database.append([item(4 * number, patient_key=key) for number, key in enumerate(keys)])

    with database.snapshot() as snapshot:
        for key in [*keys, patient_key("I", "ELSEWHERE", ""), patient_key("unknown", "", "")]:
            expected = {other for other in keys if may_be_one_patient(key, other)}
            assert snapshot.possible_patients(key) == expected | {key}
        assert snapshot.possible_patients(keys[0]) == set(keys[:3])
        assert snapshot.possible_patients(keys[1]) == set(keys[:2])
        assert snapshot.possible_patients(keys[4]) == {keys[4]}


def test_possible_patients_are_found_by_ids_longer_than_a_key(database: Database) -> None:
    keys = [patient_key("I" * 600 + end, issuer, "") for end, issuer in (("A", ""), ("A", "HERE"), ("B", ""))]
    database.append([item(4 * number, patient_key=key) for number, key in enumerate(keys)])

    with database.snapshot() as snapshot:
        assert snapshot.possible_patients(keys[0]) == snapshot.possible_patients(keys[1]) == set(keys[:2])
