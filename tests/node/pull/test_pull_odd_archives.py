"""Archives that misbehave: every study ends done or parked with a reason, and nothing is fetched twice without need."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from node.pull.politeness.budget import BURST_S
from storage.progress.entry import JobCounts, StudyEntry, StudyState
from tests.support.hashing.images import image
from tests.support.peers.odd_archive import OddArchive, running_archive
from tests.support.peers.pulling import site, study_of
from tests.support.running import wait_until


def archive_of(studies: int, images: int = 4, **faults: Any) -> OddArchive:
    return OddArchive([one for number in range(studies) for one in study_of(number, images)], **faults)


def uids_of(datasets: Sequence[Dataset]) -> list[str]:
    return sorted(dataset.SOPInstanceUID for dataset in datasets)


@dataclass(frozen=True)
class Pulled:
    """What a job came to."""

    counts: JobCounts
    came: list[str]
    given_up: list[StudyEntry]


def pulled(folder: Path, archive: OddArchive, **definition: Any) -> Pulled:
    """Bring in everything."""
    with running_archive(archive), site(folder / "home", archive.port) as ours:
        job = ours.begin(**{"undated": False, "follow": False, **definition})
        ours.run(job, 120)
        return Pulled(ours.progress.counts(job), ours.received, ours.progress.parked(job))


def test_lists_that_are_silently_cut_at_every_level_are_found_out(tmp_path: Path) -> None:
    days = "20200101", "20200201"
    datasets = [
        one for n in range(60) for one in study_of(n, 1, StudyDate=days[n % 2], StudyTime=f"{n // 4:02d}{n:02d}00")
    ]
    archive = OddArchive([*datasets, *study_of(900, 60)], cuts_at=22)

    ours = pulled(tmp_path, archive, associations=2)

    assert ours.counts.done == 61
    assert ours.came == uids_of(archive.datasets)


@pytest.mark.parametrize("silent", [True, False])
def test_half_of_the_images_is_no_success_whatever_the_status_and_only_the_rest_is_asked_for_again(
    tmp_path: Path, silent: bool
) -> None:
    archive = archive_of(4, 6, halves=4, silent=silent)

    ours = pulled(tmp_path, archive)

    assert ours.counts.done == 4
    assert ours.came == uids_of(archive.datasets)
    assert max(Counter(archive.sent).values()) == 1


def test_an_image_that_never_comes_parks_its_study_with_the_reason_and_a_retry_brings_only_what_is_missing(
    tmp_path: Path,
) -> None:
    archive = archive_of(2, 4)
    lost = archive.datasets[0].SOPInstanceUID
    archive.never = frozenset({lost})
    with running_archive(archive), site(tmp_path / "home", archive.port, pull_attempts=2) as ours:
        job = ours.begin(undated=False, follow=False)
        ours.run(job)
        parked = ours.progress.parked(job)
        archive.never, before = frozenset(), len(archive.sent)
        ours.progress.reopen(job, parked[0].study_instance_uid)
        with ours.working():
            wait_until(lambda: ours.states(job)[StudyState.DONE] == 2, "the parked study to be done", 60)

    assert [(one.received, one.chosen, one.attempts) for one in parked] == [(3, 4, 2)]
    assert "1 of 4 did not come" in parked[0].reason
    assert archive.sent[before:] == [lost]


def test_refused_associations_are_waited_for_and_cost_no_study_an_attempt(tmp_path: Path) -> None:
    archive = archive_of(3, refuses=4)

    ours = pulled(tmp_path, archive)

    assert ours.counts.done == 3
    assert max(Counter(archive.sent).values()) == 1


@pytest.mark.slow
def test_an_archive_that_becomes_slow_is_left_alone_now_and_then_and_everything_comes(tmp_path: Path) -> None:
    archive = archive_of(12, 2)
    with running_archive(archive), site(tmp_path / "home", archive.port) as ours:
        job = ours.begin(undated=False, follow=False)
        with ours.working():
            wait_until(lambda: len(archive.sent) >= 6, "some studies", 60)
            archive.delay_s = 0.3
            wait_until(
                lambda: "the archive is slow" in ours.progress.job_at(job.number).notes.get("waits_for", ""),
                "a pause",
                60,
            )
            ours.wait_complete(job, 120)
        assert ours.received == uids_of(archive.datasets)

    assert max(Counter(archive.sent).values()) == 1


def test_out_of_its_hours_nothing_is_asked_and_a_paused_job_stands_still(tmp_path: Path) -> None:
    weekday = f"{datetime.now(UTC):%a}"
    other = {"Mon": "Thu", "Tue": "Fri", "Wed": "Sat", "Thu": "Sun", "Fri": "Mon", "Sat": "Tue", "Sun": "Wed"}[weekday]
    archive = archive_of(2)
    with running_archive(archive), site(tmp_path / "home", archive.port) as ours:
        job = ours.begin(open_hours=(f"{other} 00:00-24:00",))
        with ours.working():
            wait_until(
                lambda: "out of its hours" in ours.progress.job_at(job.number).notes.get("waits_for", ""), "a note", 30
            )

    assert archive.asked == []


def test_a_sample_is_the_middle_of_the_largest_series_and_the_study_is_done_with_it(tmp_path: Path) -> None:
    archive = archive_of(2, 9)

    ours = pulled(tmp_path, archive, one_series=True, middle=3)

    assert ours.counts.done == 2
    assert [uid.rsplit(".", 1)[1] for uid in ours.came] == ["2", "4", "6"] * 2  # of 0, 2, 4, 6, 8


def test_a_work_list_brings_in_what_it_names_and_parks_what_the_archive_lacks(tmp_path: Path) -> None:
    archive = archive_of(5)
    named = [archive.datasets[0].StudyInstanceUID, "2.25.404", archive.datasets[-1].StudyInstanceUID]
    listed = tmp_path / "list.csv"
    listed.write_text("who,Study Instance UID\n" + "".join(f"x,{uid}\n" for uid in named))

    ours = pulled(tmp_path, archive, work_list=listed)

    assert ours.came == uids_of([one for one in archive.datasets if one.StudyInstanceUID in named])
    assert [(one.study_instance_uid, one.reason) for one in ours.given_up] == [
        ("2.25.404", "on the work list, and not in the archive")
    ]


def test_a_study_that_grew_in_the_archive_is_completed_by_the_next_search(tmp_path: Path) -> None:
    today = f"{datetime.now(UTC):%Y%m%d}"
    whole = study_of(1, 5, StudyDate=today)
    archive = OddArchive(whole[:3])
    with running_archive(archive), site(tmp_path / "home", archive.port, pull_poll_s=0.5) as ours:
        job = ours.begin(undated=False)
        with ours.working():
            ours.wait_complete(job)
            archive.datasets = [*whole, *study_of(2, 2, StudyDate=today)]
            wait_until(lambda: len(ours.received) == 7, "late images and the new study", 60)
            wait_until(lambda: ours.states(job)[StudyState.DONE] == 2, "both studies to be done", 60)

    assert max(Counter(archive.sent).values()) == 1


def test_live_ingest_goes_first_nothing_is_begun_while_much_waits_to_be_indexed(tmp_path: Path) -> None:
    archive = archive_of(6, 4)
    with running_archive(archive), site(tmp_path / "home", archive.port, pull_max_waiting=10) as ours:
        job = ours.begin(undated=False, follow=False)
        with ours.working():
            wait_until(
                lambda: "wait to be indexed" in ours.progress.job_at(job.number).notes.get("waits_for", ""), "it"
            )
            stopped_at = len(ours.received)
            ours.spool.remove(list(ours.spool))
            wait_until(lambda: len(archive.sent) > stopped_at, "it to go on", 30)

    assert 10 < stopped_at <= 16


def test_images_arrive_over_c_get_no_faster_than_the_budget(tmp_path: Path) -> None:
    large = [image(np.zeros((256, 256), np.uint8), **uids(one)) for number in range(4) for one in study_of(number, 6)]
    archive, rate = OddArchive(large), 0.4e6
    with running_archive(archive), site(tmp_path / "home", archive.port) as ours:
        job = ours.begin(undated=False, follow=False, megabytes_per_s=rate / 1e6, associations=2)
        ours.run(job, 120)
        arrived = sorted((entry.path.stat().st_mtime, entry.path.stat().st_size) for entry in ours.spool)

    assert len(arrived) == len(large)
    for start, size in arrived:
        within = sum(further for moment, further in arrived if start <= moment < start + 3)
        assert within <= 1.1 * 3 * rate + BURST_S * rate + 2 * size  # with what was on its way before


def uids(dataset: Dataset) -> dict[str, Any]:
    """What makes an image part of a study."""
    keywords = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "PatientID", "StudyDate", "Modality")
    return {keyword: dataset[keyword].value for keyword in keywords}
