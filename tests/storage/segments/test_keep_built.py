"""The thread of the indexer that keeps segments built: what it answers, and what ends it."""

import errno
import logging
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from storage.database.database import Database
from storage.database.snapshot import Snapshot
from storage.segments import builder, registry
from storage.segments.builder import build, keep_built
from storage.segments.registry import SegmentRegistry
from storage.segments.segment_file import Segment
from tests.support.running import wait_until
from tests.support.storage.indexing import always_indexed, create, items
from tests.support.storage.invented import codes


@pytest.fixture(autouse=True)
def _indexed() -> object:
    with always_indexed():
        yield


def test_the_indexer_keeps_segments_built_until_it_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stop = Event()
    with create(tmp_path) as database, caplog.at_level(logging.INFO):
        keeper = Thread(target=keep_built, args=[database, stop, 0.01])
        keeper.start()
        database.append(items(codes(64)))

        def is_built() -> bool:
            with database.snapshot() as snapshot:
                return len(snapshot.segment_entries) == 1

        wait_until(is_built, "a segment")
        stop.set()
        keeper.join()
    assert "rows 0 to 64" in caplog.text


def test_an_error_that_a_second_try_cannot_answer_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(builder, "build", exhausted)
    with create(tmp_path) as database, pytest.raises(MemoryError):
        keep_built(database, Event(), 0)


def test_a_full_disk_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop, tries = Event(), 0

    def full_once(*_: Any, **__: Any) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        stop.set()

    monkeypatch.setattr(builder, "build", full_once)
    with create(tmp_path) as database, caplog.at_level(logging.WARNING):
        keep_built(database, stop, 0)

    assert tries == 2
    assert "No space left on device" in caplog.text


def test_an_end_amid_a_build_is_no_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class StoppedAtOnce(Event):
        """Not set when the loop looks, set when the build does."""

        def wait(self, timeout: float | None = None) -> bool:
            return False

    stop = StoppedAtOnce()
    stop.set()
    with create(tmp_path) as database, caplog.at_level(logging.WARNING):
        database.append(items(codes(64)))

        keep_built(database, stop, 0)

        with database.snapshot() as snapshot:
            assert snapshot.segment_entries == []
    assert not caplog.records


def test_a_build_holds_no_old_state_of_the_database_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_now, opened = 0, 0
    make = Database.snapshot

    class Counted(Snapshot):
        def __enter__(self) -> Any:
            nonlocal open_now, opened
            open_now, opened = open_now + 1, opened + 1
            return super().__enter__()

        def __exit__(self, *exc: object) -> None:
            nonlocal open_now
            open_now -= 1
            super().__exit__(*exc)

    def counted(database: Database) -> Snapshot:
        snapshot = make(database)
        snapshot.__class__ = Counted
        return snapshot

    with create(tmp_path) as database:
        database.append(items(codes(64)))
        monkeypatch.setattr(Database, "snapshot", counted)
        during: list[int] = []

        assert build(database, report=lambda _done, _all: during.append(open_now)) is not None

    assert set(during) == {0}, "a snapshot was open while the file was written"
    assert opened > 64 / 16, "each block is read in a snapshot of its own"


def test_a_registry_that_is_used_again_checks_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []

    class Counted(Segment):
        def check(self, *arguments: Any) -> bool:
            checked.append(self.entry.name)
            return super().check(*arguments)

    monkeypatch.setattr(registry, "Segment", Counted)
    with create(tmp_path) as database:
        mine = SegmentRegistry.of(database)
        database.append(items(codes(64)))
        build(database, mine)
        for _ in range(3):
            assert build(database, mine) is None

    assert len(checked) == 1
