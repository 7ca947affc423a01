"""The table of the sizes of kept objects, in SQLite: which are kept, how many, and how many bytes."""

import json
import sqlite3
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.durable import create_private, table_transaction

SCHEMA: Final = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS objects (uid TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage (one INTEGER PRIMARY KEY CHECK (one = 1), objects INTEGER, bytes INTEGER);
INSERT OR IGNORE INTO usage VALUES (1, 0, 0);
CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON objects BEGIN
    UPDATE usage SET objects = objects + 1, bytes = bytes + NEW.bytes;
END;
CREATE TRIGGER IF NOT EXISTS removed AFTER DELETE ON objects BEGIN
    UPDATE usage SET objects = objects - 1, bytes = bytes - OLD.bytes;
END;
PRAGMA user_version = 1;
COMMIT;
"""
REMOVE: Final = "DELETE FROM objects WHERE uid IN (SELECT value FROM json_each(?))"
FIND: Final = "SELECT uid, bytes FROM objects WHERE uid IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class ObjectUsage:
    """Number of the kept objects, and their size in bytes."""

    objects: int
    size_bytes: int


class SizeTable:
    """The table in a file; any number of processes read, and they write one at a time.

    The first entry makes the file. Each call opens and closes it: a connection belongs to one thread and one process.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def exists(self) -> bool:
        """True if there is a file."""
        return self._path.exists()

    def add(self, sizes: Mapping[str, int]) -> None:
        """Add objects to the table, or write their new sizes; durable when this returns."""
        create_private(self._path)
        with self._connected() as connection:
            connection.execute(REMOVE, (json.dumps(list(sizes)),))
            connection.executemany("INSERT INTO objects VALUES (?, ?)", sizes.items())

    def remove(self, uids: Collection[str]) -> None:
        """Remove objects from the table; those that it lacks change nothing."""
        with self._connected() as connection:
            connection.execute(REMOVE, (json.dumps(list(uids)),))

    def known(self, uids: Collection[str]) -> frozenset[str]:
        """The UIDs, of those given, that the table has."""
        return frozenset(self.sizes(uids))

    def sizes(self, uids: Collection[str]) -> dict[str, int]:
        """Sizes of those UIDs, of those given, that the table has."""
        with self._connected() as connection:
            return dict(connection.execute(FIND, (json.dumps(list(uids)),)))

    def all(self) -> list[str]:
        """Every UID in the table."""
        with self._connected() as connection:
            return [uid for (uid,) in connection.execute("SELECT uid FROM objects")]

    def usage(self) -> ObjectUsage:
        """Sums over all objects; it costs the same however many these are."""
        with self._connected() as connection:
            return ObjectUsage(*connection.execute("SELECT objects, bytes FROM usage").fetchone())

    def _connected(self) -> AbstractContextManager[sqlite3.Connection]:
        """Open the table for one transaction."""
        return table_transaction(self._path, SCHEMA)
