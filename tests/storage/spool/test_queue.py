"""The durable queue."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.errors import SpoolFull
from storage.spool.queue import Entry, Spool

UIDS = {"SOPInstanceUID": "2.25.1", "SeriesInstanceUID": "2.25.2", "StudyInstanceUID": "2.25.3"}


def spool_at(path: Path, capacity: int = 1000, free_bytes: int = 0) -> Spool:
    return Spool(path, capacity, free_bytes)


def files(path: Path) -> list[str]:
    return sorted(p.name for p in path.rglob("*") if p.is_file())


def start(path: Path, what: str) -> subprocess.Popen[str]:
    """Run a few lines in another process, with `spool` open."""
    script = "from pathlib import Path\nfrom storage.spool.queue import Spool\n"
    script += f"spool = Spool(Path({str(path)!r}), 10**6, 0)\n"
    return subprocess.Popen([sys.executable, "-c", script + what], stdout=subprocess.PIPE, text=True)


def test_an_instance_waits_until_it_is_removed(tmp_path: Path) -> None:
    entry = spool_at(tmp_path).put([b"DI", memoryview(b"CM")])

    reopened = spool_at(tmp_path)

    assert list(reopened) == reopened.take(5) == reopened.take(5) == [entry]
    assert entry.path.read_bytes() == b"DICM"
    assert abs(entry.received_ns - time.time_ns()) < 60e9
    reopened.remove([entry])
    assert reopened.take(5) == list(spool_at(tmp_path)) == []
    assert files(tmp_path) == []


def test_the_oldest_come_first(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    entries = [spool.put([str(i).encode()]) for i in range(20)]

    assert spool.take(3) == entries[:3]
    spool.remove(entries[:2])
    assert spool.take(3) == entries[2:5]
    assert list(spool) == entries[2:]
    assert (len(spool), spool.depth()) == (18, 18)


def test_a_full_queue_refuses_before_writing(tmp_path: Path) -> None:
    def never() -> Iterator[bytes]:
        yield pytest.fail("the instance was read")

    spool = spool_at(tmp_path, capacity=2)
    first, _ = spool.put([b"1"]), spool.put([b"2"])

    with pytest.raises(SpoolFull, match="objects") as raised:
        spool.put(never())
    assert raised.value.reason == "objects"

    spool.remove([first])
    spool.put([b"3"])
    assert len(spool) == 2


def test_too_little_free_space_refuses_before_writing(tmp_path: Path) -> None:
    spool = spool_at(tmp_path, free_bytes=2**62)

    with pytest.raises(SpoolFull, match="disk") as raised:
        spool.put([b"1"])

    assert raised.value.reason == "disk"
    assert files(tmp_path) == []


@pytest.mark.parametrize("step", ["fdatasync", "fsync"])
def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    spool = spool_at(tmp_path)
    monkeypatch.setattr(os, step, fail)

    with pytest.raises(SpoolFull) as raised:
        spool.put([b"1"])

    assert raised.value.reason == "disk"
    assert files(tmp_path) == []


def test_a_really_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", tmp_path]).returncode:
        pytest.skip("mounting a small disk needs root and its capabilities")
    try:
        spool = spool_at(tmp_path)
        spool.put([bytes(100_000)])

        with pytest.raises(SpoolFull):
            spool.put(bytes(10_000) for _ in range(20))

        assert len(files(tmp_path)) == 1
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_an_instance_that_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    def breaks_off() -> Iterator[bytes]:
        yield b"DICM"
        raise ConnectionError("association aborted")

    with pytest.raises(ConnectionError):
        spool_at(tmp_path).put(breaks_off())

    assert files(tmp_path) == []


def test_processes_and_threads_put_at_the_same_time(tmp_path: Path) -> None:
    lines = "import sys\nfor i in range(40): spool.put([sys.argv[0].encode(), str(i).encode()])"
    others = [start(tmp_path, lines) for _ in range(2)]
    spool = spool_at(tmp_path)

    with ThreadPoolExecutor(4) as pool:
        entries = list(pool.map(lambda i: spool.put([b"thread", str(i).encode()]), range(40)))
    for other in others:
        other.communicate()
    assert [other.returncode for other in others] == [0, 0]

    assert len(set(spool)) == 120
    assert set(entries) <= set(spool)
    assert sorted(entry.path.read_bytes() for entry in spool) == sorted(
        [f"{who}{i}".encode() for who in ("-c", "-c", "thread") for i in range(40)]
    )


def test_what_a_living_process_is_writing_stays_and_what_a_dead_one_left_goes(tmp_path: Path) -> None:
    writing = """
