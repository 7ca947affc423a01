"""Segments made, merged, checked, and never trusted before they are."""

import logging
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.database.blocks import Layout
from storage.database.database import Database
from storage.database.tables import SegmentEntry
from storage.errors import SegmentsBusy
from storage.search.kernels.select import select
from storage.search.local import LocalIndex
from storage.segments import builder
from storage.segments.builder import RATIO, SEAL_ROWS, alone, build, due, faults, settled, verify
from storage.segments.layout import MAX_ROWS
from storage.segments.probe import probe
from storage.segments.registry import segment_folder
from tests.support.storage.indexing import always_indexed, checked, create, items
from tests.support.storage.invented import codes, item


@pytest.fixture(autouse=True)
def _indexed() -> object:
    with always_indexed():
        yield


@given(st.lists(st.integers(0, 4 * SEAL_ROWS), max_size=60), st.booleans())
def test_segments_stay_few_and_cover_all_but_a_tail(added: list[int], whole: bool) -> None:
    entries: list[SegmentEntry] = []
    rows, written = 0, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "SEAL_ROWS", SEAL_ROWS)
        for more in added:
            rows += more
            extent = due(entries, rows)
            if extent is not None:
                first, end = extent
                entries = [entry for entry in entries if entry.end <= first]
                assert end == rows
                assert first == (entries[-1].end if entries else 0)
                entries.append(SegmentEntry("", first, end - first, 0))
                written += end - first
            assert rows - (entries[-1].end if entries else 0) < SEAL_ROWS
            assert all(a.rows >= RATIO * b.rows for a, b in pairwise(entries))
    assert len(entries) <= 6
    assert written <= 8 * max(1, rows)
    if whole and rows:
        expected = None if len(entries) == 1 and entries[0].end == rows else (0, rows)
        assert due(entries, rows, whole=True) == expected


def test_no_segment_holds_more_rows_than_it_can_tell_apart() -> None:
    first = SegmentEntry("", 0, MAX_ROWS, 0)
    second = SegmentEntry("", first.end, MAX_ROWS, 0)

    assert due([], 5 * 10**9, whole=True) == (0, MAX_ROWS)
    assert due([first], 5 * 10**9, whole=True) == (first.end, 2 * MAX_ROWS)
    assert due([first, second], 5 * 10**9) == (second.end, 5 * 10**9)


@pytest.mark.parametrize(("rows", "expected"), [(0, 0), (15, 0), (16, 16), (47, 32)])
def test_only_full_blocks_are_settled(rows: int, expected: int) -> None:
    assert settled(Layout(1, 16, 4), rows) == expected
    assert settled(Layout(1, 48, 4), rows) == 0  # no power of two


def test_codes_of_more_than_one_word_stay_out_of_the_segment(tmp_path: Path) -> None:
    with create(tmp_path, 128) as database:
        database.append(items(codes(40, 128), 128))
        build(database, inline=True)
        index = LocalIndex(database)
        checked(index)

        with index.snapshot() as snapshot:
            assert [segment.layout.inline for segment in snapshot.segments] == [False]


def names(database: Database) -> set[str]:
    return {path.name for path in segment_folder(database).iterdir()} - {"lock"}


def test_a_build_names_what_it_made_and_removes_what_it_replaced(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        database.append(items(codes(40)))
        first = build(database)
        assert first is not None
        assert (first.first_row, first.rows) == (0, 32)
        assert build(database) is None
        database.append([item(number) for number in range(40, 80)])

        second = build(database)

        assert second is not None
        assert (second.first_row, second.rows) == (0, 80)
        assert names(database) == {f"{second.name}.segment"}
        with database.snapshot() as snapshot:
            assert snapshot.segment_entries == [second]
        assert verify(database) == []


def test_a_snapshot_uses_the_segments_of_its_own_state(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        database.append(items(codes(40)))
        build(database)
        index = LocalIndex(database)
        checked(index)
        with index.view() as older:
            answer = older.search(codes(1, seed=7), 5)
            database.remove(["2.25.20"])
            database.compact()
            build(database, whole=True)

            assert checked(index) == 1
            assert older.search(codes(1, seed=7), 5) == answer


def only_file(database: Database) -> Path:
    (path,) = segment_folder(database).glob("*.segment")
    return path


@pytest.mark.parametrize("damage", ["missing", "changed", "of another database"])
def test_a_segment_that_cannot_be_trusted_is_scanned_reported_and_made_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    stored = codes(64)
    with create(tmp_path / "database") as database:
        database.append(items(stored))
        build(database)
        path = only_file(database)
        if damage == "missing":
            path.unlink()
        elif damage == "changed":
            octets = bytearray(path.read_bytes())
            octets[700] ^= 255
            path.write_bytes(octets)
        else:
            with create(tmp_path / "other") as other:
                other.append(items(codes(64, seed=1)))
                build(other)
                path.write_bytes(only_file(other).read_bytes())
    with Database.open(tmp_path / "database", readonly=False) as database:
        index = LocalIndex(database)
        with index.view() as view, caplog.at_level(logging.WARNING):
            assert checked(index) == 0
            assert [view.search(code[None], 1).hits[0].distance for code in stored] == [0] * 64
            assert len(faults(database, view.snapshot.records.segment_entries)) == 1
        assert "lookalike index build" in caplog.text
        assert len(verify(database)) == 1

        build(database)

        assert checked(index) == 1
        assert verify(database) == []


def test_verifying_finds_a_segment_that_is_whole_but_does_not_follow_from_the_codes(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        database.append(items(codes(64)))
        build(database)
        with database.writing() as tables:
            changed = tables.rows.read("codes", 1).copy()
            changed[0, 3] ^= 1
            tables.rows._put("codes", 1, changed)

        problems = verify(database)

        assert problems
        assert all("does not follow from the codes" in problem for problem in problems)


def test_what_was_built_while_rows_moved_is_thrown_away(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        database.append(items(codes(64)))
        database.remove(["2.25.25"])
        moved = False

        def move(_done: int, _all: int) -> None:
            nonlocal moved
            if not moved:
                moved = True
                mover = Thread(target=database.compact)
                mover.start()
                mover.join()

        assert build(database, report=move) is None

        with database.snapshot() as snapshot:
            assert snapshot.segment_entries == []
            assert snapshot.rows == 63
        assert build(database) is not None
        assert len(names(database)) == 1


def test_a_search_in_a_checked_segment_compiles_nothing(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        database.append(items(codes(70)))
        build(database)
        index = LocalIndex(database)
        assert checked(index) == 1
        with index.view() as view:
            kernels: list[Any] = [probe, select]
            compiled = [len(kernel.signatures) for kernel in kernels]

            view.search(codes(1, seed=7), 5)

            assert min(compiled) > 0
            assert [len(kernel.signatures) for kernel in kernels] == compiled


def test_one_process_builds_at_a_time(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        database.append(items(codes(64)))
        with alone(database), pytest.raises(SegmentsBusy, match="wait"):
            build(database)
