"""Many rows in a real Milvus server: sealed segments, deletions, ties, and a server that is killed while it is fed."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hashing.codes import Codes
from storage.database.database import Database
from storage.record import LEVELS, Level
from storage.search.index import Aggregation, Filter
from storage.search.local import LocalIndex
from storage.search.milvus import feed
from storage.search.milvus.connection import CodeOrigin, Connection
from storage.search.milvus.feed import FedIndex, Feeder
from storage.search.milvus.index import MilvusIndex
from storage.search.milvus.options import MilvusOptions, VectorIndex
from tests.support.storage.databases import create
from tests.support.storage.index_cases import instance_uid, rows, uids
from tests.support.storage.invented import codes
from tests.support.storage.local_store import items_of
from tests.support.storage.milvus_server import MilvusServer, milvus_server
from tests.support.storage.naive_index import NaiveIndex

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
INSTANCES, BATCH = 100_000, 4000
FILTERS = (
    Filter(),
    Filter(modalities=frozenset({"MR"}), study_dates=(20200201, None)),
    Filter(excluded_patients=frozenset({uids(9)[0], uids(90)[0]}), manufacturers=frozenset({"ACME"})),
)


@pytest.fixture(scope="module")
def server() -> Iterator[MilvusServer]:
    with milvus_server() as server:
        yield server


def connected(server: MilvusServer, name: str) -> MilvusIndex:
    return MilvusIndex(Connection(MilvusOptions(server.uri, name, timeout_s=60), CodeOrigin(64, "model")))


def store(database: Database, numbers: range) -> None:
    """Random codes, of which every tenth is that of another image: ties."""
    own = codes(len(numbers), seed=numbers.start)
    own[::10] = codes(1, seed=1)
    database.append(items_of([row for n, code in zip(numbers, own, strict=True) for row in rows(n, code[None])]))


def agree(database: Database, fed: FedIndex, queries: Codes) -> None:
    with database.snapshot() as snapshot, fed.view(snapshot) as view, fed.local.view(snapshot) as local:
        assert type(view) is not type(local), "it is not the database that answers"
        for query in queries:
            for level in LEVELS:
                for where in FILTERS:
                    one, other = (each.search(query[None], 20, level, where) for each in (view, local))
                    assert one == other, (level, where)


def feed_all(feeder: Feeder) -> None:
    while feeder.step():
        continue
    feeder.step()


def test_a_hundred_thousand_rows_in_sealed_segments_are_searched_exactly(
    server: MilvusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "BATCH", BATCH)
    index, queries = connected(server, "many"), np.concatenate([codes(1, seed=1), codes(3, seed=99)])
    with create(tmp_path, block_rows=65_536, tail_rows=4096) as database:
        fed, feeder = FedIndex(index, LocalIndex(database)), Feeder(database, index)
        for start in range(0, INSTANCES, BATCH):
            store(database, range(start, start + BATCH))
        half = INSTANCES // BATCH // 2
        assert [feeder.step() for _ in range(half)] == [BATCH] * half
        index.connection.flush()
        feed_all(feeder)
        index.connection.flush()
        agree(database, fed, queries)

        database.remove([instance_uid(number) for number in range(0, INSTANCES, 7)])
        feed_all(feeder)
        agree(database, fed, queries)

        mean = Filter(studies=frozenset(uids(number)[1] for number in range(40)))
        with database.snapshot() as snapshot, fed.view(snapshot) as view, fed.local.view(snapshot) as local:
            found = [one.search(queries, 9, Level.STUDY, mean, aggregation=Aggregation.MEAN) for one in (view, local)]
        assert found[0] == found[1]


def test_what_a_killed_server_has_acknowledged_is_there_and_all_else_is_fed_again(
    server: MilvusServer, tmp_path: Path
) -> None:
    """It is killed three times in the middle of batches, while instances come and go."""
    index, stop = connected(server, "killed"), threading.Event()
    with create(tmp_path, block_rows=4096, tail_rows=1024) as database:
        fed, feeder = FedIndex(index, LocalIndex(database)), Feeder(database, index)
        feeder.step()
        feeding = threading.Thread(target=feeder.run, args=(stop,))
        feeding.start()
        try:
            for kill in range(3):
                for start in range(kill * 3000, kill * 3000 + 3000, 500):
                    store(database, range(start, start + 500))
                    database.remove([instance_uid(number) for number in range(start, start + 500, 50)])
                time.sleep(0.3)
                server.kill()
                server.start()
            _wait_fed(database)
        finally:
            stop.set()
            feeding.join(120)
        agree(database, fed, codes(2, seed=1))
        assert index.connection.count("gone == 9223372036854775807") == 9000 - 180


def _wait_fed(database: Database, limit_s: float = 600) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        with database.snapshot() as snapshot:
            if not snapshot.changes.first(1):
                return
        time.sleep(0.2)
    pytest.fail("not everything was fed")


def test_every_list_is_searched_though_the_settings_changed_since_the_collection_was_made(server: MilvusServer) -> None:
    origin, stored = CodeOrigin(64, "model"), codes(3000, seed=7)
    in_lists = MilvusOptions(server.uri, "lists", timeout_s=60, vector_index=VectorIndex.IVF, lists=64)
    made = MilvusIndex(Connection(in_lists, origin))
    made.append([row for number, code in enumerate(stored) for row in rows(number, code[None])])
    made.connection.flush()  # only sealed segments have lists
    naive = NaiveIndex(64)
    naive.append([row for number, code in enumerate(stored) for row in rows(number, code[None])])

    for options in (replace(in_lists, lists=2), replace(in_lists, vector_index=VectorIndex.FLAT)):
        with MilvusIndex(Connection(options, origin)).view() as view, naive.view() as slow:
            for query in codes(20, seed=8):
                assert view.search(query[None], 20, Level.IMAGE, Filter()) == slow.search(
                    query[None], 20, Level.IMAGE, Filter()
                )
