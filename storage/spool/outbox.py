"""Result objects on their way: durable, in order for each destination, each once by its SOP Instance UID."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.durable import (
    create_private,
    folder_names,
    make_private_folder,
    sync_folder,
    table_transaction,
    write_durably,
)
from storage.vault import CLEAR, Vault

TABLE: Final = "outbox.sqlite"
WAITING, SENT, GIVEN_UP = "waiting", "sent", "given up"
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS objects (
    number INTEGER PRIMARY KEY AUTOINCREMENT, sop_instance_uid TEXT NOT NULL, destination TEXT NOT NULL,
    question TEXT NOT NULL, files TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
    next_ns INTEGER NOT NULL, changed_ns INTEGER NOT NULL, committed INTEGER NOT NULL,
    UNIQUE (sop_instance_uid, destination)
);
CREATE INDEX IF NOT EXISTS objects_by_state ON objects (state, destination, number);
CREATE TABLE IF NOT EXISTS questions (question TEXT PRIMARY KEY, answered_ns INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class ResultObject:
    """An object to send, as bytes of a file.

    Attributes
    ----------
    sop_instance_uid
        By which it is sent once; that of the first of its forms.
    forms
        The file, and files of equal content that are sent instead to who refuses the SOP class of those before.
    """

    sop_instance_uid: str
    forms: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Parcel:
    """A result object that waits to be sent.

    Attributes
    ----------
    files
        Its forms, the preferred one first.
    attempts
        How often sending failed.
    """

    number: int
    sop_instance_uid: str
    destination: str
    question: str
    files: tuple[Path, ...]
    attempts: int


@dataclass(frozen=True, slots=True)
class OutboxState:
    """Numbers of what the outbox knows of, which forgets what ended some time ago.

    Attributes
    ----------
    waiting, sent, given_up, committed
        Objects by state; `committed` counts those that their destination has promised to keep.
    questions
        Questions whose answers were taken in.
    undelivered
        Of these, the questions of which an object was given up.
    """

    waiting: int = 0
    sent: int = 0
    given_up: int = 0
    committed: int = 0
    questions: int = 0
    undelivered: int = 0


class Outbox:
    """A folder of files and a table of what is to be sent, what was, and which questions were answered.

    A file is durable before the table names it; a file that it does not name is removed when the outbox is opened by
    the process that sends. What the table knows as sent to a destination is not taken in again.
    """

    def __init__(self, path: Path, vault: Vault = CLEAR) -> None:
        self._path, self._objects, self.vault = path, path / "objects", vault
        for folder in (path, self._objects):
            make_private_folder(folder)

    def repair(self) -> None:
        """Remove files that belong to nothing: a kill came between them and the table."""
        with self._connected() as connection:
            rows = connection.execute("SELECT files FROM objects WHERE state = ?", (WAITING,)).fetchall()
        named = {name for (files,) in rows for name in files.split()}
        for name in set(folder_names(self._objects)) - named:
            (self._objects / name).unlink(missing_ok=True)

    def add(self, question: str, destination: str, objects: Sequence[ResultObject]) -> int:
        """Take in the answer to a question, durably and as a whole; return how many objects of it are new.

        An answered question changes nothing, nor does an object that was taken in for the destination before.
        """
        if self.is_answered(question):
            return 0
        named = [(one, " ".join(self._write(question, one))) for one in objects]
        now, new = time.time_ns(), 0
        with self._connected() as connection:
            connection.execute("INSERT OR IGNORE INTO questions VALUES (?, ?)", (question, now))
            for one, files in named:
                new += connection.execute(
                    "INSERT OR IGNORE INTO objects (sop_instance_uid, destination, question, files, state, attempts,"
                    " next_ns, changed_ns, committed) VALUES (?, ?, ?, ?, ?, 0, 0, ?, 0)",
                    (one.sop_instance_uid, destination, question, files, WAITING, now),
                ).rowcount
        self.repair()
        return new

    def is_answered(self, question: str) -> bool:
        """Whether the answer to a question was taken in."""
        with self._connected() as connection:
            found = connection.execute("SELECT 1 FROM questions WHERE question = ?", (question,)).fetchone()
        return found is not None

    def due(self) -> list[Parcel]:
        """The first waiting object of each destination, if its time has come."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT number, sop_instance_uid, destination, question, files, attempts, next_ns FROM objects"
                " WHERE number IN (SELECT MIN(number) FROM objects WHERE state = ? GROUP BY destination)",
                (WAITING,),
            ).fetchall()
        return [self._parcel(row) for row in rows if row[-1] <= time.time_ns()]

    def sent(self, parcel: Parcel) -> None:
        """Note that the destination has an object; its files go."""
        self._end(parcel, SENT)

    def give_up(self, parcel: Parcel) -> None:
        """Note that an object will not be sent; its files go."""
        self._end(parcel, GIVEN_UP)

    def postpone(self, parcel: Parcel, pause_s: float, *, counts: bool) -> None:
        """Note that sending failed, and leave the object alone for a while.

        Parameters
        ----------
        counts
            Whether the failure counts as an attempt.
        """
        with self._connected() as connection:
            connection.execute(
                "UPDATE objects SET attempts = attempts + ?, next_ns = ? WHERE number = ?",
                (int(counts), time.time_ns() + int(pause_s * 1e9), parcel.number),
            )

    def committed(self, sop_instance_uids: Sequence[str], destination: str) -> None:
        """Note that a destination has taken over responsibility for objects."""
        with self._connected() as connection:
            connection.executemany(
                "UPDATE objects SET committed = 1 WHERE sop_instance_uid = ? AND destination = ?",
                [(uid, destination) for uid in sop_instance_uids],
            )

    def state(self) -> OutboxState:
        """Count objects and questions."""
        with self._connected() as connection:
            counts = dict(connection.execute("SELECT state, COUNT(*) FROM objects GROUP BY state"))
            (committed,) = connection.execute("SELECT COUNT(*) FROM objects WHERE committed").fetchone()
            (questions,) = connection.execute("SELECT COUNT(*) FROM questions").fetchone()
            (undelivered,) = connection.execute(
                "SELECT COUNT(DISTINCT question) FROM objects WHERE state = ?", (GIVEN_UP,)
            ).fetchone()
        waiting, sent, given_up = (counts.get(state, 0) for state in (WAITING, SENT, GIVEN_UP))
        return OutboxState(waiting, sent, given_up, committed, questions, undelivered)

    def erase_meant(self, is_meant: Callable[[Path], bool]) -> int:
        """Erase waiting objects: those of each answer of which one is meant; return how many."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT number, sop_instance_uid, destination, question, files, attempts, next_ns FROM objects"
                " WHERE state = ?",
                (WAITING,),
            ).fetchall()
            parcels = [self._parcel(row) for row in rows]
            answers = {one.question for one in parcels if any(is_meant(path) for path in one.files)}
            meant = [one for one in parcels if one.question in answers]
            connection.executemany("DELETE FROM objects WHERE number = ?", [(one.number,) for one in meant])
        for path in (path for one in meant for path in one.files):
            path.unlink(missing_ok=True)
        sync_folder(self._objects)
        return len(meant)

    def forget(self, before_ns: int) -> None:
        """Forget what ended, and was asked, before a time; what waits since then is given up."""
        with self._connected() as connection:
            for state, files in connection.execute(
                "SELECT state, files FROM objects WHERE changed_ns < ?", (before_ns,)
            ).fetchall():
                self._unlink(files if state == WAITING else "")
            connection.execute(
                "UPDATE objects SET state = ?, changed_ns = ? WHERE changed_ns < ? AND state = ?",
                (GIVEN_UP, time.time_ns(), before_ns, WAITING),
            )
            connection.execute("DELETE FROM objects WHERE changed_ns < ?", (before_ns,))
            connection.execute("DELETE FROM questions WHERE answered_ns < ?", (before_ns,))

    def _write(self, question: str, one: ResultObject) -> Iterator[str]:
        for number, form in enumerate(one.forms):
            name, temporary = f"{question}-{one.sop_instance_uid}-{number}.dcm", self._path / "new"
            temporary.unlink(missing_ok=True)  # left by a kill
            write_durably([form], temporary, self._objects / name, self.vault)
            yield name

    def _end(self, parcel: Parcel, state: str) -> None:
        with self._connected() as connection:
            connection.execute(
                "UPDATE objects SET state = ?, changed_ns = ? WHERE number = ?", (state, time.time_ns(), parcel.number)
            )
        for path in parcel.files:
            path.unlink(missing_ok=True)

    def _unlink(self, files: str) -> None:
        for name in files.split():
            (self._objects / name).unlink(missing_ok=True)

    def _parcel(self, row: tuple[int, str, str, str, str, int, int]) -> Parcel:
        number, uid, destination, question, files, attempts, _ = row
        paths = tuple(self._objects / name for name in files.split())
        return Parcel(number, uid, destination, question, paths, attempts)

    def _connected(self) -> AbstractContextManager[sqlite3.Connection]:
        """Open the table for one transaction."""
        create_private(self._path / TABLE)
        return table_transaction(self._path / TABLE, SCHEMA)
