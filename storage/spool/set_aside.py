"""Instances that could not be indexed, each with a note that says why, stored as long as the retention allows."""

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.durable import folder_names, make_private_folder, sync_folder
from storage.spool.notes import Note, NoteTable

REASON: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
UID: Final = re.compile(r"[0-9.]{1,64}")  # PS3.5 9.1
TABLE: Final = "notes.sqlite"
NOTE_LOST: Final = "note-lost"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SetAside:
    """Why an instance was not indexed; holds no patient data.

    Attributes
    ----------
    name
        Of the spool entry it was.
    reason
        Short name to count by.
    uids
        SOPInstanceUID, SeriesInstanceUID, StudyInstanceUID, as far as known.
    path
        File that holds the bytes, None when they were not kept, or were deleted since.
    """

    name: str
    reason: str
    detail: str
    uids: Mapping[str, str]
    received_ns: int
    path: Path | None


@dataclass(frozen=True, slots=True)
class Retention:
    """Limits on the notes and bytes of instances set aside.

    Attributes
    ----------
    notes
        Notes; beyond, the oldest goes, with its file.
    size_bytes
        Bytes of kept files; beyond, the oldest file goes, and its note stays.
    """

    notes: int = 100_000
    size_bytes: int = 16 << 30


class Aside:
    """Folder of kept files and of the table of notes.

    A note is durable before the bytes it is about move; `repair` finishes what a kill interrupted. One process adds;
    any number reads.
    """

    def __init__(self, path: Path, incoming: Path, retention: Retention) -> None:
        self._path, self._incoming, self._retention = path, incoming, retention
        make_private_folder(path)
        self._notes = NoteTable(path / TABLE)

    def add(
        self, entry: Path, received_ns: int, reason: str, detail: str, uids: Mapping[str, str], *, keep: bool
    ) -> SetAside:
        """Note an entry, then move its bytes here or delete them."""
        if not REASON.fullmatch(reason):
            raise ValueError(f"reason {reason!r} cannot be counted by; use letters, digits and dashes")
        note = Note(entry.stem, reason, detail, uids, received_ns, _size_bytes(entry) if keep else None)
        self._notes.add(note)
        self._settle(entry, keep=keep)
        self._apply_retention()
        return self._described(note)

    def repair(self) -> None:
        """Finish what was interrupted between a note and its bytes, and take over the notes of earlier releases."""
        is_new = not self._notes.exists()
        self._import_files()
        if is_new:
            self._note_strays()
        waiting = {Path(name).stem: self._incoming / name for name in folder_names(self._incoming)}
        for note in self._notes.named(list(waiting)):
            self._settle(waiting[note.name], keep=note.size_bytes is not None)

    def notes(self) -> Iterator[SetAside]:
        """Yield every note, oldest first."""
        return map(self._described, self._notes.all())

    def reasons(self) -> Counter[str]:
        """Number of instances that were ever set aside, by reason."""
        return self._notes.counts()

    def reasons_since(self, received_ns: int) -> Counter[str]:
        """Number of instances that arrived from a time on and are set aside, by reason."""
        return self._notes.counts_since(received_ns)

    def deleted(self) -> int:
        """Number of kept files that retention has deleted."""
        return self._notes.deleted()

    def erase(self, is_meant: Callable[[SetAside], bool]) -> int:
        """Erase notes with the bytes kept beside them; return how many notes went."""
        meant = [note for note in self._notes.all() if is_meant(self._described(note))]
        for note in meant:
            self._kept_path(note.name).unlink(missing_ok=True)
            self._notes.erase(note)
        return len(meant)

    def find(self, sop_instance_uid: str) -> SetAside | None:
        """Latest note on an instance."""
        note = self._notes.find(sop_instance_uid) if UID.fullmatch(sop_instance_uid) else None
        return None if note is None else self._described(note)

    def _settle(self, entry: Path, *, keep: bool) -> None:
        """Move the file of an instance out of the spool to the kept files, or delete it."""
        if not keep:
            entry.unlink(missing_ok=True)
            return
        target = self._kept_path(entry.stem)
        try:
            entry.rename(target)
        except FileNotFoundError:
            if not target.exists():  # where it does, another process, opening the spool, was quicker to repair
                logger.warning("%s was taken out of the spool by somebody else: only the note is kept", entry.name)
        sync_folder(self._path)

    def _apply_retention(self) -> None:
        """Delete the oldest files and notes beyond the limits; a file goes first, so that none is left unnoted."""
        while self._notes.totals().size_bytes > self._retention.size_bytes:
            note = self._notes.oldest_with_bytes()
            if note is None:
                return
            self._delete_file(note)
            self._notes.forget_bytes(note)
        while self._notes.totals().notes > self._retention.notes:
            note = self._notes.oldest()
            if note is None:
                return
            if note.size_bytes is not None:
                self._delete_file(note)
            self._notes.remove(note)

    def _delete_file(self, note: Note) -> None:
        self._kept_path(note.name).unlink(missing_ok=True)
        uid = note.uids.get("SOPInstanceUID", note.name)
        logger.warning("retention: deleted the file of %s, which was set aside as %s", uid, note.reason)

    def _import_files(self) -> None:
        """Take over notes that were a JSON file each, as before the table."""
        for name in sorted(name for name in folder_names(self._path) if name.endswith(".json")):
            path = self._path / name
            try:
                old = json.loads(path.read_bytes())
            except FileNotFoundError:  # another process has just taken it over
                continue
            stem = name.rsplit("_", 2)[0]  # the stem may hold the mark that neither a reason nor a UID holds
            files = (self._kept_path(stem), self._incoming / f"{stem}.dcm")
            size_bytes = max(map(_size_bytes, files)) if old["keep"] else None
            self._notes.add(Note(stem, old["reason"], old["detail"], old["uids"], old["received_ns"], size_bytes))
            path.unlink(missing_ok=True)

    def _note_strays(self) -> None:
        """Note the files of which nothing is known, because somebody removed the table."""
        stems = [Path(name).stem for name in folder_names(self._path) if name.endswith(".dcm")]
        noted = {note.name for note in self._notes.named(stems)}
        for stem in sorted(set(stems) - noted):
            status = self._kept_path(stem).stat()
            self._notes.add(Note(stem, NOTE_LOST, "its note was lost", {}, status.st_mtime_ns, status.st_size))

    def _described(self, note: Note) -> SetAside:
        path = self._kept_path(note.name)
        is_kept = note.size_bytes is not None and path.exists()
        return SetAside(note.name, note.reason, note.detail, note.uids, note.received_ns, path if is_kept else None)

    def _kept_path(self, stem: str) -> Path:
        return self._path / f"{stem}.dcm"


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
