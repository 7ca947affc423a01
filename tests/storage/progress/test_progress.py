"""The progress of jobs: newest first, counted in the same transaction, whole after a kill at any point."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.progress.entry import JobCounts, StudyEntry, StudyState
from storage.progress.job import Job, JobState
from storage.progress.progress import Progress

MAP = 1 << 30


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    return Progress(tmp_path / "pull", MAP)


def job_of(progress: Progress) -> Job:
    return progress.add_job("history", {"source": "PACS"}, {"newest": "2026-01-01"})


def study(number: int, **values: Any) -> StudyEntry:
    return replace(StudyEntry(f"2.25.{number}", f"2020{1 + number % 12:02d}01", ("CT",), announced=4), **values)


def test_the_newest_study_is_next_and_one_without_a_date_last(progress: Progress) -> None:
    job = job_of(progress)
    progress.record(job, [study(1), study(2, study_date=""), study(3), study(4, study_date="20991231")])

    claimed: list[str] = []
    while (entry := progress.next_waiting(job, claimed, 0)) is not None:
        claimed.append(entry.study_instance_uid)

    assert claimed == ["2.25.4", "2.25.3", "2.25.1", "2.25.2"]


def test_a_failed_study_comes_back_when_its_time_has_come_and_before_others(progress: Progress) -> None:
    job = job_of(progress)
    progress.record(job, [study(1), study(11)])
    progress.settle(job, study(1, attempts=1, not_before_ns=1000, reason="busy"))

    early, due = progress.next_waiting(job, (), 999), progress.next_waiting(job, (), 1000)

    assert early == study(11)
    assert due is not None
    assert (due.study_instance_uid, due.reason) == ("2.25.1", "busy")


def test_a_done_study_waits_again_only_if_the_archive_has_more_of_it(progress: Progress) -> None:
    job = job_of(progress)
    progress.record(job, [study(1), study(2)])
    for number in (1, 2):
        progress.settle(job, study(number, state=StudyState.DONE, listed=4, chosen=4, received=4))

    new = progress.record(job, [study(1), study(2, announced=5)])

    states = {entry.study_instance_uid: entry.state for entry in progress.entries(job)}
    assert new == 0
    assert states == {"2.25.1": StudyState.DONE, "2.25.2": StudyState.WAITING}


def test_parked_studies_are_listed_with_their_reasons_and_can_be_tried_again(progress: Progress) -> None:
    job = job_of(progress)
    progress.record(job, [study(1)])
    progress.settle(job, study(1, state=StudyState.PARKED, attempts=5, reason="3 of 4 instances did not come"))

    parked = progress.parked(job)
    is_known = progress.reopen(job, "2.25.1"), progress.reopen(job, "2.25.9")

    assert [entry.reason for entry in parked] == ["3 of 4 instances did not come"]
    assert is_known == (True, False)
    assert progress.parked(job) == []
    assert progress.next_waiting(job, (), 0) == study(1)


states = st.sampled_from(list(StudyState))


@given(st.lists(st.tuples(st.integers(0, 8), states, st.integers(0, 9), st.sampled_from([(), ("CT",), ("CT", "SR")]))))
@settings(max_examples=40, deadline=None)
def test_counts_and_coverage_are_those_of_the_entries(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, StudyState, int, tuple[str, ...]]]
) -> None:
    progress = Progress(tmp_path_factory.mktemp("progress"), MAP)
    job, other = job_of(progress), job_of(progress)
    progress.record(other, [study(99)])
    for number, state, received, modalities in steps:
        progress.settle(job, study(number, state=state, received=received, modalities=modalities), 1, 10)

    entries, expected = progress.entries(job), JobCounts(fetched=len(steps), fetched_bytes=10 * len(steps))
    for entry in entries:
        expected = expected.with_entry(entry, 1)
    listed = Counter(modality for entry in entries for modality in entry.modalities or ("",))
    done = Counter(m for e in entries if e.state is StudyState.DONE for m in e.modalities or ("",))

    assert progress.counts(job) == expected
    assert {one.modality: one.listed for one in progress.coverage(job) if one.listed} == listed
    assert {one.modality: one.done for one in progress.coverage(job) if one.done} == done
    progress.close()


def test_a_cancelled_job_leaves_nothing_but_its_name_and_others_keep_theirs(progress: Progress) -> None:
    job, other = job_of(progress), job_of(progress)
    for one in (job, other):
        progress.record(one, [study(1), study(2, study_date="")])
    progress.change_job(job.number, state=JobState.CANCELLED, notes={"why": "by command"})

    progress.remove_studies(job)

    assert (progress.entries(job), progress.coverage(job), progress.parked(job)) == ([], [], [])
    assert progress.counts(job) == JobCounts()
    assert len(progress.entries(other)) == 2
    assert progress.jobs()[0].notes == {"why": "by command"}


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from storage.progress.entry import StudyEntry, StudyState
from storage.progress.progress import Progress
progress = Progress(Path(sys.argv[1]), 1 << 30)
job = progress.jobs()[0]
for number in range(10**9):
    entries = [StudyEntry(f"2.25.{number}.{i}", "20200101", ("MR",), announced=2) for i in range(3)]
    progress.record(job, entries, {"at": number})
    progress.settle(job, replace(entries[0], state=StudyState.DONE, received=2))
    print(number, flush=True)
"""


