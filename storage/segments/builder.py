"""Segments made, merged and checked. A segment is made from the codes in the database, also where others are merged."""

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
from storage.database.snapshot import Snapshot
from storage.errors import SegmentError, SegmentsBusy, StorageError
from storage.segments.layout import MAX_ROWS, Blocks, design_for
from storage.segments.segment_file import Entry, Segment, write_segment

logger = logging.getLogger(__name__)

SEAL_ROWS: Final = 1 << 18
"""Rows that a new segment has at least; a scan takes a fifth of a millisecond for them."""
RATIO: Final = 4
"""A segment is merged with what comes after it unless it is so many times larger."""

PAUSE_S: Final = 10.0
NICENESS: Final = 10

Report = Callable[[int, int], object]
"""Told how many bytes of how many are done."""


def build(
    database: Database, *, inline: bool | None = None, whole: bool = False, report: Report = lambda _done, _all: None
) -> Entry | None:
    """Make the next segment that is due, if one is.

    Parameters
    ----------
    inline
        Whether it holds the codes: 47 bytes a code instead of 23, those in the database included, and half the time of
        a search. None: where a code is one word.
    whole
        Make one segment of all settled rows.

    Raises
    ------
    SegmentsBusy
        Another process is at it.
    """
    with alone(database), database.snapshot() as snapshot:
        entries, good = snapshot.segment_entries, trusted(database, snapshot)
        extent = due(good, settled(snapshot.layout, snapshot.rows), whole=whole)
        if extent is None:
            return None
        entry = _write(database, snapshot, *extent, inline, report)
        named = [*(kept for kept in good if kept.end <= entry.first_row), entry]
        if not database.replace_segments(entries, named, snapshot.compactions):
            return None  # rows were moved meanwhile: what was made is of no use, and will be swept away
    sweep_files(database)
    return entry


def keep_built(database: Database, stop: Event, pause_s: float = PAUSE_S) -> None:
    """Make whatever segment is due, again and again, behind other work; run it in a thread of the indexer."""
    os.setpriority(os.PRIO_PROCESS, get_native_id(), NICENESS)  # Linux knows threads as processes

    def report(_done: int, _all: int) -> None:
        if stop.is_set():
            raise InterruptedError("the indexer ends")

    while not stop.wait(pause_s):
        try:
            entry = build(database, report=report)
        except SegmentsBusy:  # someone builds by hand
            continue
        except (OSError, StorageError) as error:  # a full disk: the scan serves, and the next try may succeed
            logger.warning("no segment was made: %s", error)
            continue
        if entry is not None:
            logger.info("rows %d to %d are in one segment of the index", entry.first_row, entry.end)


def due(entries: Sequence[Entry], rows: int, *, whole: bool = False) -> tuple[int, int] | None:
    """Which of the settled rows the next segment should hold, first and end; None while few are in no segment.

    Parameters
    ----------
    entries
        Segments that together hold all rows from the first on.
    whole
        One for all of them, if they are not more than a segment can hold.
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
    """How many rows lie in full blocks, which never change; none where their size is no power of two."""
    return rows - rows % layout.block_rows if layout.block_rows.bit_count() == 1 else 0


def trusted(database: Database, snapshot: Snapshot) -> list[Entry]:
    """Return the leading segments that are there and whole, when all are checked."""
    _ = snapshot.segments  # opens them
    database.segments.wait()
    return [segment.entry for segment in snapshot.segments]


def faults(database: Database, snapshot: Snapshot) -> Iterator[str]:
    """Read every segment that should be there, and yield what is wrong with each that cannot be used."""
    for entry in snapshot.segment_entries:
        try:
            segment = Segment(database.segments.folder, entry, snapshot.code_length)
            if not segment.check():
                raise SegmentError(segment.path, "its checksum is wrong")
        except SegmentError as error:
            yield str(error)


def verify(database: Database, report: Report = lambda _done, _all: None) -> list[str]:
    """Compute every segment again from the codes and compare; return what is wrong."""
    with database.snapshot() as snapshot:
        entries, found = snapshot.segment_entries, list(faults(database, snapshot))
        for number, entry in enumerate(entries):
            report(number, len(entries))
            if not any(entry.name in problem for problem in found):
                segment = Segment(database.segments.folder, entry, snapshot.code_length)
                found += segment.differences(codes_between(snapshot, entry.first_row, entry.end))
        report(len(entries), len(entries))
    return found


def codes_between(snapshot: Snapshot, first_row: int, end: int) -> Blocks:
    """Give the codes of some blocks, by their rows."""

    def blocks() -> Iterator[Codes]:
        return (block.codes for block in snapshot.blocks() if first_row <= block.start < end)

    return blocks


@contextmanager
def alone(database: Database) -> Iterator[None]:
    """Keep other processes from changing the segments meanwhile.

    Raises
    ------
    SegmentsBusy
    """
    database.segments.folder.mkdir(parents=True, exist_ok=True)
    with (database.segments.folder / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SegmentsBusy(database.path) from error
        yield


def sweep_files(database: Database) -> None:
    """Remove what is no segment of the present state; a search in one of them keeps it until its end."""
    with alone(database), database.snapshot() as snapshot:
        kept = {entry.path(database.segments.folder).name for entry in snapshot.segment_entries}
        for path in database.segments.folder.iterdir():
            if path.name not in {*kept, "lock"}:
                path.unlink()


def _write(
    database: Database, snapshot: Snapshot, first_row: int, end: int, inline: bool | None, report: Report
) -> Entry:
    blocks, rows = codes_between(snapshot, first_row, end), end - first_row
    inline = snapshot.layout.words == 1 if inline is None else inline
    design = design_for(blocks, rows, snapshot.code_length, inline=inline)
    done = 0

    def wrote(octets: int) -> None:
        nonlocal done
        done += octets
        report(min(done, design.starts[-1]), design.starts[-1])

    return write_segment(database.segments.folder, secrets.token_hex(8), first_row, design, blocks, wrote)
