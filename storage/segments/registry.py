"""The segments of one database that this process has open: what of its rows a multi-index answers for."""

import logging
from collections.abc import Sequence
from pathlib import Path
from threading import Lock, Thread

from storage.errors import SegmentError
from storage.segments.segment_file import Entry, Segment

logger = logging.getLogger(__name__)


class Segments:
    """Opens the files that a snapshot names, and lends those whose checksum was found to be right.

    Checking reads a whole file, so it is done once, in the background, for a file is never changed. Until that has
    ended, and for good if it fails, the rows are scanned.
    """

    def __init__(self, folder: Path, code_length: int) -> None:
        self.folder, self._code_length = folder, code_length
        self._open: dict[str, Segment | None] = {}
        self._lock, self._checks = Lock(), Thread()

    def serving(self, entries: Sequence[Entry]) -> list[Segment]:
        """Return the segments that together hold the rows from the first on, in row order; scan the rest."""
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
        """Return when every segment seen so far is checked."""
        if self._checks.ident is not None:
            self._checks.join()

    def _refresh(self, entries: Sequence[Entry]) -> None:
        kept = {entry.name: self._open[entry.name] for entry in entries if entry.name in self._open}
        fresh = {entry.name: self._opened(entry) for entry in entries if entry.name not in kept}
        self._open = kept | fresh  # the files of others are closed when the last search in them has ended
        unchecked = [segment for segment in self._open.values() if segment is not None and not segment.trusted]
        self._checks = Thread(target=_check, args=[unchecked], name="segment checks", daemon=True)
        self._checks.start()

    def _opened(self, entry: Entry) -> Segment | None:
        try:
            return Segment(self.folder, entry, self._code_length)
        except SegmentError as error:
            logger.warning("%s", error)
            return None


def _check(segments: list[Segment]) -> None:
    for segment in segments:
        segment.compile()
        if not segment.check():
            logger.warning("%s", SegmentError(segment.path, "its checksum is wrong"))
