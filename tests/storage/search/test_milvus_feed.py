"""The index in Milvus, fed from a database: at every moment it answers as the database does."""

from pathlib import Path

import numpy as np
import pytest

from storage.database.database import Database
from storage.errors import IndexUnavailable
from storage.record import LEVELS
from storage.search.index import Aggregation, Filter, Hits, IndexView
from storage.search.local import LocalIndex
from storage.search.milvus import feed
from storage.search.milvus.connection import CodeOrigin, Connection
from storage.search.milvus.feed import FedIndex, Feeder
from storage.search.milvus.index import MilvusIndex
from storage.search.milvus.options import MilvusOptions
from tests.support.storage.databases import create
from tests.support.storage.index_cases import instance_uid, rows, uids
from tests.support.storage.invented import codes
from tests.support.storage.local_store import items_of
from tests.support.storage.milvus_server import empty_milvus

FILTERS = (Filter(), Filter(modalities=frozenset({"MR"}), excluded_patients=frozenset({uids(9)[0]})))


def store(database: Database, numbers: range) -> None:
    pool = codes(7, seed=3)
    database.append(items_of([row for n in numbers for row in rows(n, pool[[n % 7, n % 5]], (0, 3))]))


def answers(view: IndexView) -> list[Hits]:
    query, outputs = codes(1, seed=9), np.full((1, 64), 3, np.int8)
    options = [(level, where, how) for level in LEVELS for where in FILTERS for how in Aggregation]
    return [view.search(query, 4, level, where, aggregation=how, outputs=outputs) for level, where, how in options]


def agree(database: Database, fed: FedIndex) -> None:
    with database.snapshot() as snapshot, fed.view(snapshot) as view, fed.local.view(snapshot) as local:
        assert type(view) is not type(local), "it is not the database that answers"
        assert answers(view) == answers(local)


def test_whatever_is_fed_already_the_answers_are_those_of_the_database(tmp_path: Path) -> None:
    with create(tmp_path) as database, empty_milvus(64) as index:
        fed, feeder = FedIndex(index, LocalIndex(database)), Feeder(database, index)
        store(database, range(20))
        while feeder.step():
            continue
        feeder.step()
        agree(database, fed)

        store(database, range(20, 30))
        database.remove([instance_uid(number) for number in (1, 2, 25)])
        agree(database, fed)

        assert feeder.step() == 12
        agree(database, fed)
        assert index.connection.count("gone > 0 and bucket >= 0") == 2 * (27 + 2)


def test_a_view_that_began_before_a_batch_does_not_see_it(tmp_path: Path) -> None:
    with create(tmp_path) as database, empty_milvus(64) as index:
        fed, feeder = FedIndex(index, LocalIndex(database)), Feeder(database, index)
        feeder.step()
        store(database, range(10))
        feeder.step()
        with database.snapshot() as snapshot, fed.view(snapshot) as view, fed.local.view(snapshot) as local:
            database.remove([instance_uid(3)])
            store(database, range(10, 14))
            assert feeder.step() == 5

            assert answers(view) == answers(local)
        agree(database, fed)


def test_a_batch_that_failed_halfway_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with create(tmp_path) as database, empty_milvus(64) as index:
        fed, feeder = FedIndex(index, LocalIndex(database)), Feeder(database, index)
        store(database, range(10))
        feeder.step()
        feeder.step()
        database.remove([instance_uid(3)])
        store(database, range(10, 14))
        with monkeypatch.context() as broken:
            broken.setattr(index.connection, "delete", _fails)
            with pytest.raises(IndexUnavailable):
                feeder.step()
        agree(database, fed)

        assert feeder.step() == 5
        agree(database, fed)


def _fails(where: str) -> None:
    raise IndexUnavailable("here", "pulled the plug")


def test_until_the_first_copy_is_complete_the_database_is_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "BATCH", 4)
    with create(tmp_path) as database, empty_milvus(64) as index:
        fed, feeder = FedIndex(index, LocalIndex(database)), Feeder(database, index)
        store(database, range(10))
        feeder.step()
        with database.snapshot() as snapshot, fed.view(snapshot) as view, fed.local.view(snapshot) as local:
            assert type(view) is type(local)

        again = Feeder(database, index)  # after a restart it goes on
        assert [again.step(), again.step(), again.step()] == [4, 2, 0]
        agree(database, fed)


def test_nothing_is_noted_while_no_index_is_fed(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        store(database, range(10))
        with database.snapshot() as snapshot:
            assert snapshot.changes.first(9) == {}


def test_a_server_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    index = MilvusIndex(Connection(MilvusOptions("http://127.0.0.1:1", timeout_s=0.5), CodeOrigin(64, "model")))
    with index.view() as view, pytest.raises(IndexUnavailable, match=r"127\.0\.0\.1:1"):
        view.search(codes(1), 3)
