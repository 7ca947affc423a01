"""Locks that name their owner, and that a process which ended cannot hold."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from node.locks import InUseError, Owner, held_lock, is_locked, lock_owner
from node.settings import Settings

HOLD = """
import sys, time
from pathlib import Path
from node.locks import Owner, held_lock
with held_lock(Path(sys.argv[1]), "it", Owner(7, "elsewhere", "AE", "10.0.0.1", 104, 80)):
    print("held", flush=True)
    time.sleep(600)
"""
ME = Owner(os.getpid(), "here", "LOOKALIKE", "127.0.0.1", 11112, 8080)


def test_a_second_process_is_refused_and_learns_who_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()

        with pytest.raises(InUseError) as caught, held_lock(path, "home folder x", ME):
            pytest.fail("two processes hold one lock")

        assert "home folder x is in use by process 7 on elsewhere (AE at 10.0.0.1:104): stop it" in str(caught.value)
        assert lock_owner(path) == caught.value.owner
        holder.kill()


def test_the_lock_of_a_killed_process_is_free_though_the_file_still_names_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()

    assert b"elsewhere" in path.read_bytes()
    assert not is_locked(path)
    assert lock_owner(path) is None
    with held_lock(path, "it", ME):
        assert lock_owner(path) == ME


def test_one_process_cannot_hold_a_lock_twice(tmp_path: Path) -> None:
    with held_lock(tmp_path / "lock", "it", ME), pytest.raises(InUseError), held_lock(tmp_path / "lock", "it", ME):
        pytest.fail("held twice")


def test_a_waiting_process_gets_the_lock_when_its_owner_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        threading.Timer(0.5, holder.kill).start()

        with held_lock(path, "it", ME, wait_s=30):
            assert lock_owner(path) == ME


def test_reading_a_lock_all_the_time_keeps_nobody_from_taking_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    script = "import sys; from pathlib import Path; from node.locks import is_locked\nprint(flush=True)\n"
    script += "while True: is_locked(Path(sys.argv[1]))"
    path.touch()
    with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        for _ in range(20):
            with held_lock(path, "it", ME):
                time.sleep(0.001)
        reader.kill()


def test_a_lock_holds_on_a_full_disk_though_it_cannot_name_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with held_lock(tmp_path / "lock", "it", ME):
        assert is_locked(tmp_path / "lock")
        assert lock_owner(tmp_path / "lock") is None
        with pytest.raises(InUseError, match="another process"), held_lock(tmp_path / "lock", "it", ME):
            pytest.fail("held twice")


def test_the_file_of_a_lock_keeps_its_size(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    sizes = set()
    for title in ("A", "LONGER", "B"):
        owner = Owner.this_process(Settings(home=tmp_path, ae_title=title))
        with held_lock(path, "it", owner):
            assert lock_owner(path) == owner
            sizes.add(path.stat().st_size)

    assert len(sizes) == 1


@pytest.mark.parametrize("text", [b"", b"1234", b"[1]", b'{"pid": 1}', b"\xff"])
def test_a_file_of_another_release_names_nobody(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "lock"
    with held_lock(path, "it", ME):
        path.write_bytes(text)

        assert is_locked(path)
        assert lock_owner(path) is None
