"""The index that the settings name: the database of this machine, or a collection of a Milvus server."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from node.errors import Refusal, SettingsError, Status
from node.settings import Settings
from storage.database.database import Database
from storage.database.header import Header
from storage.database.snapshot import Snapshot
from storage.errors import IndexMismatch, IndexUnavailable, TooManyRows
from storage.record import Level
from storage.search.index import IndexView
from storage.search.milvus.options import Consistency, MilvusOptions, PartitionKey, VectorIndex

if TYPE_CHECKING:  # the client library is an extra
    from storage.search.milvus.index import MilvusIndex

logger = logging.getLogger(__name__)

MAX_COUNTED: Final = 100_000
"""Changes that are counted for a report."""
OpenView = Callable[[Snapshot], AbstractContextManager[IndexView]]


def open_index(settings: Settings, database: Database) -> tuple[OpenView, Callable[[], object]]:
    """Return what opens views that agree with a snapshot, and what raises StorageError if the index is not there.

    Raises
    ------
    SettingsError
        As `open_milvus`.
    """
    from storage.search.local import LocalIndex  # loads the kernels

    local = LocalIndex(database)
    if settings.index == "local":
        return local.view, lambda: None
    milvus = open_milvus(settings, database)
    from storage.search.milvus.feed import FedIndex

    return FedIndex(milvus, local).view, milvus.connection.check


def open_milvus(settings: Settings, database: Database) -> "MilvusIndex":
    """Return the index in Milvus; the server is asked only when something is searched or written.

    Raises
    ------
    SettingsError
        The client library is not installed.
    """
    try:
        from storage.search.milvus.connection import CodeOrigin, Connection
        from storage.search.milvus.index import MilvusIndex
    except ImportError as error:
        todo = "pip install 'lookalike[milvus]', or set index to local"
        raise SettingsError(f"index is milvus, and {error.name} is not installed: {todo}") from error
    header = database.header
    connection = Connection(milvus_options(settings, header), CodeOrigin(header.code_length, header.model))
    owner = int(header.identity, 16)
    return MilvusIndex(connection, owner, settings.milvus_most_read, shared=settings.milvus_shared)


def milvus_options(settings: Settings, header: Header) -> MilvusOptions:
    """Where the index in Milvus is, and how it is made; the codes of each model have a collection of their own."""
    made_by = sha256(f"{header.code_length} {header.model}".encode()).hexdigest()[:8]
    return MilvusOptions(
        uri=settings.milvus_uri,
        collection=f"{settings.milvus_collection}_{made_by}",
        token=settings.milvus_token,
        timeout_s=settings.milvus_timeout_s,
        consistency=Consistency(settings.milvus_consistency),
        vector_index=VectorIndex(settings.milvus_vector_index),
        lists=settings.milvus_lists,
        partition_key=PartitionKey(settings.milvus_partition_key),
        partitions=settings.milvus_partitions,
        shards=settings.milvus_shards,
        replicas=settings.milvus_replicas,
    )


def unfed(settings: Settings, snapshot: Snapshot) -> int | None:
    """Number of instances that Milvus does not know yet; None where the database is searched."""
    if settings.index == "local":
        return None
    fed = snapshot.changes.fed
    if fed is None:
        return snapshot.count(Level.IMAGE)
    left = 0 if fed.copied is None else max(0, snapshot.ordinal_bound(Level.IMAGE) - fed.copied)
    return left + snapshot.changes.count(MAX_COUNTED)


@contextmanager
def refusing_unavailable() -> Iterator[None]:
    """Refuse (A700) what an index on another machine cannot answer."""
    try:
        yield
    except (IndexUnavailable, IndexMismatch) as error:
        logger.error("%s", error)
        raise Refusal(Status.OUT_OF_RESOURCES, "the index does not answer: try again later") from error
    except TooManyRows as error:
        raise Refusal(Status.OUT_OF_RESOURCES, f"{error.rows} rows to read: narrow query, or ask by BEST") from error
