"""Every index that is held to the contract: to add one, add a function that opens it empty."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from storage.database.database import Database
from storage.search.index import CodeStore, IndexRow
from storage.search.milvus.options import PartitionKey, VectorIndex
from storage.segments.builder import build
from tests.support.storage.indexing import always_indexed, checked
from tests.support.storage.local_store import LocalStore
from tests.support.storage.milvus_server import empty_milvus
from tests.support.storage.naive_index import NaiveIndex

Open = Callable[[int], AbstractContextManager[CodeStore]]
"""Opens an empty index of codes of so many bits."""


@contextmanager
def database(code_length: int, block_rows: int = 16) -> Iterator[Database]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Database.create_or_open(
            Path(folder), code_length, "model", 2**26, block_rows=block_rows, tail_rows=block_rows // 4
        ) as made,
    ):
        yield made
        assert made.verify() == []


@contextmanager
def local(code_length: int) -> Iterator[CodeStore]:
    with database(code_length) as made:
        yield LocalStore(made)


@contextmanager
def local_in_large_blocks(code_length: int) -> Iterator[CodeStore]:
    with database(code_length, 1024) as made:
        yield LocalStore(made)


class _Segmented(LocalStore):
    """Builds a segment after each append, so that searches go by segments."""

    def append(self, rows: Sequence[IndexRow]) -> None:
        super().append(rows)
        build(self.database, self.segments)
        checked(self)


@contextmanager
def local_by_segments(code_length: int) -> Iterator[CodeStore]:
    with database(code_length) as made, always_indexed():
        yield _Segmented(made)


@contextmanager
def milvus_by_lists(code_length: int) -> Iterator[CodeStore]:
    """Every list is searched, and rows are cut by modality."""
    with empty_milvus(code_length, VectorIndex.IVF, PartitionKey.MODALITY) as index:
        yield index


@contextmanager
def milvus_by_year(code_length: int) -> Iterator[CodeStore]:
    with empty_milvus(code_length, VectorIndex.FLAT, PartitionKey.YEAR) as index:
        yield index


@contextmanager
def naive(code_length: int) -> Iterator[CodeStore]:
    yield NaiveIndex(code_length)


IMPLEMENTATIONS: Final[dict[str, Open]] = {
    "naive": naive,
    "local": local,
    "local, large blocks": local_in_large_blocks,
    "local, segments": local_by_segments,
    "milvus": empty_milvus,
}
SLOW: Final[dict[str, Open]] = {
    "milvus, lists": milvus_by_lists,
    "milvus, years": milvus_by_year,
}
"""Further ways of an implementation, of which each test takes seconds."""
