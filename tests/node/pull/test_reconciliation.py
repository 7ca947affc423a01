"""After a merge, a move and deletions in the archive, one comparison makes the index true, and doubts hide nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from node.pull.nightly import NOW
from storage.corrections.refiling import Refiling, refile
from storage.progress.job import Job
from storage.record import Level, patient_key
from tests.support.dicom.archive import instance, uid
from tests.support.hashing.images import image
from tests.support.peers.odd_archive import OddArchive, running_archive
from tests.support.peers.orthanc import running_orthanc
from tests.support.peers.pulling import PIXELS, Site, fill, site
from tests.support.running import free_port, wait_until

STUDIES = ("1", "2", "3", "4", "5")
DATE = "20200101"
KEPT_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def picture_at(place: str, **attributes: str) -> Dataset:
    """An image as the archive has it, which the database has under the same UIDs."""
    study, series = place.split(".")[0], place.rsplit(".", 1)[0]
    uids = {"StudyInstanceUID": uid(study), "SeriesInstanceUID": uid(series), "SOPInstanceUID": uid(place)}
    given = {"PatientID": f"P{study}", "PatientName": f"Doe^{study}", "StudyDate": DATE, "Modality": "OT", **uids}
    return image(PIXELS, **{**given, **attributes})


def places() -> Iterator[str]:
    return (f"{study}.{series}.{number}" for study in STUDIES for series in (1, 2) for number in (1, 2))


@contextmanager
def complete(home: Path, port: int) -> Iterator[tuple[Site, Job]]:
    """A job that is complete, since all that the archive at a port has was indexed already."""
    with site(home, port) as opened:
        items = []
        for place in places():
            study = place.split(".")[0]
            given = {"PatientID": f"P{study}", "PatientName": f"Doe^{study}", "StudyDate": DATE, "Modality": "OT"}
            items.append(instance(place, int(place.replace(".", "")) % 60, attributes=given))
        opened.database.append(items)
        job = opened.begin(undated=False, follow=False, reconcile=False)
        opened.run(job)
        yield opened, job


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[tuple[Site, OddArchive, Job]]:
    """A complete job, and the archive that it compares with."""
    archive = OddArchive([picture_at(place) for place in places()])
    with running_archive(archive), complete(tmp_path / "home", archive.port) as (opened, job):
        assert archive.sent == []
        yield opened, archive, job


def compare(opened: Site, job: Job) -> dict[str, Any]:
    """Compare now, and return what the job says afterwards."""
    opened.progress.change_job(job.number, notes={NOW: True})
    with opened.working():
        wait_until(lambda: not opened.progress.job_at(job.number).notes.get(NOW), "the comparison to end", 60)
    return dict(opened.progress.job_at(job.number).notes)


def filed(opened: Site) -> dict[str, tuple[str, str]]:
    """Patient and study of each stored image."""
    with opened.database.snapshot() as snapshot:
        return {one.uid: (one.uids[Level.PATIENT], one.uids[Level.STUDY]) for one in snapshot.entities(Level.IMAGE)}


def codes(opened: Site) -> dict[str, list[list[int]]]:
    """Codes of each stored image."""
    with opened.database.snapshot() as snapshot:
        return {one.uid: snapshot.codes_of(one.uid).tolist() for one in snapshot.entities(Level.IMAGE)}


def test_one_comparison_follows_a_merge_a_move_and_deletions_without_touching_codes(
    ours: tuple[Site, OddArchive, Job],
) -> None:
    opened, archive, job = ours
    before = codes(opened)
    merged = [picture_at(place, PatientID="P9", PatientName="Roe^9") for place in places() if place[0] == "1"]
    moved = [picture_at(place, StudyInstanceUID=uid("33")) for place in places() if place[0] == "3"]
    kept = [picture_at(place) for place in places() if place[0] == "5" or (place[0] == "4" and place != "4.2.2")]
    archive.datasets = [*merged, *moved, *kept]

    notes = compare(opened, job)

    assert filed(opened) == {
        one.SOPInstanceUID: (patient_key(one.PatientID, "", ""), one.StudyInstanceUID) for one in archive.datasets
    }
    assert codes(opened) == {image_uid: before[image_uid] for image_uid in filed(opened)}
    assert "1 corrected, 4 images moved, 5 images hidden" in notes["reconciled"]
    assert archive.sent == []
    with opened.database.snapshot() as snapshot:
        study = snapshot.entity(Level.STUDY, uid("1"))
    assert study is not None
    assert study.attributes["PatientName"] == "Roe^9"


@pytest.mark.peers
def test_a_merge_a_move_and_deletions_in_orthanc_are_followed_by_one_comparison(tmp_path: Path) -> None:
    with running_orthanc(tmp_path / "db", {"node": ("LOOKALIKE", free_port())}) as orthanc:
        fill(orthanc, [picture_at(place) for place in places()])
        with complete(tmp_path / "home", orthanc.port) as (opened, job):
            before = codes(opened)
            orthanc.modify("P1", {"PatientID": "P5", "PatientName": "Doe^5"}, KEPT_UIDS)
            orthanc.modify(uid("3"), {"StudyInstanceUID": uid("33")}, KEPT_UIDS[1:])
            orthanc.delete(uid("2"))
            orthanc.delete(uid("4.2.2"))

            notes = compare(opened, job)

            patients, studies = {"1": "P5"}, {"3": "33"}
            assert filed(opened) == {
                uid(place): (
                    patient_key(patients.get(place[0], f"P{place[0]}"), "", ""),
                    uid(studies.get(place[0], place[0])),
                )
                for place in places()
                if place[0] != "2" and place != "4.2.2"
            }
            assert codes(opened) == {image_uid: before[image_uid] for image_uid in filed(opened)}
            assert "1 corrected, 4 images moved, 5 images hidden" in notes["reconciled"]


def test_what_comes_back_in_the_archive_comes_back_into_the_answers_and_a_second_comparison_changes_nothing(
    ours: tuple[Site, OddArchive, Job],
) -> None:
    opened, archive, job = ours
    everything = archive.datasets
    archive.datasets = [one for one in everything if one.StudyInstanceUID != uid("2")]
    compare(opened, job)
    gone = filed(opened)
    again = compare(opened, job)
    archive.datasets = everything

    compare(opened, job)

    assert len(gone) == 16
    assert "0 images hidden" in again["reconciled"]
    assert len(filed(opened)) == 20


def test_an_archive_that_lost_most_of_its_studies_is_doubted_and_nothing_is_hidden(
    ours: tuple[Site, OddArchive, Job],
) -> None:
    opened, archive, job = ours
    before, archive.datasets = filed(opened), []

    notes = compare(opened, job)

    assert filed(opened) == before
    assert "none of these was hidden" in notes["reconciled"]


def test_what_arrived_after_the_archive_was_asked_is_not_overwritten_by_what_it_said(
    ours: tuple[Site, OddArchive, Job],
) -> None:
    opened, _, _ = ours
    later = [instance("1.1.1", 51, PatientID="P1", PatientName="Later")]
    refiling = Refiling(uid("2.25"), uid("1.1"), uid("1"), {"PatientID": "P7"}, {})

    count = refile(opened.database, [refiling], later[0].record.received_ns)

    assert count == 0
    assert patient_key("P7", "", "") not in {patient for patient, _ in filed(opened).values()}
