"""Files that survive a kill and a loss of power, whole or not at all."""

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Condition
from typing import Final

from storage.vault import CLEAR, Vault

PRIVATE_FILE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700
BUSY_S: Final = 30.0
"""Seconds to wait for another process's transaction in a table; each takes milliseconds."""


class FolderSync:
    """Makes names in one folder durable, those of all threads that wait together by one sync.

    Nobody waits for company: the first caller syncs for itself; who comes meanwhile is served by the next sync, which
    one of them does for all.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._changed = Condition()
        self._begun = self._ended = 0  # syncs
        self._failed: dict[int, OSError] = {}

    def wait(self) -> None:
        """Return once a sync that began after this call has ended.

        Raises
        ------
        OSError
            It failed: the names are not durable.
        """
        with self._changed:
            mine = self._begun + 1
            while self._ended < mine:
                if self._begun > self._ended:  # one is under way: it began before
                    self._changed.wait()
                else:
                    self._sync()
            error = self._failed.get(mine)
        if error is not None:
            raise OSError(error.errno, error.strerror) from error

    def _sync(self) -> None:
        """Sync the folder without the lock, and note the outcome for all that wait for it."""
        self._begun += 1
        self._changed.release()
        error: OSError | None = None
        try:
            sync_folder(self.folder)
        except OSError as caught:
            error = caught
        finally:
            self._changed.acquire()
            self._ended = self._begun
            if error is not None:
                self._failed[self._ended] = error
            self._changed.notify_all()


def write_durably(chunks: Iterable[bytes | memoryview], temporary: Path, path: Path, vault: Vault = CLEAR) -> None:
    """Write a file that is there, whole, once this returns; if it fails, neither file is there.

    Parameters
    ----------
    temporary, path
        Where it grows and where it ends, on the same file system, in folders that exist.

    Raises
    ------
    OSError
        Such as a full disk; and whatever `chunks` raises.
    """
    try:
        with open(create_locked(temporary), "wb", buffering=0) as file:
            sealed = vault.writer(file.fileno())
            for chunk in chunks:
                sealed.write(chunk)
            sealed.finish()
            os.fdatasync(file.fileno())  # success is a promise: the sender may delete its copy
            temporary.rename(path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def folder_names(folder: Path) -> list[str]:
    """List the names in a folder; as paths, a hundred thousand would take several times as long."""
    return os.listdir(folder)  # noqa: PTH208


def remove_stale(folder: Path) -> int:
    """Remove temporary files whose writers are dead, and return how many.

    A living writer holds a lock. Process numbers would not do: containers that share a folder do not share those.
    """
    removed = 0
    for path in folder.iterdir():
        try:
            file = path.open("rb")
        except FileNotFoundError:  # its writer has just finished
            continue
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def create_locked(path: Path) -> int:
    """Descriptor of a new file, for reading and writing, that `remove_stale` leaves alone until it is closed.

    Only its owner may read it, whatever the umask: it may hold patient data.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
        os.fchmod(file, PRIVATE_FILE)
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink:
            return file
        os.close(file)  # removed as stale before it was locked


def create_private(path: Path) -> None:
    """Make an empty file that only its owner may read, whatever the umask, unless it is there."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        os.fchmod(file, PRIVATE_FILE)
    finally:
        os.close(file)


def make_private_folder(path: Path) -> None:
    """Make a folder that only its owner may enter, whatever the umask; one that is there becomes so."""
    path.mkdir(parents=True, exist_ok=True)
    if path.stat().st_mode & 0o777 != PRIVATE_FOLDER:
        path.chmod(PRIVATE_FOLDER)


@contextmanager
def table_transaction(path: Path, schema: str) -> Iterator[sqlite3.Connection]:
    """Open a file of SQLite for one transaction, which is durable once the block has ended; deleted rows become zeros.

    A connection belongs to one thread and one process. A missing file is not made: it reads as empty tables.

    Parameters
    ----------
    schema
        Statements that make what tables are missing; they run unless the file's `user_version` says that all are there.
    """
    with closing(sqlite3.connect(path if path.exists() else ":memory:", timeout=BUSY_S)) as connection:
        connection.execute("PRAGMA synchronous = EXTRA")  # the end of a transaction is the removal of a file
        connection.execute("PRAGMA secure_delete = ON")  # the UIDs of what is erased become zeros
        if not connection.execute("PRAGMA user_version").fetchone()[0]:
            connection.executescript(schema)
        with connection:
            yield connection
