"""`lookalike index migrate`: to Milvus and back, after an interruption and after damage."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node.cli.desk.migration import MigrationError, leave_milvus, move_to_milvus
from node.home import open_for_writing
from node.remote_index import open_milvus
from node.settings import Settings
from storage.errors import IndexUnavailable
from storage.search.milvus import feed
from storage.search.milvus.connection import Connection
from tests.support.storage.index_cases import instance_uid, rows
from tests.support.storage.invented import codes
from tests.support.storage.local_store import items_of
from tests.support.storage.milvus_server import shared_server

N = 30


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home folder with thirty instances, and batches of eight."""
    monkeypatch.setattr(feed, "BATCH", 8)
    name = f"migration_{tmp_path.name}".replace("-", "_")
    settings = Settings(
        home=tmp_path / "home", milvus_uri=shared_server().uri, milvus_collection=name, milvus_timeout_s=60
    )
    with open_for_writing(settings) as database:
        pool = codes(N, seed=1)
        database.append(items_of([row for n in range(N) for row in rows(n, pool[[n]])]))
    return settings


@contextmanager
def silent(_: str) -> Iterator[Callable[[int, int], None]]:
    yield lambda done, whole: None


def test_it_goes_to_milvus_and_back_and_nothing_differs(settings: Settings) -> None:
    assert move_to_milvus(settings, silent) == N
    assert move_to_milvus(settings, silent) == N
    assert leave_milvus(settings, silent, clear=True) == N

    with open_for_writing(settings) as database, database.snapshot() as snapshot:
        assert snapshot.changes.fed is None
        assert snapshot.rows == N


def test_an_interrupted_copy_goes_on_where_it_was(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    upsert = Connection.upsert

    def breaking(self: Connection, some: list[dict[str, object]]) -> None:
        written.append(len(some))
        if some and len([n for n in written if n]) == 3:
            raise IndexUnavailable("here", "pulled the plug")
        upsert(self, some)

    monkeypatch.setattr(Connection, "upsert", breaking)
    with pytest.raises(IndexUnavailable):
        move_to_milvus(settings, silent)
    done = sum(written) - 8

    assert done == 16
    assert move_to_milvus(settings, silent) == N
    assert sum(written) - 8 == N, "nothing was written twice"


def test_rows_that_milvus_lost_or_changed_are_written_again(settings: Settings) -> None:
    move_to_milvus(settings, silent)
    with open_for_writing(settings) as database:
        index = open_milvus(settings, database)
        index.connection.delete(f'sop_instance_uid == "{instance_uid(3)}"')
        index.connection.wait_visible()
    with pytest.raises(MigrationError, match="1 instances differ"):
        leave_milvus(settings, silent, clear=False)

    assert move_to_milvus(settings, silent) == N
