"""Trials that take minutes: a history of 3,000 images with every misfortune, and an archive of a million studies."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from node.home import open_for_writing, open_spool
from node.options.pull import PullJob
from node.peers import RemoteEntity
from node.pull.jobs import change_state, make_job, open_progress
from node.pull.report import read_reports
from node.pull.search.lister import RangeLister
from node.settings import Settings
from storage.durable import folder_names
from storage.progress.entry import StudyState
from storage.progress.job import JobState
from storage.progress.progress import Progress
from tests.support.peers.orthanc import running_orthanc
from tests.support.peers.pulling import fill, site, study_of
from tests.support.running import REPOSITORY, free_port, program, run_peer, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.peers]
STUDIES, IMAGES, KILLS = 300, 10, 50


def history() -> Iterator[list[Dataset]]:
    """300 studies of 10 images over three years."""
    for number in range(STUDIES):
        day = date(2021, 1, 1) + timedelta(days=number * 3)
        yield study_of(number, IMAGES, StudyDate=f"{day:%Y%m%d}")


@pytest.mark.timeout(3000)
def test_a_history_is_whole_and_fetched_once_though_daemon_and_archive_are_killed_again_and_again(
    tmp_path: Path,
) -> None:
    home, ports, choose = tmp_path / "home", (free_port(), free_port()), random.Random(1)
    home.mkdir()
    modalities = {"node": ("LOOKALIKE", free_port())}
    limits = f"pull_max_pause_s = 2\npull_max_waiting = {STUDIES * IMAGES}\n"  # nothing takes images out of the spool
    (home / "settings.toml").write_text(f'{limits}[peers.PACS]\nhost = "127.0.0.1"\nport = {ports[1]}\n')
    settings = Settings(home=home)
    open_for_writing(settings).close()
    progress = open_progress(settings)
    make_job(settings, progress, "history", PullJob(source="PACS", follow=False))
    change_state(progress, "history", JobState.RUNNING)
    progress.close()
    command = [sys.executable, "-m", "node", "role", "pull", "--home", str(home)]
    kills, uids, incoming = 0, set[str](), open_spool(settings).path / "incoming"
    while kills < KILLS:
        with running_orthanc(tmp_path / "db", modalities, ports) as orthanc:
            if not kills:
                uids |= {uid for study in history() for uid in fill(orthanc, study)}
            for _ in range(10):  # then the archive ends, too, while the role works
                with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as role:
                    _wait_for_arrival(incoming, len(folder_names(incoming)))
                    time.sleep(choose.uniform(0, 1))
                    os.kill(role.pid, signal.SIGKILL)
                kills += 1
    with running_orthanc(tmp_path / "db", modalities, ports), subprocess.Popen(command, cwd=REPOSITORY) as role:
        wait_until(lambda: read_reports(settings)[0].state is JobState.COMPLETE, "the job to be complete", 2000)
        role.terminate()
    came = Counter(entry.sop_instance_uid for entry in open_spool(settings))
    counts = read_reports(settings)[0].counts

    print(json.dumps({"kills": kills, "twice": sum(came.values()) - len(came)}))
    assert came.keys() == uids
    assert (counts.done, counts.parked, counts.received) == (STUDIES, 0, STUDIES * IMAGES)
    assert sum(came.values()) - len(came) <= kills  # the image on its way at most, of each kill


def _wait_for_arrival(incoming: Path, before: int, limit_s: float = 60) -> None:
    """Wait until the role has brought in something new, or has had the time to."""
    deadline_s = time.monotonic() + limit_s
    while len(folder_names(incoming)) <= before and time.monotonic() < deadline_s:
        time.sleep(0.02)


@pytest.mark.timeout(2000)
@pytest.mark.parametrize("transport", ["C-GET", "C-MOVE"])
def test_a_history_comes_whole_from_dcmqrscp(tmp_path: Path, transport: str) -> None:
    port, ours = free_port(), free_port()
    (tmp_path / "db").mkdir()
    (tmp_path / "files").mkdir()
    for study in history():
        for one in study:
            one.save_as(tmp_path / "files" / f"{one.SOPInstanceUID}.dcm", enforce_file_format=True)
    (tmp_path / "cfg").write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 131072\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nnode = (LOOKALIKE, 127.0.0.1, {ours})\nHostTable END\nVendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nPACS {tmp_path / 'db'} RW (500, 1024mb) ANY\nAETable END\n"
    )
    server = [program("dcmqrscp"), "-c", str(tmp_path / "cfg")]
    with subprocess.Popen(server, env=os.environ | {"TCP_NODELAY": "1"}) as process:
        try:
            time.sleep(2)
            run_peer(program("dcmsend"), "-aec", "PACS", "+sd", "127.0.0.1", str(port), tmp_path / "files")
            with site(tmp_path / "home", port, listens=True, port=ours) as opened:
                job = opened.begin(transport=transport, associations=2, undated=False)
                opened.run(job, 1500)
                states, came = opened.states(job), opened.received
        finally:
            process.terminate()

    assert states == {StudyState.DONE: STUDIES, StudyState.PARKED: 0, StudyState.WAITING: 0}
    assert came == sorted(one.SOPInstanceUID for study in history() for one in study)


@dataclass
class GeneratedQueries:
    """Queries (as `ArchiveQueries`) of an archive of a million studies that is computed, and cuts at 500 matches."""

    studies: int = 1_000_000
    days: int = 20 * 365
    first: date = date(2006, 1, 1)
    cuts_at: int = 500
    asked: int = 0

    def find(self, level: str, keys: dict[str, str], returned: tuple[str, ...], most: int = 0) -> Any:
        """Answer by Study Date and Study Time, with Success."""
        from node.pull.search.archive import Found

        self.asked += 1
        assert level == "STUDY"
        if "StudyDate" not in keys:
            return Found([], False)
        first, _, last = keys["StudyDate"].partition("-")
        found = []
        begin = max(0, (_day(first) - self.first).days)
        end = min(self.days, (_day(last or first) - self.first).days + 1)
        earliest, _, latest = keys.get("StudyTime", "000000-235959").partition("-")
        for day in range(begin, end):
            for number in range(day, self.studies, self.days):
                second = number * 7919 % 86_400
                clock = f"{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}"
                if earliest <= clock <= latest:
                    found.append(self._study(number, day))
                if len(found) >= self.cuts_at:
                    return Found(found, False)
        return Found(found, False)

    def _study(self, number: int, day: int) -> Dataset:
        dataset = Dataset()
        dataset.StudyInstanceUID = f"2.25.5{number:07d}"
        dataset.StudyDate = f"{self.first + timedelta(days=day):%Y%m%d}"
        dataset.ModalitiesInStudy = ["CT"]
        dataset.NumberOfStudyRelatedInstances = "200"
        return dataset


def _day(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:8]))


@pytest.mark.timeout(3000)
def test_a_million_studies_are_listed_in_flat_memory_and_a_restart_takes_less_than_two_seconds(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", peers={"PACS": RemoteEntity(host="127.0.0.1", port=1)})
    progress, queries = open_progress(settings), GeneratedQueries()
    definition = PullJob(source="PACS", undated=False, first_date=queries.first)
    job = make_job(settings, progress, "history", definition)
    lister: Any = RangeLister(progress, job, definition, settings.pull_window_results)
    growth, begun_s = [], time.monotonic()
    while lister.step(queries):
        growth.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - _file_kib())
    elapsed_s, counts = time.monotonic() - begun_s, progress.counts(job)
    progress.close()
    begun_s = time.monotonic()
    reopened = Progress(settings.pull_path, settings.map_size_bytes)
    following = reopened.next_waiting(job, (), time.time_ns())
    restart_s = time.monotonic() - begun_s

    figures = {"queries": queries.asked, "s": round(elapsed_s), "restart_s": restart_s, "kib": growth[-1] - growth[99]}
    print(json.dumps(figures))
    assert counts.waiting == queries.studies
    assert following is not None
    assert growth[-1] - growth[99] < 64 << 10
    assert restart_s < 2


def _file_kib() -> int:
    """Resident pages of mapped files such as the progress, KiB: the system can drop them."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssFile:")[1].split()[0])
