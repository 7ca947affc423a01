"""The durable queue between receiving an instance and indexing it: a folder of files, in order of arrival."""

import errno
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from threading import Lock
from typing import Final

from storage.durable import FolderSync, folder_names, make_private_folder, remove_stale, sync_folder
from storage.errors import SpoolFull
from storage.spool.arrival import Arrival
from storage.spool.set_aside import UID, Aside, Retention, SetAside
from storage.vault import CLEAR, Vault

__all__ = ["FULL", "Entry", "Retention", "SetAside", "Spool"]

COUNT_AGE_S: Final = 0.5
"""How long a count of the folder holds; one listing of 100,000 names takes about 50 ms."""

COUNT_AGE_PER_S: Final = 20
"""A listing that takes long holds longer, so that counting takes a twentieth of the time at most."""

DEFAULT_RETENTION: Final = Retention()

NAME: Final = re.compile(r"\d{20}-\d+-\d+-([0-9.]{1,64})\.dcm")
"""File name of an entry that arrived with its SOP Instance UID."""

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Error numbers of writing to a full disk."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One received instance, waiting.

    Attributes
    ----------
    path
        File that holds the bytes as received.
    """

    path: Path

    @property
    def received_ns(self) -> int:
        """Time of arrival, nanoseconds since the epoch; of a file that somebody laid here, that of its last change.

        Now, if somebody has taken that file away again.
        """
        arrived = self.path.name.partition("-")[0]
        if arrived.isdecimal():
            return int(arrived)
        try:
            return self.path.stat().st_mtime_ns
        except FileNotFoundError:
            return time.time_ns()

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID that it arrived with; empty if that is not known before the file is read."""
        match = NAME.fullmatch(self.path.name)
        return match[1] if match else ""


