"""Files and names that must outlive a loss of power."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage import durable
from storage.durable import FolderSync


def test_names_of_many_threads_share_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[float] = []

    def slowly(_: Path) -> None:
        syncs.append(time.monotonic())
        time.sleep(0.02)

    monkeypatch.setattr(durable, "sync_folder", slowly)
    folder = FolderSync(tmp_path)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: folder.wait(), range(64)))

    assert 4 <= len(syncs) <= 16


def test_a_sync_that_began_before_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    syncs: list[int] = []

    def held(_: Path) -> None:
        syncs.append(len(syncs))
        begun.set()
        go_on.wait(10)

    monkeypatch.setattr(durable, "sync_folder", held)
    folder = FolderSync(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(folder.wait)
        begun.wait(10)
        second = pool.submit(folder.wait)
        time.sleep(0.05)
        assert syncs == [0]

        go_on.set()
        first.result(10)
        second.result(10)

    assert syncs == [0, 1]


def test_a_sync_that_fails_is_told_to_all_it_was_for(tmp_path: Path) -> None:
    folder = FolderSync(tmp_path / "missing")

    with ThreadPoolExecutor(4) as pool:
        waits = [pool.submit(folder.wait) for _ in range(8)]

    assert [type(wait.exception()) for wait in waits] == [FileNotFoundError] * 8
