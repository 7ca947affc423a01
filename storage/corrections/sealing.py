"""A database that lies in clear becomes a sealed one: copied value by value, and put in its place in one step."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final

import lmdb

from storage.database import lookup
from storage.database.blocks import Layout
from storage.database.database import DATA, TABLES, Database
from storage.database.header import HEADER, new_identity
from storage.database.rejections import WITHHELD
from storage.database.tables import SEALED, Tables, open_handles
from storage.database.tree import ORDINAL, unique_key
from storage.durable import make_private_folder, sync_folder
from storage.record import Level
from storage.vault import Vault

FOLDER: Final = "sealing"
"""Folder beside the database where the copy grows."""
WRITTEN_TOGETHER: Final = 1 << 14
PATIENT_KEYS: Final = f"{Level.PATIENT}:keys"

Report = Callable[[int, int], object]
"""Progress: called with the values done and those of the whole."""


def seal_database(path: Path, vault: Vault, map_size: int, report: Report = lambda _done, _all: None) -> int:
    """Seal a database that is not sealed, with every value that names a patient or shows a picture.

    It needs as much free disk as the database takes. A kill leaves the database as it was. What lay in clear is deleted
    in the end, and can be read from the disk until something else is written there.

    Parameters
    ----------
    path
        Folder of the database, which no other process may have open.
    map_size
        As in `Database.create_or_open`.

    Returns
    -------
    int
        Values that were copied.

    Raises
    ------
    storage.errors.StorageError
        There is no database, or it is of an older format, or sealed already.
    """
    folder = path / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    make_private_folder(folder)
    with Database.open(path) as database:  # refuses what is not to be sealed
        header = database.header
    with (
        lmdb.open(str(path), readonly=True, max_dbs=TABLES) as source,
        lmdb.open(str(folder), map_size=map_size, max_dbs=TABLES, mode=0o600) as target,
    ):
        copied = _copy(source, header.layout, target, vault, report)
        sealed = replace(header, sealed=vault.name, identity=new_identity())  # its commits are counted anew
        with target.begin(write=True) as transaction:
            transaction.put(HEADER, sealed.to_bytes(), db=open_handles(target, transaction)["meta"])
        target.sync(True)
    (folder / DATA).rename(path / DATA)
    sync_folder(path)
    shutil.rmtree(folder)
    return copied


def _copy(source: lmdb.Environment, layout: Layout, target: lmdb.Environment, vault: Vault, report: Report) -> int:
    handles = open_handles(source)
    with target.begin(write=True) as transaction:
        target_handles = open_handles(target, transaction)
    with source.begin(buffers=True) as reading:
        tables, done = Tables(reading, handles, layout), 0
        total = sum(tables.entries(table) for table in handles)
        for table in handles:
            pairs = iter(reading.cursor(db=handles[table]))
            while batch := list(islice(pairs, WRITTEN_TOGETHER)):
                with target.begin(write=True) as transaction:
                    for pair in batch:
                        transaction.put(*_sealed(tables, table, *pair, vault), db=target_handles[table])
                done += len(batch)
                report(done, total)
    return done


def _sealed(tables: Tables, table: str, key: bytes, value: bytes, vault: Vault) -> tuple[bytes, bytes]:
    """A key of a table and its value, as they lie in a sealed database."""
    if table in SEALED or table == WITHHELD:
        return key, vault.seal(table, bytes(key), value)
    if table == lookup.TABLE:
        return lookup.stored_key(bytes(key), vault), value
    if table == PATIENT_KEYS:
        uid = tables.uid(Level.PATIENT, ORDINAL.unpack(value)[0])
        assert uid is not None, "a key leads to its patient"
        return unique_key(Level.PATIENT, uid, vault), value
    return key, value
