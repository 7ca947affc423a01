"""Rows moved together."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.database.compaction import compact
from storage.database.database import Database, Item
from storage.record import Level
from storage.search.local import LocalIndex
from tests.support.storage.invented import N_CLASSES, codes, item

MAP_SIZE = 2**28


class StoppedError(Exception):
    """What a test kills a compaction with."""


def create(path: Path, blocks: tuple[int, int] = (16, 4)) -> Database:
    return Database.create_or_open(path, 100, "model", MAP_SIZE, block_rows=blocks[0], tail_rows=blocks[1])


def items_of(frames: list[int]) -> list[Item]:
    return [item(number, 100, frames=tuple(range(count))) for number, count in enumerate(frames)]


def told(database: Database) -> dict[str, Any]:
    """Everything that the database says of its instances, and what it answers, but for the numbers of rows."""
    with database.snapshot() as snapshot:
        found: dict[str, Any] = {
            entity.uid: (snapshot.record(entity.uid), snapshot.codes_of(entity.uid).tolist())
            for entity in snapshot.entities(Level.IMAGE)
        }
        for level in Level:
            with LocalIndex(database).view(snapshot) as view:
                hits = view.search(codes(2, 100), 7, level).hits
            rows = snapshot.rows_of((hit.sop_instance_uid, hit.frame) for hit in hits)
            kept = snapshot.outputs_at(rows, N_CLASSES)
            assert kept.class_scores is not None
            found[level] = list(zip(hits, kept.relaxed.tolist(), kept.class_scores.tolist(), strict=True))
        return found


frames_of = st.lists(st.sampled_from([1, 1, 1, 3, 0, 20]), max_size=40)
removals = st.sets(st.integers(0, 39))
sizes = st.sampled_from([(16, 4), (8, 8), (1024, 256)])


@given(frames_of, removals, sizes, st.integers(1, 20))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_a_compaction_loses_the_deleted_rows_and_nothing_else(
    frames: list[int], removed: set[int], blocks: tuple[int, int], step_rows: int
) -> None:
    with tempfile.TemporaryDirectory() as path, create(Path(path), blocks) as database:
        database.append(items_of(frames))
        database.remove(f"2.25.2{number}" for number in removed)
        before = told(database)

        lost = compact(database.writing, step_rows=step_rows)

        assert database.verify() == []
        assert told(database) == before
        assert lost == sum(count for number, count in enumerate(frames) if number in removed)
        with database.snapshot() as snapshot:
            assert snapshot.rows == sum(frames) - lost
        assert database.append(items_of(frames)).new == len(removed & set(range(len(frames))))
        assert database.verify() == []


@given(frames_of, removals, st.integers(1, 5))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
def test_a_compaction_killed_after_any_step_leaves_the_same_answers_and_the_next_one_ends_it(
    frames: list[int], removed: set[int], last_step: int
) -> None:
    with tempfile.TemporaryDirectory() as path, create(Path(path)) as database:
        database.append(items_of(frames))
        database.remove(f"2.25.2{number}" for number in removed)
        before, steps = told(database), 0

        def stop(_done: int, _all: int) -> None:
            nonlocal steps
            steps += 1
            if steps == last_step:
                raise StoppedError

        try:
            compact(database.writing, stop, step_rows=3)
        except StoppedError:
            assert told(database) == before
            assert database.verify() == []
        compact(database.writing, step_rows=3)

        assert told(database) == before
        assert database.verify() == []
        with database.snapshot() as snapshot:
            assert snapshot.rows == sum(count for number, count in enumerate(frames) if number not in removed)


def test_what_is_stored_and_removed_between_two_steps_is_kept_and_gone(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        database.append(items_of([1] * 30))
        database.remove([f"2.25.2{number}" for number in range(5, 12)])

        def meanwhile(done: int, _all: int) -> None:
            if done == 15:
                database.append([item(40, 100)])
                database.remove(["2.25.21", "2.25.220"])

        compact(database.writing, meanwhile, step_rows=3)

        assert database.verify() == []
        kept = {f"2.25.2{number}" for number in (0, 2, 3, 4, *range(12, 20), *range(21, 30), 40)}
        assert {uid for uid in told(database) if uid not in list(Level)} == kept


def test_an_older_snapshot_still_answers_from_the_rows_as_they_were(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        database.append(items_of([1] * 30))
        database.remove(["2.25.23"])
        with LocalIndex(database).view() as view:
            before = view.search(codes(1, 100), 9)

            database.compact()

            assert view.search(codes(1, 100), 9) == before
            assert view.snapshot.rows == 30


@pytest.mark.parametrize("removed", [[], ["2.25.99"]])
def test_without_deleted_rows_nothing_is_written(tmp_path: Path, removed: list[str]) -> None:
    with create(tmp_path) as database:
        database.append(items_of([1] * 20))
        database.remove(removed)
        with database.snapshot() as snapshot:
            before = snapshot.compactions, snapshot.rows

        assert database.compact() == 0

        with database.snapshot() as snapshot:
            assert (snapshot.compactions, snapshot.rows) == before