def test_what_was_recorded_before_a_kill_is_whole_afterwards(tmp_path: Path) -> None:
    progress = Progress(tmp_path, MAP)
    job_of(progress)
    progress.close()
    last = -1
    for _ in range(5):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(20):
                last = int(process.stdout.readline())
            os.kill(process.pid, signal.SIGKILL)
    progress = Progress(tmp_path, MAP)
    job = progress.jobs()[0]

    entries, counts = progress.entries(job), progress.counts(job)

    assert job.walk["at"] >= last
    assert len(entries) == counts.studies
    assert Counter(entry.state for entry in entries) == {"done": counts.done, "waiting": counts.waiting}
    assert counts.done >= last
    assert sum(one.listed for one in progress.coverage(job)) == counts.studies


@pytest.mark.slow
def test_ten_million_studies_open_at_once_and_take_no_memory(tmp_path: Path) -> None:
    """Write them in a process of its own, so that this one shows what reading alone takes."""
    script = WRITER.split("for number")[0] + (
        "for number in range(10_000):\n"
        "    progress.record(job, [StudyEntry(f'2.25.{number}.{i}', f'{1990 + number % 30}0101', ('MR',), announced=9)"
        " for i in range(1000)])\n"
        "print(json.dumps([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))\n"
    )
    progress = Progress(tmp_path, 1 << 38)
    job_of(progress)
    progress.close()
    script = "import json, resource\n" + script.replace("1 << 30", "1 << 38")

    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True, timeout=3000)
    start_s = time.monotonic()
    reader = (
        "import json, resource, sys, time\nfrom pathlib import Path\nfrom storage.progress.progress import Progress\n"
    )
    reader += "progress = Progress(Path(sys.argv[1]), 1 << 38)\njob = progress.jobs()[0]\n"
    reader += "found = progress.next_waiting(job, (), 0), progress.counts(job).waiting\n"
    reader += "anonymous = [line for line in open('/proc/self/status') if line.startswith('RssAnon')][0].split()[1]\n"
    reader += "print(json.dumps([found[0].study_date, found[1], int(anonymous)]))"
    read = subprocess.run(
        [sys.executable, "-c", reader, str(tmp_path)], check=True, capture_output=True, text=True, timeout=60
    )
    elapsed_s = time.monotonic() - start_s

    date, waiting, anonymous_kib = json.loads(read.stdout)
    assert (date, waiting) == ("20190101", 10_000_000)
    assert anonymous_kib < 64 << 10
    assert elapsed_s < 2
