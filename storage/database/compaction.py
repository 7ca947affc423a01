"""Compaction: rows move together, so that deleted rows take neither space nor time.

It runs in small steps. Each is one transaction after which the database is whole, so queries and the indexer go on
meanwhile, and a later run continues where a killed one stopped. Rows keep their order.
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
"""Progress: called with the rows done and the rows of the whole."""


def compact(writing: Writing, report: Report = lambda _done, _all: None, step_rows: int = STEP_ROWS) -> int:
    """Move every row behind a deleted one forward; return the number of rows that the database lost.

    Parameters
    ----------
    writing
        Opens a write transaction.
    step_rows
        Number of rows to move in one transaction.

    Notes
    -----
    The segments of rows that move are dropped first: these rows are scanned until segments are built again.
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
    """Next rows that are not deleted: `most` of them, and the rest of the last instance."""
    rows = np.empty(0, np.int64)
    for block in tables.rows.blocks():
        if block.start + block.rows > source and rows.size < most:
            here = np.flatnonzero(~block.column("flags") & DELETED) + block.start
            rows = np.concatenate([rows, here[here >= source]])
    rows = rows[:most]
    if rows.size:
        last = tables.node(Level.IMAGE, int(tables.rows.gather("instance", rows[-1:])[0, 0]))
        assert last is not None, "a row that is not deleted has a record"
        rows = np.concatenate([rows, last.rows[last.rows > rows[-1]]])
    return rows


def _move(tables: Tables, rows: NDArray[np.int64], target: int) -> None:
    """Move rows to the consecutive row numbers from `target` on, which are deleted or among the moved."""
    targets = np.arange(target, target + rows.size)
    for name in (CODES, *COLUMNS):
        tables.rows.write(name, targets, tables.rows.gather(name, rows))
    left = rows[rows >= target + rows.size]
    tables.rows.write("flags", left, np.full((1, left.size), DELETED))
    instances, first = np.unique(tables.rows.gather("instance", targets)[0], return_index=True)
    for instance, first_row in zip(instances.tolist(), targets[first].tolist(), strict=True):
        node = tables.node(Level.IMAGE, instance)
        assert node is not None, "a row that is not deleted has a record"
        tables.put(Level.IMAGE, instance, replace(node, first_row=first_row))
