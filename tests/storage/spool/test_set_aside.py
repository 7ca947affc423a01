"""Notes on what was set aside: bounded, counted at the same cost however many, and readable by their owner only."""

import json
import logging
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.spool.queue import Retention, Spool
from storage.spool.set_aside import NOTE_LOST, TABLE

UIDS = {"SOPInstanceUID": "2.25.1", "SeriesInstanceUID": "2.25.2", "StudyInstanceUID": "2.25.3"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def spool_at(path: Path, notes: int = 1000, size_bytes: int = 1 << 20) -> Spool:
    return Spool(path, 10_000, 0, Retention(notes, size_bytes))


def set_aside(spool: Spool, numbers: range, reason: str = "odd", size: int = 100, *, keep: bool = True) -> None:
    for number in numbers:
        entry = spool.put([bytes(size)], f"2.25.{number}")
        spool.set_aside(entry, reason, "of no use", {"SOPInstanceUID": f"2.25.{number}"}, keep=keep)


def kept_files(path: Path) -> int:
    return len(list((path / "aside").glob("*.dcm")))


def test_beyond_the_limit_of_notes_the_oldest_goes_with_its_file_and_stays_counted(path: Path) -> None:
    spool = spool_at(path, notes=3)

    set_aside(spool, range(5))

    assert [note.uids["SOPInstanceUID"] for note in spool.set_aside_records()] == ["2.25.2", "2.25.3", "2.25.4"]
    assert all(note.path is not None for note in spool.set_aside_records())
    assert (kept_files(path), spool.reasons(), spool.set_aside_deleted()) == (3, {"odd": 5}, 2)
    assert spool.is_set_aside("2.25.0") is None


def test_beyond_the_limit_of_bytes_the_oldest_files_go_and_their_notes_stay(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = spool_at(path, size_bytes=250)

    with caplog.at_level(logging.WARNING):
        set_aside(spool, range(4))

    assert [note.path is not None for note in spool.set_aside_records()] == [False, False, True, True]
    assert (kept_files(path), spool.reasons(), spool.set_aside_deleted()) == (2, {"odd": 4}, 2)
    assert ["2.25.0" in line or "2.25.1" in line for line in caplog.messages] == [True, True]  # never silently


def test_notes_without_bytes_do_not_count_against_the_bytes(path: Path) -> None:
    spool = spool_at(path, size_bytes=250)
    set_aside(spool, range(2))

    set_aside(spool, range(2, 9), "report", keep=False)

    assert (kept_files(path), spool.reasons(), spool.set_aside_deleted()) == (2, {"odd": 2, "report": 7}, 0)


def test_a_stricter_retention_holds_from_the_next_note_on(path: Path) -> None:
    set_aside(spool_at(path), range(6))

    spool = spool_at(path, notes=2)
    assert len(list(spool.set_aside_records())) == 6
    set_aside(spool, range(6, 7))

    assert len(list(spool.set_aside_records())) == kept_files(path) == 2


def test_a_kill_between_a_file_and_its_note_loses_neither_count_nor_room(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = spool_at(path, size_bytes=250)
    set_aside(spool, range(2))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(spool._aside._notes, "forget_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            set_aside(spool, range(2, 3))
    reopened = spool_at(path, size_bytes=250)
    set_aside(reopened, range(3, 4))

    assert (kept_files(path), reopened.reasons(), reopened.set_aside_deleted()) == (2, {"odd": 4}, 2)


def test_counting_reads_no_notes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = spool_at(path)
    set_aside(spool, range(3))
    set_aside(spool, range(3, 5), "other")

    def never(*_: object, **__: object) -> Iterator[object]:
        yield pytest.fail("the notes were listed")

    monkeypatch.setattr(json, "loads", never)
    monkeypatch.setattr(os, "listdir", never)

    assert spool.reasons() == {"odd": 3, "other": 2}


def test_other_threads_and_openers_read_while_notes_are_added(path: Path) -> None:
    spool = spool_at(path)

    with ThreadPoolExecutor(4) as pool:
        adding = pool.submit(set_aside, spool, range(40))
        while not adding.done():
            assert sum(spool_at(path).reasons().values()) <= 40
            list(pool.map(lambda _: spool.is_set_aside("2.25.1"), range(3)))
        adding.result()

    assert spool.reasons() == {"odd": 40}


def test_notes_of_earlier_releases_are_taken_over(path: Path) -> None:
    spool_at(path)
    aside = path / "aside"
    for stem, keep in (("00000000000000000042-7-0-2.25.1", True), ("my_own", False), ("unfinished", True)):
        uids = {"SOPInstanceUID": "2.25.1"} if keep else {}
        note = {"reason": "odd-one", "detail": "why", "uids": uids, "received_ns": 42, "keep": keep}
        (aside / f"{stem}_odd-one_{uids.get('SOPInstanceUID', '')}.json").write_text(json.dumps(note))
    (aside / "00000000000000000042-7-0-2.25.1.dcm").write_bytes(b"DICM")
    (path / "incoming" / "unfinished.dcm").write_bytes(b"DICM, later")

    spool = spool_at(path)

    notes = list(spool.set_aside_records())
    assert [note.path and note.path.read_bytes() for note in notes] == [b"DICM", None, b"DICM, later"]
    assert {(note.reason, note.detail, note.received_ns) for note in notes} == {("odd-one", "why", 42)}
    assert (spool.reasons(), len(spool), list(aside.glob("*.json"))) == ({"odd-one": 3}, 0, [])


def test_files_whose_table_somebody_removed_are_noted_again(path: Path) -> None:
    set_aside(spool_at(path), range(3))
    (path / "aside" / TABLE).unlink()

    spool = spool_at(path)

    assert spool.reasons() == {NOTE_LOST: 3}
    assert all(note.path is not None for note in spool.set_aside_records())


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_reads_what_the_spool_writes(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        spool = spool_at(path)
        set_aside(spool, range(1))
        spool.put([b"waits"])
        arrival = spool.begin("2.25.8")
    finally:
        os.umask(before)

    modes = {found: stat.S_IMODE(found.stat().st_mode) for found in (path, *path.rglob("*"))}
    arrival.abandon()
    assert len(modes) == 8
    assert all(mode == (0o700 if found.is_dir() or found == path else 0o600) for found, mode in modes.items())


def test_folders_of_an_earlier_release_become_private(path: Path) -> None:
    for folder in (path, path / "incoming", path / "tmp", path / "aside"):
        folder.mkdir(mode=0o755)

    spool_at(path)

    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (path, *path.iterdir())} == {0o700}


@pytest.mark.parametrize("keep", [True, False])
def test_what_is_set_aside_has_a_reason(path: Path, keep: bool) -> None:
    spool = spool_at(path)
    entry, other = spool.put([b"DICM"]), spool.put([b"other"])

    note = spool.set_aside(entry, "no-pixels", "Pixel Data is missing", UIDS, keep=keep)

    reopened = spool_at(path)
    assert list(spool) == spool.take(9) == list(reopened) == [other]
    assert reopened.reasons() == {"no-pixels": 1}
    assert list(reopened.set_aside_records()) == [reopened.is_set_aside("2.25.1")] == [note]
    assert (note.reason, note.detail, note.uids) == ("no-pixels", "Pixel Data is missing", UIDS)
    assert note.received_ns == entry.received_ns
    assert (note.path.read_bytes() if note.path else None) == (b"DICM" if keep else None)
    assert reopened.is_set_aside("2.25.2") is None


@pytest.mark.parametrize("uids", [{}, {"SOPInstanceUID": "../../etc"}, {"SOPInstanceUID": "1" * 300}])
def test_an_instance_with_a_bad_uid_is_set_aside_too(path: Path, uids: dict[str, str]) -> None:
    spool = spool_at(path)

    note = spool.set_aside(spool.put([b"DICM"]), "unreadable", "", uids, keep=True)

    assert list(spool.set_aside_records()) == [note]
    assert note.uids == uids
    assert spool.is_set_aside("../../etc") is None


def test_a_reason_that_cannot_be_counted_by_is_refused(path: Path) -> None:
    spool = spool_at(path)
    entry = spool.put([b"DICM"])

    with pytest.raises(ValueError, match="reason"):
        spool.set_aside(entry, "no_pixels/..", "", UIDS, keep=True)

    assert list(spool) == [entry]


@pytest.mark.parametrize("keep", [True, False])
def test_setting_aside_is_finished_after_a_kill_between_note_and_bytes(
    path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    class KilledError(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    spool = spool_at(path)
    entry, other = spool.put([b"DICM"]), spool.put([b"other"])
    with monkeypatch.context() as patch:
        patch.setattr(spool._aside, "_settle", killed)
        with pytest.raises(KilledError):
            spool.set_aside(entry, "no-pixels", "", UIDS, keep=keep)
    assert entry.path.exists()

    reopened = spool_at(path)

    assert list(reopened) == [other]
    assert reopened.reasons() == {"no-pixels": 1}
    assert len([file for file in path.rglob("*") if file.is_file()]) == (3 if keep else 2)
    assert list(spool_at(path)) == [other]


def test_the_indexer_does_not_mind_that_another_process_finished_its_setting_aside(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = spool_at(path)
    entry = spool.put([b"DICM"])
    settle = spool._aside._settle

    def settle_twice(entry_path: Path, *, keep: bool) -> None:
        spool_at(path)
        settle(entry_path, keep=keep)

    monkeypatch.setattr(spool._aside, "_settle", settle_twice)

    note = spool.set_aside(entry, "no-pixels", "", UIDS, keep=True)

    assert note.path is not None
    assert note.path.read_bytes() == b"DICM"
    assert list(spool) == []
