"""Segments built, merged and verified. A segment is built from the codes in the database, also where others merge."""

import fcntl
import logging
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, get_native_id
from typing import Final

from hashing.codes import Codes
from storage.database.blocks import Layout
from storage.database.database import Database
from storage.database.tables import SegmentEntry
from storage.errors import RowsMoved, SegmentError, SegmentsBusy, StorageError
from storage.segments.layout import MAX_ROWS, Blocks, layout_for
from storage.segments.registry import SegmentRegistry, segment_folder
from storage.segments.segment_file import Segment, segment_path, write_segment

logger = logging.getLogger(__name__)

SEAL_ROWS: Final = 1 << 18
"""Least number of rows of a new segment; a scan takes a fifth of a millisecond for them."""
RATIO: Final = 4
"""A segment is merged with what comes after it unless it is so many times larger."""

PAUSE_S: Final = 10.0
NICENESS: Final = 10

Report = Callable[[int, int], object]
"""Progress: called with the bytes done and the bytes of the whole."""


def build(
    database: Database,
    registry: SegmentRegistry | None = None,
    *,
    inline: bool = True,
    whole: bool = False,
    report: Report = lambda _done, _all: None,
) -> SegmentEntry | None:
    """Build the next segment that is due, and return its entry; None if none is due.

    Parameters
    ----------
    registry
        Registry of this database, which spares checking again what it has checked; None for a new one.
    inline
        False to leave the codes out of the segment: 23 bytes a code instead of 47, those in the database included, and
        twice the time of a search. Codes of more than one word are left out always.
    whole
        True to make one segment of all settled rows.

    Raises
    ------
    SegmentsBusy
        Another process is building or compacting.
    OSError
        The file cannot be written; nothing has changed.
    """
    registry = registry or SegmentRegistry.of(database)
    with alone(database):
        with database.snapshot() as snapshot:
            entries, compactions = snapshot.segment_entries, snapshot.compactions
            rows = settled(snapshot.layout, snapshot.rows)
        registry.serving(entries)  # opens them
        registry.wait()
        good = [segment.entry for segment in registry.serving(entries)]
        extent = due(good, rows, whole=whole)
        if extent is None:
            return None
        try:
            entry = _write(database, compactions, *extent, inline, report)
        except RowsMoved:
            return None  # the half of a file will be swept away
        named = [*(other for other in good if other.end <= entry.first_row), entry]
        if not database.replace_segments(entries, named, compactions):
            return None  # rows were moved meanwhile: the new file is of no use, and will be swept away
    sweep_files(database)
    return entry


def keep_built(database: Database, stop: Event, pause_s: float = PAUSE_S) -> None:
    """Build whatever segment is due, again and again, until `stop` is set; run it in a thread of the indexer.

    A full disk or a busy builder is answered by trying again, because the scan serves meanwhile. Every other error is
    raised: the thread that runs this must then end its role, which the supervisor starts again.

    Parameters
    ----------
    pause_s
        Seconds between two attempts.
    """
    os.setpriority(os.PRIO_PROCESS, get_native_id(), NICENESS)  # Linux knows threads as processes
    registry = SegmentRegistry.of(database)

    def report(_done: int, _all: int) -> None:
        """Raise when the indexer is to stop."""
        if stop.is_set():
            raise _StoppedError

    while not stop.wait(pause_s):
        try:
            entry = build(database, registry, report=report)
        except _StoppedError:
            return
        except SegmentsBusy:  # somebody builds by hand
            continue
        except (OSError, StorageError) as error:  # a full disk: the scan serves, and the next try may succeed
            logger.warning("no segment was made: %s", error)
            continue
        if entry is not None:
            logger.info("rows %d to %d are in one segment of the index", entry.first_row, entry.end)


def due(entries: Sequence[SegmentEntry], rows: int, *, whole: bool = False) -> tuple[int, int] | None:
    """First row and end of the next segment to build; None while few settled rows are in no segment.

    Parameters
    ----------
    entries
        Segments that together hold all rows from the first on.
    rows
        Number of settled rows.
    whole
        True for one segment of all, if they are not more than a segment can hold.
    """
    start = entries[-1].end if entries else 0
    if whole and rows <= MAX_ROWS:
        return (0, rows) if rows and (len(entries) != 1 or start < rows) else None
    if rows - start < SEAL_ROWS:
        return None
    for entry in reversed(entries):
        if entry.rows >= RATIO * (rows - start) or rows - entry.first_row > MAX_ROWS:
            break
        start = entry.first_row
    return start, min(rows, start + MAX_ROWS)


