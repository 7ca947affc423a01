"""What the index of one machine does beyond the contract, which `tests/contracts` holds it to."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from storage.database.database import Database
from storage.errors import SnapshotError
from storage.record import Level
from storage.search.index import CodeIndex, IndexView
from storage.search.local import LocalIndex
from storage.segments import registry
from storage.segments.builder import build
from storage.segments.segment_file import Segment
from tests.support.storage.index_cases import instance_uid
from tests.support.storage.indexing import always_indexed, create, items
from tests.support.storage.invented import codes, item


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return create(tmp_path / "database")


def test_it_fulfils_the_contract(database: Database) -> None:
    index: CodeIndex = LocalIndex(database)

    with index.view() as view:
        typed: IndexView = view
        assert typed.search(codes(1), 1).hits == ()


def test_what_the_database_stores_is_found_at_once(database: Database) -> None:
    index = LocalIndex(database)
    database.append(items(codes(20)))

    with index.view() as view:
        assert view.search(codes(20)[3:4], 1).hits[0].uid == instance_uid(3)
        assert view.snapshot.rows == 20


def test_a_view_over_a_snapshot_agrees_with_it(database: Database) -> None:
    index = LocalIndex(database)
    database.append([item(0)])
    with database.snapshot() as records:
        database.append([item(1)])

        with index.view(records) as view:
            assert [hit.uid for hit in view.search(codes(1), 9).hits] == [instance_uid(0)]
        assert records.count(Level.IMAGE) == 1, "the snapshot outlives the view"


def test_a_snapshot_of_another_database_is_refused(database: Database, tmp_path: Path) -> None:
    with (
        create(tmp_path / "other") as other,
        other.snapshot() as records,
        pytest.raises(ValueError, match="another database"),
        LocalIndex(database).view(records),
    ):
        pass


def test_a_view_is_not_searched_after_its_end(database: Database) -> None:
    database.append([item(0)])
    with LocalIndex(database).view() as view:
        assert view.search(codes(1), 1).hits

    with pytest.raises(SnapshotError):
        view.search(codes(1), 1)
    with pytest.raises(SnapshotError):
        view.snapshot.cut(1, ())


def test_a_check_that_fails_leaves_its_rows_to_the_scan_and_says_so(
    database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Segment):
        def check(self, report: object = None) -> bool:
            raise MemoryError

    stored = codes(64)
    with always_indexed():
        database.append(items(stored))
        build(database)
        monkeypatch.setattr(registry, "Segment", Failing)
        index = LocalIndex(database)
        with index.view() as view:
            assert nearest(view, stored[:1]) == [0]
            index.segments.wait()

            assert view.snapshot.segments == []
            assert nearest(view, stored[:1]) == [0]
    assert "could not be checked" in caplog.text
    assert caplog.records[0].levelno == logging.ERROR


def nearest(view: IndexView, queries: np.ndarray[tuple[int, int], np.dtype[np.uint64]]) -> Sequence[float]:
    return [hit.distance for hit in view.search(queries, 1).hits]
