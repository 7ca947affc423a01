"""What an acknowledgement is worth: processes are killed at random while instances arrive."""

import gc
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from pydicom import dcmread

from hashing.phantoms.hospital import write_samples
from node.cli.send import files
from node.errors import PeerError
from node.home import open_for_reading, open_spool
from storage.database.database import Database
from tests.support.running import RunningNode, wait_until

pytestmark = [
    pytest.mark.timeout(1800),
    # the client library leaves its socket open when a dead node refuses it
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
VICTIMS = ("supervisor", "dicom", "index", "decode worker")
ALL_VICTIMS = (*VICTIMS, "dicom-2", "process group")
SENDERS, KILLS, TRIALS = 4, 10, 30


@pytest.fixture(autouse=True)
def _sockets_of_refused_senders_are_collected() -> Iterator[None]:
    """Here, where their warning is expected, and not at the end of all tests; threads of the client hold some."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
    gc.collect()


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


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(TRIALS))
def test_what_four_senders_were_promised_outlives_ten_kills(
    trial: int, twenty_patients: list[Path], tmp_path: Path
) -> None:
    node, rng = RunningNode(tmp_path / "home", receivers="2"), random.Random(1000 + trial)
    acknowledged: set[str] = set()
    try:
        node.start()
        with ThreadPoolExecutor(SENDERS) as pool:
            parts = [twenty_patients[number::SENDERS] for number in range(SENDERS)]
            sending = [pool.submit(send_until_acknowledged, node, part, acknowledged) for part in parts]
            for moment in sorted(rng.sample(range(len(twenty_patients) * 9 // 10), KILLS)):
                wait_until(lambda moment=moment: len(acknowledged) >= moment, "the next kill", 300)  # type: ignore[misc]
                kill(node, rng.choice(ALL_VICTIMS))
            for sender in sending:
                sender.result()
        wait_until(node.is_ready, "the roles to be ready again")
        node.wait_indexed(300)
    finally:
        node.stop()

    check_everything_is_there_once(node, acknowledged)
    assert len(acknowledged) == len(twenty_patients)


def send_until_acknowledged(node: RunningNode, paths: list[Path], acknowledged: set[str]) -> None:
    """Send, and send again what was not acknowledged, as a modality does."""
    waiting = list(paths)
    while waiting:
        try:
            for stored in node.peer.store(waiting[:10]):
                if stored.status == 0:
                    acknowledged.add(str(dcmread(stored.path, stop_before_pixels=True).SOPInstanceUID))
                    waiting.remove(stored.path)
        except PeerError:
            time.sleep(0.2)


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
    assert node.process is not None
    if victim == "process group":
        os.killpg(node.process.pid, signal.SIGKILL)
    elif victim == "decode worker":
        index = node.pids().get("index")
        workers = psutil.Process(index).children(recursive=True) if index else []
        leaves = [process for process in workers if not process.children()]
        if leaves:
            leaves[0].kill()
    elif (pid := node.pids().get(victim)) is not None:  # None while it starts again after the last kill
        os.kill(pid, signal.SIGKILL)
    if victim in ("supervisor", "process group"):
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
