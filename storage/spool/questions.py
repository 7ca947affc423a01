"""Questions on disk: the objects of one association together, complete once it ended, kept until they are erased."""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from storage.durable import FolderSync, folder_names, make_private_folder, sync_folder, write_durably
from storage.errors import SpoolFull
from storage.spool.arrival import Arrival
from storage.vault import CLEAR, Vault

CALLER: Final = "caller.json"
LOCK: Final = "open"
ATTEMPTS: Final = "attempts"
STALE_NS: Final = 60_000_000_000
"""Age of a folder that nobody can be making any more."""


@dataclass(frozen=True, slots=True)
class StoredQuestion:
    """A question that is complete: nothing is added to it any more.

    Attributes
    ----------
    folder
        Where its objects lie; its name is that of the question.
    """

    folder: Path

    @property
    def name(self) -> str:
        """Text that no other question has."""
        return self.folder.name

    @property
    def received_ns(self) -> int:
        """When its first object came, nanoseconds since the epoch."""
        return int(self.name.partition("-")[0])

    @property
    def calling_ae_title(self) -> str:
        """AE title of who asked."""
        return str(json.loads((self.folder / CALLER).read_bytes())["calling_ae_title"])

    @property
    def objects(self) -> list[Path]:
        """Files as received, in order of arrival."""
        return [self.folder / name for name in sorted(folder_names(self.folder)) if name.endswith(".dcm")]

    def count_attempt(self) -> int:
        """Count that somebody begins to answer; return how often that happened, this time included."""
        path = self.folder / ATTEMPTS
        number = int(path.read_text() or 0) + 1 if path.exists() else 1
        path.write_text(str(number))
        return number

    def uncount_attempt(self) -> None:
        """Take the last attempt back: it ended for want of another process, which tells nothing of the question."""
        path = self.folder / ATTEMPTS
        path.write_text(str(max(0, int(path.read_text() or 0) - 1)))


class OpenQuestion:
    """A question that an association still adds to; made by `QuestionSpool.open`, used by one thread.

    A lock tells that it is open: the kernel gives it back when the process ends, however it does. So what a receiver
    acknowledged before it was killed is a complete question, too.
    """

    def __init__(self, spool: "QuestionSpool", calling_ae_title: str) -> None:
        self._spool, self._calling_ae_title = spool, calling_ae_title
        self._folder: Path | None = None
        self._lock = -1
        self._sync: FolderSync | None = None
        self.size = 0

    def begin(self, _sop_instance_uid: str = "") -> Arrival:
        """Let one object arrive; it is part of the question once it is kept.

        Raises
        ------
        SpoolFull
            The disk is nearly full, or too many questions wait.
        OSError
            The folder cannot be written.
        """
        self._spool.check_marks()
        if self._folder is None:
            self._create()
        assert self._folder is not None
        assert self._sync is not None
        self.size += 1
        name = f"{self.size:04d}"
        part, path = self._folder / f"{name}.part", self._folder / f"{name}.dcm"
        return Arrival(part, path, self._sync, lambda: None, self._spool.vault)

    def close(self) -> None:
        """End the question; nothing happens to one that is ended, or has no object."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def _create(self) -> None:
        """Make the folder, locked before it can be seen by who takes questions."""
        name = f"{time.time_ns():020d}-{os.getpid()}-{next(self._spool.serial)}"
        hidden, folder = self._spool.temporary / name, self._spool.waiting_path / name
        make_private_folder(hidden)
        write_durably(
            [json.dumps({"calling_ae_title": self._calling_ae_title}).encode()], hidden / "new", hidden / CALLER
        )
        self._lock = os.open(hidden / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        hidden.rename(folder)
        sync_folder(self._spool.waiting_path)
        self._folder, self._sync = folder, FolderSync(folder)


class QuestionSpool:
    """Folder of questions: any number of processes open them, one takes and answers them.

    Parameters
    ----------
    path
        Made if missing: `waiting/` holds those to be answered, `answered/` those that were, `tmp/` new folders.
    capacity
        Waiting questions above which none is opened.
    free_bytes
        Space to leave free on the disk.
    vault
        Seals the objects.
    """

    def __init__(self, path: Path, capacity: int, free_bytes: int, vault: Vault = CLEAR) -> None:
        self.path, self._capacity, self._free_bytes, self.vault = path, capacity, free_bytes, vault
        self.waiting_path, self.answered_path, self.temporary = path / "waiting", path / "answered", path / "tmp"
        for folder in (path, self.waiting_path, self.answered_path, self.temporary):
            make_private_folder(folder)
        self.serial = count()

    def open(self, calling_ae_title: str) -> OpenQuestion:
        """Begin a question; it costs nothing before its first object."""
        return OpenQuestion(self, calling_ae_title)

    def check_marks(self) -> None:
        """Raise SpoolFull if no more can be taken in."""
        if shutil.disk_usage(self.path).free < self._free_bytes:
            raise SpoolFull(self.path, "disk")
        if len(folder_names(self.waiting_path)) > self._capacity:
            raise SpoolFull(self.path, "objects")

    def waiting(self) -> Iterator[StoredQuestion]:
        """Yield the complete questions, oldest first; those without an object are removed."""
        for name in sorted(folder_names(self.waiting_path)):
            folder = self.waiting_path / name
            if _is_open(folder):
                continue
            question = StoredQuestion(folder)
            if question.objects:
                yield question
            else:
                shutil.rmtree(folder, ignore_errors=True)

    def repair(self) -> None:
        """Remove folders that were never finished: their makers were killed."""
        for name in folder_names(self.temporary):
            if StoredQuestion(Path(name)).received_ns < time.time_ns() - STALE_NS:
                shutil.rmtree(self.temporary / name, ignore_errors=True)

    def depth(self) -> int:
        """Number of questions that wait for an answer, including questions that are still arriving."""
        return len(folder_names(self.waiting_path))

    def finish(self, question: StoredQuestion) -> None:
        """Take an answered question out of the queue; it stays on disk until it is erased."""
        try:
            question.folder.rename(self.answered_path / question.name)
        except FileNotFoundError:  # erased meanwhile
            return
        for folder in (self.waiting_path, self.answered_path):
            sync_folder(folder)

    def erase_meant(self, is_meant: Callable[[Path], bool]) -> int:
        """Erase questions of which an object is meant, answered or not, with all their objects; return how many."""
        count = 0
        for parent in (self.waiting_path, self.answered_path):
            for name in folder_names(parent):
                if any(is_meant(path) for path in StoredQuestion(parent / name).objects):
                    shutil.rmtree(parent / name, ignore_errors=True)
                    count += 1
            sync_folder(parent)  # none comes back after a loss of power
        return count

    def erase(self, before_ns: int) -> int:
        """Erase the answered questions that were received before a time; return how many."""
        names = [
            name for name in folder_names(self.answered_path) if StoredQuestion(Path(name)).received_ns < before_ns
        ]
        for name in names:
            shutil.rmtree(self.answered_path / name)
        return len(names)


def _is_open(folder: Path) -> bool:
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
