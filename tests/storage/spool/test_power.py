"""A loss of power: only what was synced survives. A disk that forgets the rest stands in for the real one."""

import os
import random
import shutil
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.spool.queue import Spool


class ForgetfulDisk:
    """Keeps what fsync and fdatasync are called for: the content of files, the names of folders."""

    def __init__(self) -> None:
        self._contents: dict[int, bytes] = {}
        self._names: dict[Path, dict[str, int]] = {}
        self._lock = threading.Lock()

    def sync(self, descriptor: int) -> None:
        """Stand in for both calls."""
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        status = os.fstat(descriptor)
        with self._lock:
            if stat.S_ISDIR(status.st_mode):
                self._names[path] = {entry.name: entry.inode() for entry in os.scandir(path)}
            else:
                self._contents[status.st_ino] = os.pread(descriptor, status.st_size, 0)

    def after_a_cut(self, folder: Path, copy: Path) -> None:
        """Write what would be found when power returns."""
        with self._lock:
            names, contents = {path: dict(inodes) for path, inodes in self._names.items()}, dict(self._contents)
        for path, inodes in names.items():
            if path.is_relative_to(folder):
                target = copy / path.relative_to(folder)
                target.mkdir(parents=True, exist_ok=True)
                for name, inode in inodes.items():
                    if name.endswith(".sqlite"):  # SQLite syncs its own files, by other means
                        shutil.copy(path / name, target / name)
                    elif not (path / name).is_dir():
                        (target / name).write_bytes(contents.get(inode, b""))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> ForgetfulDisk:
    disk = ForgetfulDisk()
    monkeypatch.setattr(os, "fsync", disk.sync)
    monkeypatch.setattr(os, "fdatasync", disk.sync)
    return disk


def content(uid: str) -> bytes:
    return uid.encode() * 500


def test_whatever_was_acknowledged_is_there_whole_after_power_returns(tmp_path: Path, disk: ForgetfulDisk) -> None:
    spool = Spool(tmp_path / "spool", 10_000, 0)
    acknowledged: list[str] = []
    cuts: list[tuple[list[str], Path]] = []

    def put(uid: str) -> None:
        octets = content(uid)
        spool.put([octets[:100], octets[100:]], uid)
        acknowledged.append(uid)

    def cut(number: int) -> None:
        promised = list(acknowledged)
        disk.after_a_cut(spool.path, tmp_path / f"after-{number}")
        cuts.append((promised, tmp_path / f"after-{number}"))

    with ThreadPoolExecutor(9) as pool:
        for number in range(400):
            pool.submit(put, f"2.25.{number}")
            if number % 20 == 19:
                pool.submit(cut, number)
    cut(400)

    assert len(acknowledged) == len(cuts[-1][0]) == 400
    for promised, path in cuts:
        found = {entry.path.name.split("-")[-1][:-4]: entry.path.read_bytes() for entry in Spool(path, 10_000, 0)}
        assert {uid: found.get(uid) for uid in promised} == {uid: content(uid) for uid in promised}


def test_what_is_set_aside_survives_in_the_queue_or_beside_it(tmp_path: Path, disk: ForgetfulDisk) -> None:
    spool, rng = Spool(tmp_path / "spool", 100, 0), random.Random(0)
    uids = [f"2.25.{number}" for number in range(40)]
    for uid in uids:
        spool.put([content(uid)], uid)

    for number, entry in enumerate(spool.take(40)):
        uid = uids[number]
        spool.set_aside(entry, "odd", "of no use", {"SOPInstanceUID": uid}, keep=True)
        if rng.random() < 0.3:
            copy = tmp_path / f"after-{number}"
            disk.after_a_cut(spool.path, copy)
            found = Spool(copy, 100, 0)
            assert all(found.is_waiting(one) or found.is_set_aside(one) for one in uids)
            kept = [note.path.read_bytes() for note in found.set_aside_records() if note.path is not None]
            assert all(content(uid) in kept or found.is_waiting(uid) for uid in uids)


def test_the_forgetful_disk_forgets(tmp_path: Path, disk: ForgetfulDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool", 100, 0)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)

    spool.put([content("2.25.1")], "2.25.1")

    disk.after_a_cut(spool.path, tmp_path / "after")
    [entry] = Spool(tmp_path / "after", 100, 0)
    assert entry.path.read_bytes() == b""
