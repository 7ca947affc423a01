"""Rows moved together, so that deleted ones take neither room nor time.

It goes in small steps, each one transaction after which the database is whole: queries and the indexer go on meanwhile,
and what a kill leaves behind is taken up by the next run. Rows keep their order.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from storage.database.blocks import CODES
from storage.database.columns import COLUMNS, DELETED
from storage.database.tables import Tables
from storage.record import Level

STEP_ROWS: Final = 1 << 14
"""Rows moved in one transaction: the indexer waits for less than a second."""

Writing = Callable[[], AbstractContextManager[Tables]]
Report = Callable[[int, int], object]
"""Told how many rows of how many are done."""


def compact(writing: Writing, report: Report = lambda _done, _all: None, step_rows: int = STEP_ROWS) -> int:
    """Move every row behind a deleted one forward, and return how many rows the database lost.

    The segments of rows that are moved are forgotten first: these rows are scanned until segments are built again.
    """
    with writing() as tables:
        target = _first_deleted(tables)
        if target is None:
            return 0
        tables.set_segments([entry for entry in tables.segments() if entry.end <= target])
        tables.set_counter("compactions", tables.counter("compactions") + 1)
    source, lost = target, -1
    while lost < 0:
        with writing() as tables:
            rows = _live_from(tables, source, step_rows)
            if rows.size:
                _move(tables, rows, target)
                source, target = int(rows[-1]) + 1, target + rows.size
            else:
                lost = tables.rows.count - target
                tables.rows.truncate(target)
                tables.set_counter("rows", target)
            total = tables.rows.count
        report(min(source, total), total)
    return lost


def _first_deleted(tables: Tables) -> int | None:
    for block in tables.rows.blocks():
        deleted = np.flatnonzero(block.column("flags") & DELETED)
        if deleted.size:
            return block.start + int(deleted[0])
    return None


def _live_from(tables: Tables, source: int, most: int) -> NDArray[np.int64]:
    """Next rows that are not deleted, about `most`: all rows of an instance or none."""
    found = np.empty(0, np.int64)
    for block in tables.rows.blocks():
        if block.start + block.rows > source and found.size < most:
            here = np.flatnonzero(~block.column("flags") & DELETED) + block.start
            found = np.concatenate([found, here[here >= source]])
    found = found[:most]
    if found.size:
        last = tables.node(Level.IMAGE, int(tables.rows.gather("instance", found[-1:])[0, 0]))
        assert last is not None, "a row that is not deleted has a record"
        found = np.concatenate([found, last.rows[last.rows > found[-1]]])
    return found


def _move(tables: Tables, rows: NDArray[np.int64], target: int) -> None:
    """Move rows to the consecutive ones from `target` on, which are deleted or among them."""
    places = np.arange(target, target + rows.size)
    for name in (CODES, *COLUMNS):
        tables.rows.write(name, places, tables.rows.gather(name, rows))
    left = rows[rows >= target + rows.size]
    tables.rows.write("flags", left, np.full((1, left.size), DELETED))
    instances, first = np.unique(tables.rows.gather("instance", places)[0], return_index=True)
    for instance, place in zip(instances.tolist(), places[first].tolist(), strict=True):
        node = tables.node(Level.IMAGE, instance)
        assert node is not None, "a row that is not deleted has a record"
        tables.put(Level.IMAGE, instance, replace(node, first_row=place))