class Spool:
    """Queue that any number of processes and threads put into, and one process takes from.

    Parameters
    ----------
    path
        Folder, made if missing: `incoming/` is the queue, `tmp/` holds what still arrives, `aside/` what was set aside.
    capacity
        Waiting instances above which `put` refuses. Other processes may pass it by what they put within half a second.
    free_bytes
        Space to leave free on the disk.
    retention
        How much of what was set aside stays.
    vault
        Seals the files, and opens them for whoever reads them.
    """

    def __init__(
        self,
        path: Path,
        capacity: int,
        free_bytes: int,
        retention: Retention = DEFAULT_RETENTION,
        vault: Vault = CLEAR,
    ) -> None:
        self.path, self.capacity, self.free_bytes, self.vault = path, capacity, free_bytes, vault
        self._incoming, self._temporary = path / "incoming", path / "tmp"
        for folder in (path, self._incoming, self._temporary):
            make_private_folder(folder)
        for folder in (path, path.parent):
            sync_folder(folder)
        self._sync = FolderSync(self._incoming)
        self._aside = Aside(path / "aside", self._incoming, retention)
        self._serial = count()
        self._erased: set[str] = set()  # file names of entries that this process erased
        self._listed: dict[str, None] = {}  # file names of waiting instances, oldest first
        self._lock = Lock()
        self._counted, self._counted_at, self._count_age_s = 0, 0.0, 0.0
        remove_stale(self._temporary)
        self._aside.repair()

    def begin(self, sop_instance_uid: str = "") -> Arrival:
        """Let one instance arrive, piece by piece; it counts once it is kept.

        Parameters
        ----------
        sop_instance_uid
            If given, `is_waiting` finds the instance by it.

        Raises
        ------
        SpoolFull
            Above a mark.
        """
        self._check_marks()
        uid = sop_instance_uid if UID.fullmatch(sop_instance_uid) else ""  # it becomes part of a file name
        name = f"{time.time_ns():020d}-{os.getpid()}-{next(self._serial)}-{uid}.dcm"
        return Arrival(self._temporary / name, self._incoming / name, self._sync, self._arrived, self.vault)

    def put(self, chunks: Iterable[bytes | memoryview], sop_instance_uid: str = "") -> Entry:
        """Keep one instance, durable when this returns.

        Raises
        ------
        SpoolFull
            Above a mark, or the disk filled up while writing; nothing was kept.
        """
        arrival = self.begin(sop_instance_uid)
        try:
            for chunk in chunks:
                arrival.write(chunk)
            return Entry(arrival.keep())
        except OSError as error:
            if error.errno in FULL:
                raise SpoolFull(self.path, "disk") from error
            raise
        finally:
            arrival.abandon()

    def take(self, limit: int) -> list[Entry]:
        """Oldest `limit` entries; they stay until they are removed or set aside."""
        with self._lock:
            if len(self._listed) < limit:
                self._listed = dict.fromkeys(self._names())
            return [Entry(self._incoming / name) for name in islice(self._listed, limit)]

    def remove(self, entries: Sequence[Entry]) -> None:
        """Forget entries that are durable elsewhere."""
        for entry in entries:
            entry.path.unlink(missing_ok=True)
            self._forget(entry)
        # No sync of the folder: an entry that a loss of power brings back is indexed again, to no effect.

    def set_aside(self, entry: Entry, reason: str, detail: str, uids: Mapping[str, str], *, keep: bool) -> SetAside:
        """Take an entry out of the queue for good, with the reason why it cannot be indexed.

        Parameters
        ----------
        reason
            Short name to count by: letters, digits and dashes.
        detail
            What happened; must hold no patient data.
        uids
            SOPInstanceUID, SeriesInstanceUID, StudyInstanceUID, as far as known.
        keep
            Whether to keep the bytes.
        """
        note = self._aside.add(entry.path, entry.received_ns, reason, detail, uids, keep=keep)
        self._forget(entry)
        return note

    def erase(self, is_meant: Callable[[Path], bool]) -> int:
        """Erase waiting entries for good; return how many went."""
        meant = [entry for entry in self if is_meant(entry.path)]
        with self._lock:
            self._erased.update(entry.path.name for entry in meant)
        self.remove(meant)
        sync_folder(self._incoming)  # none comes back after a loss of power
        return len(meant)

    def was_erased(self, entry: Entry) -> bool:
        """Whether this process has erased an entry, which may still be under way elsewhere in it."""
        with self._lock:
            return entry.path.name in self._erased

    def erase_set_aside(self, is_meant: Callable[[SetAside], bool]) -> int:
        """Erase notes about what was set aside, with the bytes kept beside them; return how many notes went."""
        return self._aside.erase(is_meant)

    def depth(self) -> int:
        """Number of waiting instances, at most half a second old where listing is quick."""
        with self._lock:
            if time.monotonic() - self._counted_at > self._count_age_s:
                self._count()
            return self._counted

    def is_waiting(self, sop_instance_uid: str) -> bool:
        """True if an instance put with this UID waits."""
        return any(name.endswith(f"-{sop_instance_uid}.dcm") for name in folder_names(self._incoming))

    def __len__(self) -> int:
        return len(folder_names(self._incoming))

    def __iter__(self) -> Iterator[Entry]:
        return (Entry(self._incoming / name) for name in self._names())

    def set_aside_records(self) -> Iterator[SetAside]:
        """Yield everything set aside, oldest first."""
        return self._aside.notes()

    def reasons(self) -> Counter[str]:
        """Number of instances that were ever set aside, by reason; it costs the same however many they are."""
        return self._aside.reasons()

    def reasons_since(self, received_ns: int) -> Counter[str]:
        """Number of instances set aside, by reason, of those that arrived from a time on (ns since the epoch)."""
        return self._aside.reasons_since(received_ns)

    def set_aside_deleted(self) -> int:
        """Number of files set aside that retention has deleted."""
        return self._aside.deleted()

    def is_set_aside(self, sop_instance_uid: str) -> SetAside | None:
        """Latest note on this instance, None when it was never set aside."""
        return self._aside.find(sop_instance_uid)

    def disk_free_bytes(self) -> int:
        """Space left on the disk."""
        return shutil.disk_usage(self.path).free

    def _arrived(self) -> None:
        with self._lock:
            self._counted += 1

    def _check_marks(self) -> None:
        if self.disk_free_bytes() < self.free_bytes:
            raise SpoolFull(self.path, "disk")
        if self.depth() >= self.capacity:
            with self._lock:
                self._count()  # never refuse on an old count
                if self._counted >= self.capacity:
                    raise SpoolFull(self.path, "objects")

    def _count(self) -> None:
        begun = time.monotonic()
        self._counted, self._counted_at = len(self), time.monotonic()
        self._count_age_s = max(COUNT_AGE_S, COUNT_AGE_PER_S * (self._counted_at - begun))

    def _forget(self, entry: Entry) -> None:
        with self._lock:
            self._listed.pop(entry.path.name, None)
            self._counted -= 1

    def _names(self) -> list[str]:
        return sorted(folder_names(self._incoming))


def waiting_s(spool: Spool) -> float:
    """Age of the oldest waiting instance in seconds; 0 if none waits."""
    oldest_ns = min((entry.received_ns for entry in spool), default=time.time_ns())
    return max(0.0, (time.time_ns() - oldest_ns) / 1e9)
