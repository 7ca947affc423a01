"""The segments of one database that this process has open."""

import logging
from collections.abc import Sequence
from pathlib import Path
from threading import Lock, Thread
from typing import Self

from storage.database.database import Database
from storage.database.tables import SegmentEntry
from storage.errors import SegmentError
from storage.segments.segment_file import Segment

logger = logging.getLogger(__name__)

FOLDER = "segments"
"""Folder of the segment files, in that of the database."""


class SegmentRegistry:
    """Opens the segment files that a snapshot names, and lends those whose checksum is right.

    A check reads a whole file. It runs once, in the background, because a file is never changed. The rows of a segment
    are scanned until its check has ended, and for good if the check fails.

    Attributes
    ----------
    folder
        Folder of the files; it may not exist yet.
    """

    def __init__(self, folder: Path, code_length: int) -> None:
        self.folder, self._code_length = folder, code_length
        self._open: dict[str, Segment | None] = {}
        self._lock, self._checks = Lock(), Thread()

    @classmethod
    def of(cls, database: Database) -> Self:
        """Registry of the segments of a database, with no file open yet."""
        return cls(segment_folder(database), database.header.code_length)

    def serving(self, entries: Sequence[SegmentEntry]) -> list[Segment]:
        """Checked segments that together hold the rows from the first on, in row order.

        Parameters
        ----------
        entries
            `Snapshot.segment_entries` of the state that is searched. Files that no entry names are closed.
        """
        with self._lock:
            if any(entry.name not in self._open for entry in entries):
                self._refresh(entries)
            run: list[Segment] = []
            for entry in entries:
                segment = self._open[entry.name]
                if segment is None or not segment.trusted or entry.first_row != (run[-1].entry.end if run else 0):
                    break
                run.append(segment)
            return run

    def wait(self) -> None:
        """Return when every segment that was named so far is checked."""
        if self._checks.ident is not None:
            self._checks.join()

    def _refresh(self, entries: Sequence[SegmentEntry]) -> None:
        still = {entry.name: self._open[entry.name] for entry in entries if entry.name in self._open}
        fresh = {entry.name: self._opened(entry) for entry in entries if entry.name not in still}
        self._open = still | fresh  # the files of others are closed when the last search in them has ended
        unchecked = [segment for segment in self._open.values() if segment is not None and not segment.trusted]
        self._checks = Thread(target=_check, args=[unchecked], name="segment checks", daemon=True)
        self._checks.start()

    def _opened(self, entry: SegmentEntry) -> Segment | None:
        try:
            return Segment(self.folder, entry, self._code_length)
        except SegmentError as error:
            logger.warning("%s", error)
            return None


def segment_folder(database: Database) -> Path:
    """Folder of the segment files of a database."""
    return database.path / FOLDER


def _check(segments: list[Segment]) -> None:
    """Check one segment after the other; whatever happens to a check, the others are made and its rows are scanned."""
    for segment in segments:
        try:
            segment.compile()
            if not segment.check():
                logger.warning("%s", SegmentError(segment.path, "its checksum is wrong"))
        except Exception:  # the outermost loop of this thread
            logger.exception("segment %s could not be checked: its rows are scanned until a restart", segment.path)
