"""What an acknowledgement is worth: processes are killed at random while instances arrive."""

import os
import random
import signal
from pathlib import Path

import psutil
import pytest
from pydicom import dcmread

from node.errors import PeerError
from node.home import open_for_reading, open_spool
from node.samples import write_samples
from node.sending import files
from storage.database import Database
from tests.running import RunningNode, wait_until

pytestmark = [
    pytest.mark.timeout(1800),
    # the client library leaves its socket open when a dead node refuses it
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
VICTIMS = ("supervisor", "dicom", "index", "decode worker")


@pytest.fixture(scope="module")
def twenty_patients(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """About 500 phantom instances."""
    folder = tmp_path_factory.mktemp("twenty")
    return [path for path in write_samples(folder, patients=20) if path.suffix == ".dcm"]


def test_what_was_acknowledged_outlives_a_killed_process(phantoms: Path, tmp_path: Path) -> None:
    paths = list(files(phantoms))[::2]

    check_trial(tmp_path / "home", paths, random.Random(1), ("index",))


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(20))
def test_what_was_acknowledged_outlives_any_killed_process(
    trial: int, twenty_patients: list[Path], tmp_path: Path
) -> None:
    check_trial(tmp_path / "home", twenty_patients, random.Random(trial), VICTIMS)


def check_trial(home: Path, paths: list[Path], rng: random.Random, victims: tuple[str, ...]) -> None:
    """Send all, with one kill on the way; then everything acknowledged must be there, once."""
    node = RunningNode(home)
    node.start()
    try:
        acknowledged = send_with_a_kill(node, paths, rng, rng.choice(victims))
        wait_until(node.is_ready, "the roles to be ready again")
        node.wait_indexed()
    finally:
        node.stop()

    check_everything_is_there_once(node, acknowledged)
    assert len(acknowledged) == len(paths)


def send_with_a_kill(node: RunningNode, paths: list[Path], rng: random.Random, victim: str) -> set[str]:
    """SOP Instance UIDs that were acknowledged; what was not is sent again, as a sender does."""
    acknowledged: set[str] = set()
    moment = rng.randrange(len(paths))
    waiting = list(paths)
    while waiting:
        try:
            for stored in node.peer.store(waiting[:50]):
                if stored.status == 0:
                    acknowledged.add(str(dcmread(stored.path, stop_before_pixels=True).SOPInstanceUID))
                    waiting.remove(stored.path)
                if len(acknowledged) > moment:
                    moment = len(paths)
                    kill(node, victim)
        except PeerError:  # the process that listened is gone: it starts again by itself
            wait_until(node.is_ready, "the roles to be ready again")
    return acknowledged


def kill(node: RunningNode, victim: str) -> None:
    """SIGKILL; a dead supervisor takes its roles along, and is started again by who started it first."""
    if victim == "decode worker":
        forkservers = psutil.Process(node.pids()["index"]).children(recursive=True)
        leaves = [process for process in forkservers if not process.children()]
        if leaves:
            leaves[0].kill()
    else:
        os.kill(node.pids()[victim], signal.SIGKILL)
    if victim == "supervisor":
        assert node.process is not None
        node.process.wait()
        roles = [
            psutil.Process(pid) for name, pid in node.pids().items() if name != "supervisor" and psutil.pid_exists(pid)
        ]
        psutil.wait_procs(roles, timeout=10)
        node.start()


def check_everything_is_there_once(node: RunningNode, acknowledged: set[str]) -> None:
    """Indexed exactly once, or set aside with a reason; and the database is sound."""
    database = Database.open(node.settings.database_path)
    assert database.verify() == []
    database.close()
    reading = open_for_reading(node.settings)
    spool = open_spool(node.settings)
    with reading.database.snapshot() as snapshot:
        lost = {uid for uid in acknowledged if snapshot.record(uid) is None and spool.is_set_aside(uid) is None}
        assert lost == set()
        rows = sum(len(record.frames) for uid in acknowledged if (record := snapshot.record(uid)) is not None)
        assert rows == snapshot.rows
    reading.database.close()
