"""Locks on files that name their owner: a process holds one for its life, and the kernel frees it when that ends."""

import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from node.errors import NodeError
from node.settings import Settings

RECORD_BYTES: Final = 1024
"""Size of a lock file. It never changes, so that a new owner can be written on a full disk."""

READERS_S: Final = 0.3
"""Shortest time for which a lock is tried: a process that only tests a lock holds it for some microseconds."""

RETRY_S: Final = 0.02

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a lock, and the address of its node.

    Attributes
    ----------
    pid
        Process number.
    machine
        Name of the machine it runs on.
    ae_title, host, port, http_port
        Address of the node under the settings that the process uses.
    """

    pid: int
    machine: str
    ae_title: str
    host: str
    port: int
    http_port: int

    @classmethod
    def this_process(cls, settings: Settings) -> Self:
        """Return the owner that this process is under its settings."""
        address = settings.ae_title, settings.host, settings.port, settings.http_port
        return cls(os.getpid(), socket.gethostname(), *address)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.machine} ({self.ae_title} at {self.host}:{self.port})"


class InUseError(NodeError):
    """Another process holds a lock.

    Attributes
    ----------
    path
        File of the lock.
    owner
        The process that holds it; None if the file names none.
    """

    def __init__(self, path: Path, subject: str, owner: Owner | None) -> None:
        self.path, self.owner = path, owner
        todo = "stop it first, or choose another home folder (--home)"
        super().__init__(f"{subject} is in use by {owner or 'another process'}: {todo}")


@contextmanager
def held_lock(path: Path, subject: str, owner: Owner, wait_s: float = 0.0) -> Iterator[int]:
    """Hold a lock while the block runs, and give the file descriptor that holds it.

    The file stays behind: to remove it would let two processes lock two files of one name.

    Parameters
    ----------
    path
        File of the lock, made if missing, in a folder that exists.
    subject
        What the lock protects, for the message.
    wait_s
        Seconds to wait for an owner that is about to end.

    Raises
    ------
    InUseError
        Another process holds it.
    OSError
        The file cannot be made.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + max(wait_s, READERS_S)
        while not _try_lock(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise InUseError(path, subject, _read_owner(file))
            time.sleep(RETRY_S)
        _write_owner(file, path, owner)
        yield file
    finally:
        os.close(file)


def is_locked(path: Path) -> bool:
    """Return True if a living process holds the lock, whatever the file says."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(file, fcntl.LOCK_SH)
    finally:
        os.close(file)


def lock_owner(path: Path) -> Owner | None:
    """Return the process that holds a lock; None if no process does, or if the file names none."""
    if not is_locked(path):
        return None
    with path.open("rb") as file:
        return _read_owner(file.fileno())


def _try_lock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_owner(file: int, path: Path, owner: Owner) -> None:
    """Name the owner in the file; on a full disk the lock holds all the same, without a name."""
    try:
        os.pwrite(file, json.dumps(asdict(owner)).encode().ljust(RECORD_BYTES), 0)
    except OSError as error:
        logger.warning("%s does not name its owner: %s", path, error.strerror)


def _read_owner(file: int) -> Owner | None:
    try:
        return Owner(**json.loads(os.pread(file, RECORD_BYTES, 0)))
    except (ValueError, TypeError):  # not written yet, or by another release
        return None
