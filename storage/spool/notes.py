"""The table of notes about what was set aside: bounded, counted by reason, one transaction a change."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.durable import create_private, table_transaction

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS notes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, reason TEXT NOT NULL, detail TEXT NOT NULL,
    sop_instance_uid TEXT NOT NULL, uids TEXT NOT NULL, received_ns INTEGER NOT NULL, bytes INTEGER
);
CREATE INDEX IF NOT EXISTS notes_by_uid ON notes (sop_instance_uid, number);
CREATE INDEX IF NOT EXISTS notes_with_bytes ON notes (number) WHERE bytes IS NOT NULL;
CREATE TABLE IF NOT EXISTS totals (
    reason TEXT PRIMARY KEY, noted INTEGER NOT NULL DEFAULT 0, notes INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0, deleted INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Note:
    """One row of the table.

    Attributes
    ----------
    name
        Of the spool entry it is about, without its suffix.
    size_bytes
        Size of the file that was kept, None where none was or retention has deleted it.
    """

    name: str
    reason: str
    detail: str
    uids: Mapping[str, str]
    received_ns: int
    size_bytes: int | None
    number: int = 0


@dataclass(frozen=True, slots=True)
class NoteTotals:
    """Sums over all reasons.

    Attributes
    ----------
    notes, size_bytes
        Notes in the table, and bytes of the files kept with them.
    """

    notes: int
    size_bytes: int


class NoteTable:
    """The table in a file; any number of processes read, and they write one at a time.

    The first note makes the file. Each call opens and closes it: a connection belongs to one thread and one process.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def exists(self) -> bool:
        """True if there is a file, so that there were notes."""
        return self._path.exists()

    def add(self, note: Note) -> None:
        """Store a note, durable when this returns; one of the same name changes nothing."""
        uid, uids = note.uids.get("SOPInstanceUID", ""), json.dumps(dict(note.uids))
        values = (note.name, note.reason, note.detail, uid, uids, note.received_ns, note.size_bytes)
        create_private(self._path)
        with self._connected() as connection:
            added = connection.execute(
                "INSERT OR IGNORE INTO notes (name, reason, detail, sop_instance_uid, uids, received_ns, bytes)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            if added.rowcount:
                connection.execute(
                    "INSERT INTO totals (reason, noted, notes, bytes) VALUES (?, 1, 1, ?) ON CONFLICT (reason)"
                    " DO UPDATE SET noted = noted + 1, notes = notes + 1, bytes = bytes + excluded.bytes",
                    (note.reason, note.size_bytes or 0),
                )

    def forget_bytes(self, note: Note) -> None:
        """Note that the kept file of a note was deleted."""
        with self._connected() as connection:
            self._forget_bytes(connection, note)

    def erase(self, note: Note) -> None:
        """Erase a note whose file is gone, so that nothing of it can be read from the disk; it stays counted."""
        with self._connected() as connection:
            erased = connection.execute("DELETE FROM notes WHERE number = ?", (note.number,))
            if erased.rowcount:
                connection.execute(
                    "UPDATE totals SET notes = notes - 1, bytes = bytes - ? WHERE reason = ?",
                    (note.size_bytes or 0, note.reason),
                )

    def remove(self, note: Note) -> None:
        """Remove a note; it stays counted in `counts`."""
        with self._connected() as connection:
            self._forget_bytes(connection, note)
            removed = connection.execute("DELETE FROM notes WHERE number = ?", (note.number,))
            if removed.rowcount:
                connection.execute("UPDATE totals SET notes = notes - 1 WHERE reason = ?", (note.reason,))

    def counts(self) -> Counter[str]:
        """Number of notes that were ever stored, by reason."""
        with self._connected() as connection:
            return Counter(dict(connection.execute("SELECT reason, noted FROM totals")))

    def counts_since(self, received_ns: int) -> Counter[str]:
        """Number of notes in the table on what arrived from a time on, by reason."""
        query = "SELECT reason, COUNT(*) FROM notes WHERE received_ns >= ? GROUP BY reason"
        with self._connected() as connection:
            return Counter(dict(connection.execute(query, (received_ns,))))

    def deleted(self) -> int:
        """Number of kept files that retention has deleted."""
        with self._connected() as connection:
            return int(connection.execute("SELECT TOTAL(deleted) FROM totals").fetchone()[0])

    def totals(self) -> NoteTotals:
        """Sums over all reasons."""
        with self._connected() as connection:
            notes, size_bytes = connection.execute("SELECT TOTAL(notes), TOTAL(bytes) FROM totals").fetchone()
        return NoteTotals(int(notes), int(size_bytes))

    def oldest(self) -> Note | None:
        """The oldest note."""
        return self._first("SELECT * FROM notes ORDER BY number LIMIT 1")

    def oldest_with_bytes(self) -> Note | None:
        """The oldest note whose file is kept."""
        return self._first("SELECT * FROM notes WHERE bytes IS NOT NULL ORDER BY number LIMIT 1")

    def find(self, sop_instance_uid: str) -> Note | None:
        """The latest note on an instance."""
        query = "SELECT * FROM notes WHERE sop_instance_uid = ? ORDER BY number DESC LIMIT 1"
        return self._first(query, sop_instance_uid)

    def named(self, names: Sequence[str]) -> list[Note]:
        """The notes on the entries of some names."""
        query = "SELECT * FROM notes WHERE name IN (SELECT value FROM json_each(?)) ORDER BY number"
        with self._connected() as connection:
            return list(map(_note, connection.execute(query, (json.dumps(names),))))

    def all(self) -> Iterator[Note]:
        """Yield every note, oldest first."""
        with self._connected() as connection:
            rows = connection.execute("SELECT * FROM notes ORDER BY number").fetchall()
        return map(_note, rows)

    def _first(self, query: str, *values: str) -> Note | None:
        with self._connected() as connection:
            row = connection.execute(query, values).fetchone()
        return None if row is None else _note(row)

    def _forget_bytes(self, connection: sqlite3.Connection, note: Note) -> None:
        deletion = "UPDATE notes SET bytes = NULL WHERE number = ? AND bytes IS NOT NULL"
        if connection.execute(deletion, (note.number,)).rowcount:
            connection.execute(
                "UPDATE totals SET bytes = bytes - ?, deleted = deleted + 1 WHERE reason = ?",
                (note.size_bytes or 0, note.reason),
            )

    def _connected(self) -> AbstractContextManager[sqlite3.Connection]:
        """Open the table for one transaction."""
        return table_transaction(self._path, SCHEMA)


def _note(row: tuple[int, str, str, str, str, str, int, int | None]) -> Note:
    number, name, reason, detail, _, uids, received_ns, size_bytes = row
    return Note(name, reason, detail, json.loads(uids), received_ns, size_bytes, number)
