"""A retriever over the instances that a test module names in `ITEMS`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.query.retriever import Retriever
from storage.database.database import Database
from storage.database.snapshot import Snapshot
from storage.search.local import LocalIndex
from storage.spool.queue import Spool
from tests.support.dicom.questions import MODEL


@pytest.fixture(scope="module")
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalIndex]:
    folder = tmp_path_factory.mktemp("database")
    with Database.create_or_open(folder, 64, MODEL, 1 << 24) as database:
        database.append(request.module.ITEMS)
        yield LocalIndex(database)


@pytest.fixture(scope="module")
def snapshot(index: LocalIndex) -> Iterator[Snapshot]:
    with index.database.snapshot() as snapshot:
        yield snapshot


@pytest.fixture
def retriever(tmp_path: Path, index: LocalIndex) -> Retriever:
    return Retriever(Spool(tmp_path / "spool", capacity=9, free_bytes=0), index.view, MODEL)
