"""Codes of parts of images, kept beside the index in SQLite: derived from previews, so that they can be made again."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from hashing.codes import Codes
from storage.durable import create_private, make_private_folder, sync_folder
from storage.vault import CLEAR, Vault

BUSY_S: Final = 30.0  # to wait for another process's transaction; each takes milliseconds
SCHEMA: Final = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS owner (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS regions (uid TEXT PRIMARY KEY, digest BLOB NOT NULL, codes BLOB NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;
COMMIT;
"""
KEEP: Final = "REPLACE INTO regions VALUES (?, ?, ?)"
FIND: Final = "SELECT uid, digest, codes FROM regions WHERE uid IN (SELECT value FROM json_each(?))"
DIGESTS: Final = "SELECT uid, digest FROM regions WHERE uid IN (SELECT value FROM json_each(?))"
ERASE: Final = "DELETE FROM regions WHERE uid IN (SELECT value FROM json_each(?))"
PURPOSE: Final = "codes of regions"


@dataclass(frozen=True, slots=True)
class RegionCodes:
    """Codes of the parts of one instance.

    Attributes
    ----------
    content_digest
        That of the record whose previews they were made of.
    codes : (frames * parts, words)
        The parts of the first frame, then those of the next.
    """

    sop_instance_uid: str
    content_digest: bytes
    codes: Codes


class RegionTable:
    """The table in a file; any number of processes read, and one writes.

    Each call opens and closes the file: a connection belongs to one thread.

    Parameters
    ----------
    model
        Names the model and the code length. Codes of another model are as if they were not there.
    words
        64-bit words of a code.
    vault
        Seals codes; UIDs are readable.
    """

    def __init__(self, path: Path, model: str, words: int, vault: Vault = CLEAR) -> None:
        self._path, self._owner, self._words, self._vault = path, f"{model} {vault.name}", words, vault

    def claim(self) -> None:
        """Empty the table, if it is of another model or another vault; make it where there is none."""
        if not self._path.exists():
            make_private_folder(self._path.parent)
            create_private(self._path)
            sync_folder(self._path.parent)
        with self._connected() as connection:
            if not self._is_own(connection):
                connection.execute("DELETE FROM regions")
                connection.execute("DELETE FROM owner")
                connection.execute("INSERT INTO owner VALUES (?)", (self._owner,))

    def keep(self, entries: Iterable[RegionCodes]) -> None:
        """Keep codes, in the place of what was kept under their UIDs; durable when this returns."""
        with self._connected() as connection:
            connection.executemany(KEEP, map(self._row, entries))

    def digests(self, sop_instance_uids: Collection[str]) -> dict[str, bytes]:
        """Content digests of those instances whose parts have codes, by SOP Instance UID."""
        with self._connected() as connection:
            found = connection.execute(DIGESTS, (json.dumps(list(sop_instance_uids)),)).fetchall()
            return {uid: bytes(digest) for uid, digest in found} if self._is_own(connection) else {}

    def find(self, sop_instance_uids: Collection[str]) -> dict[str, RegionCodes]:
        """Codes of instances, as far as they are kept, by SOP Instance UID."""
        with self._connected() as connection:
            rows = connection.execute(FIND, (json.dumps(list(sop_instance_uids)),)).fetchall()
            return {row[0]: self._codes(row) for row in rows} if self._is_own(connection) else {}

    def erase(self, sop_instance_uids: Collection[str]) -> None:
        """Erase codes for good, as far as they are kept."""
        with self._connected() as connection:
            connection.execute(ERASE, (json.dumps(list(sop_instance_uids)),))

    def _is_own(self, connection: sqlite3.Connection) -> bool:
        return connection.execute("SELECT name FROM owner").fetchall() == [(self._owner,)]

    def _row(self, entry: RegionCodes) -> tuple[str, bytes, bytes]:
        uid = entry.sop_instance_uid
        return uid, entry.content_digest, self._vault.seal(PURPOSE, uid.encode(), entry.codes.tobytes())

    def _codes(self, row: tuple[str, bytes, bytes]) -> RegionCodes:
        uid, digest, sealed = row
        octets = bytes(self._vault.unseal(PURPOSE, uid.encode(), sealed))
        return RegionCodes(uid, bytes(digest), np.frombuffer(octets, np.uint64).reshape(-1, self._words))

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction, which is durable once the block has ended."""
        path = self._path if self._path.exists() else ":memory:"
        with closing(sqlite3.connect(path, timeout=BUSY_S)) as connection:
            connection.execute("PRAGMA synchronous = EXTRA")  # the end of a transaction is the removal of a file
            connection.execute("PRAGMA secure_delete = ON")  # what is erased becomes zeros
            if not connection.execute("PRAGMA user_version").fetchone()[0]:
                connection.executescript(SCHEMA)
            with connection:
                yield connection
