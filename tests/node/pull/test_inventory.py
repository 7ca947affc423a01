"""What is indexed, written as a DICOM Inventory object, and read again as a work list."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread

from node.errors import SettingsError
from node.pull.inventory import write_inventory
from node.pull.search.work_list import INVENTORY, take_work_list, work_list_uids
from storage.record import Level
from tests.support.dicom.archive import instance, uid
from tests.support.peers.pulling import octets, study_of
from tests.support.storage.databases import create

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def test_an_inventory_names_every_study_series_and_instance_that_is_indexed(tmp_path: Path) -> None:
    places = ["1.1.1", "1.1.2", "1.2.1", "2.1.1"]
    with create(tmp_path / "database") as database:
        database.append(
            [instance(place, 1, attributes={"StudyDate": "20200102", "PatientName": "Å^B"}) for place in places]
        )
        count = write_inventory(database, tmp_path / "inventory.dcm", Level.IMAGE, NOW, is_complete=False)

    read = dcmread(tmp_path / "inventory.dcm")
    named = [
        image.SOPInstanceUID
        for study in read.InventoriedStudiesSequence
        for series in study.InventoriedSeriesSequence
        for image in series.InventoriedInstancesSequence
    ]

    assert count == read.NumberOfStudyRecordsInInstance == 2
    assert (read.SOPClassUID, read.InventoryLevel, read.InventoryCompletionStatus) == (INVENTORY, "INSTANCE", "PARTIAL")
    assert sorted(named) == sorted(map(uid, places))
    assert str(read.InventoriedStudiesSequence[0].PatientName) == "Å^B"


def test_an_inventory_is_a_work_list(tmp_path: Path) -> None:
    with create(tmp_path / "database") as database:
        database.append([instance("1.1.1", 1), instance("2.1.1", 1)])
        write_inventory(database, tmp_path / "inventory.dcm", Level.STUDY, NOW, is_complete=True)

    count = take_work_list(tmp_path / "inventory.dcm", tmp_path / "list.csv")
    first, offset = work_list_uids(tmp_path / "list.csv", 0, 1)
    rest, _ = work_list_uids(tmp_path / "list.csv", offset, 10)

    assert count == 2
    assert {*first, *rest} == {uid("1"), uid("2")}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"uid\nnot a uid\n", "line 2: no Study Instance UID in column 1"),
        (b"", "names no study"),
        (octets(study_of(1)[0]), "is no Inventory object"),
    ],
)
def test_a_work_list_that_names_no_study_is_refused_with_the_place(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    (tmp_path / "list").write_bytes(content)

    with pytest.raises(SettingsError, match=problem):
        take_work_list(tmp_path / "list", tmp_path / "copy.csv")
    assert not (tmp_path / "copy.csv").exists()
