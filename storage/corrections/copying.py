"""A database copied value by value: nothing that was deleted comes along, and what lay in clear may be sealed.

LMDB leaves the bytes of what is deleted in its file until something else is written there, and a copy page by page has
some of them, too.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final

import lmdb

from storage.database import lookup
from storage.database.database import DATA, TABLES, Database
from storage.database.header import HEADER, Header, new_identity
from storage.database.rejections import WITHHELD
from storage.database.tables import SEALED, Handles, Tables, open_handles
from storage.database.tree import ORDINAL, unique_key
from storage.durable import make_private_folder, sync_folder
from storage.record import Level
from storage.vault import CLEAR, Vault

FOLDER: Final = "copy"
"""Folder beside the database where a copy grows that takes its place."""
WRITTEN_TOGETHER: Final = 1 << 14
PATIENT_KEYS: Final = f"{Level.PATIENT}:keys"

Report = Callable[[int, int], object]
"""Progress: called with the values done and those of the whole."""
Convert = Callable[[Tables, str, bytes, bytes], tuple[bytes, bytes]]
"""Makes the key and the value of the copy, given a table's name, a key and a value."""


def rewrite_database(path: Path, map_size: int, vault: Vault = CLEAR, report: Report = lambda _done, _all: None) -> int:
    """Copy a database and put the copy in its place, which takes as much free disk; a kill leaves it as it was.

    Parameters
    ----------
    path
        Folder of the database, which no other process may have open.
    map_size
        As in `Database.create_or_open`.
    vault
        What sealed it.

    Returns
    -------
    int
        Values that were copied.

    Raises
    ------
    storage.errors.StorageError
        There is no database, or it is of an older format, or sealed by another vault.
    """
    with Database.open(path, vault=vault) as database:
        header = database.header
    return _replaced(path, map_size, _as_it_is, header, report)


def seal_database(path: Path, vault: Vault, map_size: int, report: Report = lambda _done, _all: None) -> int:
    """Seal a database that is not sealed, as `rewrite_database` copies one; parameters and errors are the same.

    The deleted file can be read from the disk until something else is written there.
    """
    with Database.open(path) as database:  # refuses what is sealed
        header = replace(database.header, sealed=vault.name)

    def convert(tables: Tables, table: str, key: bytes, value: bytes) -> tuple[bytes, bytes]:
        return _sealed(tables, table, key, value, vault)

    return _replaced(path, map_size, convert, header, report)


def copy_database(path: Path, folder: Path, map_size: int, report: Report = lambda _done, _all: None) -> int:
    """Copy a database as of one moment into an empty folder; others may have it open. Return the number of values."""
    return _copied(path, folder, map_size, _as_it_is, None, report)


def _replaced(path: Path, map_size: int, convert: Convert, header: Header, report: Report) -> int:
    folder = path / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    make_private_folder(folder)
    copied = _copied(path, folder, map_size, convert, replace(header, identity=new_identity()), report)
    (folder / DATA).rename(path / DATA)
    sync_folder(path)
    shutil.rmtree(folder)
    return copied


def _copied(path: Path, folder: Path, map_size: int, convert: Convert, header: Header | None, report: Report) -> int:
    """Copy the database, with another header if one is given: commits of a copy are counted anew."""
    with (
        lmdb.open(str(path), readonly=True, max_dbs=TABLES) as source,
        lmdb.open(str(folder), map_size=map_size, max_dbs=TABLES, mode=0o600, sync=False) as target,
    ):
        handles = open_handles(source)
        with target.begin(write=True) as transaction:
            copies = open_handles(target, transaction)
        with source.begin(buffers=True) as reading:
            done = _copy_tables(reading, handles, target, copies, convert, path, report)
        if header is not None:
            with target.begin(write=True) as transaction:
                transaction.put(HEADER, header.to_bytes(), db=copies["meta"])
        target.sync(True)
    return done


def _copy_tables(
    reading: lmdb.Transaction,
    handles: Handles,
    target: lmdb.Environment,
    copies: Handles,
    convert: Convert,
    path: Path,
    report: Report,
) -> int:
    found, done = reading.get(HEADER, db=handles["meta"]), 0
    tables = Tables(reading, handles, Header.from_bytes(None if found is None else bytes(found), path).layout)
    total = sum(tables.entries(table) for table in handles)
    for table, handle in handles.items():
        pairs = iter(reading.cursor(db=handle))
        while batch := list(islice(pairs, WRITTEN_TOGETHER)):
            with target.begin(write=True) as transaction:
                for key, value in batch:
                    transaction.put(*convert(tables, table, bytes(key), bytes(value)), db=copies[table])
            done += len(batch)
            report(done, total)
    return done


def _as_it_is(_tables: Tables, _table: str, key: bytes, value: bytes) -> tuple[bytes, bytes]:
    return key, value


def _sealed(tables: Tables, table: str, key: bytes, value: bytes, vault: Vault) -> tuple[bytes, bytes]:
    """A key of a table and its value, as they lie in a sealed database."""
    if table in SEALED or table == WITHHELD:
        return key, vault.seal(table, key, value)
    if table == lookup.TABLE:
        return lookup.stored_key(key, vault), value
    if table == PATIENT_KEYS:
        uid = tables.uid(Level.PATIENT, ORDINAL.unpack(value)[0])
        assert uid is not None, "a key leads to its patient"
        return unique_key(Level.PATIENT, uid, vault), value
    return key, value