def chunks():
    yield b"first"
    print("writing", flush=True)
    input()
    yield b" second"
spool.put(chunks())
"""
    script = (
        f"from pathlib import Path\nfrom storage.spool.queue import Spool\nspool = Spool(Path({str(tmp_path)!r}), 9, 0)"
    )
    command = [sys.executable, "-c", script + writing]
    living, dead = (subprocess.Popen(command, stdin=-1, stdout=-1, text=True) for _ in range(2))
    for process in (living, dead):
        assert process.stdout
        assert process.stdout.readline() == "writing\n"
    dead.kill()
    dead.communicate()

    spool = spool_at(tmp_path)

    assert len(files(tmp_path / "tmp")) == 1
    living.communicate("go on\n")
    assert living.returncode == 0
    assert [entry.path.read_bytes() for entry in spool] == [b"first second"]
    assert files(tmp_path / "tmp") == []


def test_every_acknowledged_instance_survives_a_kill(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for seed in range(4):
        putting = "while True: print(spool.put([b'x' * 100_000]).path.name, flush=True)"
        process = start(tmp_path, putting)
        assert process.stdout
        acknowledged.append(process.stdout.readline().strip())
        time.sleep(random.Random(seed).random() / 20)
        process.send_signal(signal.SIGKILL)
        acknowledged += [line.strip() for line in process.communicate()[0].splitlines(keepends=True) if "\n" in line]

    spool = spool_at(tmp_path)

    waiting = {entry.path.name for entry in spool}
    assert set(acknowledged) <= waiting
    assert all(entry.path.stat().st_size == 100_000 for entry in spool)
    assert files(tmp_path / "tmp") == []


def test_the_depth_follows_other_processes(tmp_path: Path) -> None:
    spool = spool_at(tmp_path)
    assert spool.depth() == 0

    start(tmp_path, "spool.put([b'1'])").communicate()

    deadline = time.monotonic() + 5
    while spool.depth() != 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert spool.depth() == 1


def test_an_entry_tells_when_it_arrived() -> None:
    assert Entry(Path("00000000000000000042-7-0.dcm")).received_ns == 42


@pytest.mark.parametrize("name", ["notes.txt", "my_own_notes.txt"])
def test_a_file_that_somebody_laid_into_the_queue_waits_like_the_others(tmp_path: Path, name: str) -> None:
    queue = spool_at(tmp_path)
    stray = tmp_path / "incoming" / name
    stray.write_text("hello")
    os.utime(stray, ns=(5_000_000_000, 7_000_000_000))

    [entry] = queue.take(10)

    assert entry.received_ns == 7_000_000_000
    note = queue.set_aside(entry, "not-readable", "no data set", {}, keep=True)
    assert queue.reasons() == {"not-readable": 1}
    assert [note.path and note.path.read_text(), len(queue)] == ["hello", 0]


@pytest.mark.parametrize("name", ["notes.txt", "00000000000000000042-7-0.dcm"])
def test_an_entry_that_somebody_takes_away_again_harms_nothing(tmp_path: Path, name: str) -> None:
    queue = spool_at(tmp_path)
    (tmp_path / "incoming" / name).write_text("hello")
    [entry] = queue.take(10)
    entry.path.unlink()

    assert entry.received_ns > 0
    note = queue.set_aside(entry, "not-readable", "FileNotFoundError", {}, keep=True)

    assert (note.reason, note.path) == ("not-readable", None)
    assert len(queue) == 0
