"""Codes and records in one LMDB environment, durable and searchable where they lie: one process writes, many read."""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import lmdb
import numpy as np

from hashing.codes import WORD_BITS, CodeLengthError, prefix
from storage.database.append import Appended, Appender, Clash
from storage.database.compaction import compact
from storage.database.header import FORMAT, HEADER, Header
from storage.database.integrity import problems
from storage.database.lineage import remove_instances
from storage.database.migrations import upgraded
from storage.database.snapshot import Snapshot
from storage.database.tables import SegmentEntry, Tables, open_handles
from storage.errors import DatabaseFull, FormatError, NoDatabase
from storage.item import Item
from storage.record import Level
from storage.vault import CLEAR, Vault

__all__ = ["Appended", "Clash", "Database", "Item", "Snapshot"]

DATA = "data.mdb"
MAX_READERS = 1024
TABLES = 24
TO_UPGRADE = "start the node once (`lookalike serve`): it brings the database to this format, and nothing is lost"


class Database:
    """Handle on a database, one in each process; `create_or_open` for the writer, `open` for readers.

    Attributes
    ----------
    header
        Code length and model that the database was made for.
    vault
        What seals it.
    """

    def __init__(self, path: Path, environment: lmdb.Environment, header: Header, vault: Vault = CLEAR) -> None:
        self.path, self.header, self.vault = path, header, vault
        self._environment = environment
        self._handles = open_handles(environment)

    @classmethod
    def create_or_open(
        cls,
        path: Path,
        code_length: int,
        model: str,
        map_size: int,
        *,
        block_rows: int = 131_072,
        tail_rows: int = 4096,
        vault: Vault = CLEAR,
    ) -> Self:
        """Open a database for writing; make it where there is none.

        Parameters
        ----------
        map_size
            Most bytes it may ever take; address space, not disk, so choose it generously. It may grow at a restart.
        block_rows, tail_rows
            Of a new database, as in `storage.database.blocks.Layout`; an existing one keeps its own.
        vault
            What seals it, all its life.

        Raises
        ------
        FormatError, ModelMismatch, CodeLengthError, storage.vault.SealError
            It was written by a later release or for other codes; one of an older format is brought to the present one.
        """
        fresh = Header(code_length, model, block_rows, tail_rows, sealed=vault.name)
        _make(path, fresh, map_size)
        environment = _environment(path, map_size=map_size, readonly=False)
        try:
            _begin(environment, fresh)  # of an environment that another release left empty
            header = _header(environment, path)
            header.check_vault(vault, path)
            header.check(code_length, model)
            database = cls(path, environment, upgraded(environment, header, vault), vault)
        except BaseException:
            environment.close()
            raise
        return database

    @classmethod
    def open(cls, path: Path, *, readonly: bool = True, vault: Vault = CLEAR) -> Self:
        """Open an existing database, whatever its code length and model; `header` tells them.

        Raises
        ------
        NoDatabase
        FormatError
            It was written by a release of another format.
        storage.vault.SealError
            Another vault sealed it.
        """
        if not (path / DATA).is_file():
            raise NoDatabase(path)
        environment = _environment(path, map_size=0, readonly=readonly)
        try:
            header = _header(environment, path)
            if header.format < FORMAT:
                raise FormatError(path, f"format {header.format}", f"format {FORMAT}", TO_UPGRADE)
            header.check_vault(vault, path)
            return cls(path, environment, header, vault)
        except BaseException:
            environment.close()
            raise

    def append(self, items: Sequence[Item], *, replace: bool = False) -> Appended:
        """Store instances with their codes, all or none; durable when this returns.

        An instance that is stored already with the same content changes nothing; one that contradicts the database is
        not stored but returned.

        Parameters
        ----------
        replace
            Whether instances replace and correct what arrived before them, as `Appender` says: in the same transaction.

        Raises
        ------
        CodeLengthError
            Codes of another length.
        DatabaseFull
            The map size is reached; nothing was stored.
        """
        for item in items:
            self._check(item)
        with self.writing() as tables:
            batch = Appender(tables, replaces=replace)
            for item in items:
                batch.add(item)
            return batch.finish()

    def remove(self, sop_instance_uids: Iterable[str]) -> int:
        """Forget instances, and the series, studies and patients left empty; durable when this returns.

        Returns
        -------
        int
            How many were there.
        """
        with self.writing() as tables:
            found = (tables.ordinal(Level.IMAGE, uid) for uid in dict.fromkeys(sop_instance_uids))
            ordinals = [ordinal for ordinal in found if ordinal is not None]
            remove_instances(tables, ordinals)
        return len(ordinals)

    def snapshot(self) -> Snapshot:
        """State of the moment when the `with` block of the snapshot is entered."""
        return Snapshot(self._environment, self._handles, self.header, self.vault)

    def replace_segments(self, old: Sequence[SegmentEntry], new: Sequence[SegmentEntry], compactions: int) -> bool:
        """Name other segments, unless those named or the numbers of the rows changed meanwhile.

        Parameters
        ----------
        old, compactions
            `Snapshot.segment_entries` and `Snapshot.compactions` of the state that `new` was made from.
        """
        with self.writing() as tables:
            current = tables.segments() == list(old) and tables.counter("compactions") == compactions
            if current:
                tables.set_segments(new)
        return current

    def compact(self, report: Callable[[int, int], object] = lambda _done, _all: None) -> int:
        """Give the room of deleted rows back to the others, in many small transactions; return how many rows went.

        `report` is called with the number of rows done and of all rows.
        """
        return compact(self.writing, report)

    def verify(self) -> list[str]:
        """Check every invariant, record by record; return what is wrong. It takes about a minute a million rows."""
        with self.reading() as tables:
            return list(problems(tables, self.header.code_length))

    def size_bytes(self) -> dict[str, int]:
        """Disk space in bytes of each table; pages that are free again are in none."""
        with self._environment.begin() as transaction:
            stats = {name: transaction.stat(handle) for name, handle in self._handles.items()}
        return {
            name: stat["psize"] * (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"])
            for name, stat in stats.items()
        }

    def close(self) -> None:
        """Close; no snapshot may be in use."""
        self._environment.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _check(self, item: Item) -> None:
        """Refuse an item whose codes, outputs or class scores have another shape or type."""
        expected = self.header.code_length
        if item.codes.shape[1] != self.header.layout.words:
            raise CodeLengthError(found=item.codes.shape[1] * WORD_BITS, expected=expected)
        if item.codes.dtype != np.uint64 or not np.array_equal(item.codes, prefix(item.codes, expected)):
            raise ValueError(f"codes of {item.record.sop_instance_uid} are not packed: use `hashing.codes.pack`")
        if item.outputs is not None and (item.outputs.dtype != np.int8 or item.outputs.shape[1] != expected):
            raise ValueError(f"outputs of {item.record.sop_instance_uid} are not {expected} int8 a frame")
        if item.class_scores is not None and (item.class_scores.dtype != np.uint8 or item.class_scores.ndim != 2):
            raise ValueError(f"class scores of {item.record.sop_instance_uid} are not uint8, a row a frame")

    @contextmanager
    def reading(self) -> Iterator[Tables]:
        """Yield the tables as they are now, for work on the whole; answers come from `snapshot`."""
        with self._environment.begin(buffers=True) as transaction:
            yield Tables(transaction, self._handles, self.header.layout, self.vault)

    @contextmanager
    def writing(self) -> Iterator[Tables]:
        """Yield the tables in one write transaction, which is durable once the block has ended, or never was.

        Raises
        ------
        DatabaseFull
            The map size is reached; nothing was stored.
        """
        try:
            with self._environment.begin(write=True, buffers=True) as transaction:
                yield Tables(transaction, self._handles, self.header.layout, self.vault)
        except lmdb.MapFullError as error:
            raise DatabaseFull(self.path, self._environment.info()["map_size"]) from error


def _make(path: Path, header: Header, map_size: int) -> None:
    """Make a database where there is none: it gets its name once it is whole and durable."""
    path.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        if not (path / DATA).exists():
            with TemporaryDirectory(dir=path, prefix="new-") as folder:
                with _environment(Path(folder), map_size=map_size, readonly=False) as environment:
                    _begin(environment, header)
                    environment.sync(True)
                (Path(folder) / DATA).rename(path / DATA)
    _sync_folders(path)


def _begin(environment: lmdb.Environment, header: Header) -> None:
    with environment.begin(write=True) as transaction:  # all or nothing: a kill leaves no half database
        if transaction.stat()["entries"] == 0:
            meta = open_handles(environment, transaction)["meta"]
            transaction.put(HEADER, header.to_bytes(), db=meta)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _environment(path: Path, *, map_size: int, readonly: bool) -> lmdb.Environment:
    """Open the LMDB environment of a folder."""
    try:
        environment = lmdb.open(
            str(path), map_size=map_size, max_dbs=TABLES, max_readers=MAX_READERS, readonly=readonly, mode=0o600
        )
    except (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError) as error:
        raise FormatError(path, found=str(error), expected="an LMDB environment") from error
    environment.reader_check()  # killed readers would keep old pages from being used again
    return environment


def _header(environment: lmdb.Environment, path: Path) -> Header:
    with environment.begin() as transaction:
        try:
            meta: Any = environment.open_db(b"meta", txn=transaction, create=False)
        except lmdb.NotFoundError:
            return Header.from_bytes(None, path)
        return Header.from_bytes(transaction.get(HEADER, db=meta), path)


def _sync_folders(path: Path) -> None:
    """Make the names of a new database durable, as LMDB makes its pages."""
    for folder in (path, path.parent):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