def settled(layout: Layout, rows: int) -> int:
    """Number of the rows that lie in full blocks, which never change; 0 if the block size is no power of two."""
    return rows - rows % layout.block_rows if layout.block_rows.bit_count() == 1 else 0


def faults(database: Database, entries: Sequence[SegmentEntry]) -> dict[str, str]:
    """Read every segment, and return what is wrong with each that cannot be used, by its name."""
    wrong: dict[str, str] = {}
    for entry in entries:
        try:
            segment = Segment(segment_folder(database), entry, database.header.code_length)
            if not segment.check():
                raise SegmentError(segment.path, "its checksum is wrong")
        except SegmentError as error:
            wrong[entry.name] = str(error)
    return wrong


def verify(database: Database, report: Report = lambda _done, _all: None) -> list[str]:
    """Compute every segment again from the codes and compare; return what is wrong, a sentence each.

    Raises
    ------
    RowsMoved
        The database was compacted meanwhile.
    """
    with database.snapshot() as snapshot:
        entries, compactions = snapshot.segment_entries, snapshot.compactions
    wrong = faults(database, entries)
    problems = list(wrong.values())
    for number, entry in enumerate(entries):
        report(number, len(entries))
        if entry.name not in wrong:
            segment = Segment(segment_folder(database), entry, database.header.code_length)
            problems += segment.differences(codes_between(database, compactions, entry.first_row, entry.end))
    report(len(entries), len(entries))
    return problems


def codes_between(database: Database, compactions: int, first_row: int, end: int) -> Blocks:
    """Function that yields the codes of settled rows, block by block.

    Each block is read in a snapshot of its own, so that the minutes of a build do not keep the writer from reusing
    pages. That is sound because settled rows never change, except when the database is compacted. An array is valid
    until the next one is taken.

    Parameters
    ----------
    compactions
        `Snapshot.compactions` of the state that the rows were chosen from.
    first_row, end
        First row, and row after the last; both are bounds of blocks.

    Raises
    ------
    RowsMoved
        By the function, if the database was compacted meanwhile.
    """

    def blocks() -> Iterator[Codes]:
        """Yield the codes of one block after the other, each from a snapshot of its own."""
        for start in range(first_row, end, database.header.layout.block_rows):
            with database.snapshot() as snapshot:
                if snapshot.compactions != compactions:
                    raise RowsMoved(database.path)
                yield snapshot.block_at(start).codes

    return blocks


@contextmanager
def alone(database: Database) -> Iterator[None]:
    """Keep other processes from changing the segments meanwhile.

    Raises
    ------
    SegmentsBusy
    """
    folder = segment_folder(database)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SegmentsBusy(database.path) from error
        yield


def sweep_files(database: Database) -> None:
    """Remove the files that are no segment of the present state; a search in one of them keeps it until its end."""
    folder = segment_folder(database)
    with alone(database):
        with database.snapshot() as snapshot:
            needed = {segment_path(folder, entry.name).name for entry in snapshot.segment_entries}
        for path in folder.iterdir():
            if path.name not in {*needed, "lock"}:
                path.unlink()


class _StoppedError(Exception):
    """The indexer ends."""


def _write(
    database: Database, compactions: int, first_row: int, end: int, inline: bool, report: Report
) -> SegmentEntry:
    """Write the file of a segment of some rows, and report progress in bytes."""
    header, rows = database.header, end - first_row
    blocks = codes_between(database, compactions, first_row, end)
    layout = layout_for(blocks, rows, header.code_length, inline=inline and header.layout.words == 1)
    done = 0

    def wrote(size_bytes: int) -> None:
        """Report that further bytes are written."""
        nonlocal done
        done += size_bytes
        report(min(done, layout.offsets[-1]), layout.offsets[-1])

    return write_segment(segment_folder(database), secrets.token_hex(8), first_row, layout, blocks, wrote)
