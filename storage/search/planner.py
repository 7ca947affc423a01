"""The rows nearest to a query: by multi-index where rows have settled, by scan else or where it is cheaper.

The answer is the same either way. A multi-index knows neither filters nor deletions nor groups: it is asked for so many
rows, these are looked at, and if too few of them are left it is asked for more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.database.blocks import CODES
from storage.database.columns import DELETED
from storage.search.kernels.state import NO_GROUPS, ascending, packed
from storage.search.local_snapshot import LocalSnapshot
from storage.search.scan import sweep
from storage.search.scan_query import Distances, Found, Rows, Task
from storage.search.threads import thread_count
from storage.segments.costs import CALL_NS, FREE, MOST_ROWS, QUICK_NS, predicted_distance, scan_ns
from storage.segments.probe import NO_ADDRESSES, Buckets, probe
from storage.segments.segment_file import Segment
from storage.segments.top_k import ABANDONED, BUCKETS, NOTED, ROWS, THRESHOLD, Findings, look_at_all

ATTEMPTS: Final = 3
SPARE: Final = 1.5
"""How many times as many rows are asked for as seem to be needed."""
ROOM: Final = 1 << 14
"""Rows that may be noted, beside eight times those wanted: more tie only where a scan is better."""


def find(snapshot: LocalSnapshot, task: Task, *, threads: int | None = None) -> Found:
    """Find every row of the answer to a task, and others, by whichever way is cheaper."""
    found = by_index(snapshot, task, threads=threads)
    return sweep(snapshot, task, threads=threads) if found is None else found


def by_index(
    snapshot: LocalSnapshot, task: Task, *, threads: int | None = None, budget_ns: float | None = None
) -> Found | None:
    """As `find`, but None where there is no index or a scan is cheaper.

    Parameters
    ----------
    budget_ns
        What a scan costs; None for a prediction.
    """
    if budget_ns is None:
        budget_ns = scan_ns(snapshot.rows, task.queries.shape[1], thread_count(snapshot.rows, threads), task.k)
    segments = snapshot.segments if budget_ns > CALL_NS else []
    if not segments:
        return None
    index, limit = _of(snapshot, segments), min(task.maximum_distance, snapshot.code_length)
    queries = packed(task.queries)
    wanted = task.k
    for _ in range(ATTEMPTS):
        near = index.nearest(queries, wanted, limit, budget_ns)
        if near is None:
            return None
        found = _passing(snapshot, task, near)
        reached = _entities(found, task)
        if near.complete_to >= limit or reached >= task.k:
            return found
        wanted = max(2 * wanted, int(SPARE * task.k * near.rows.size / max(1, reached)))
    return None


@dataclass(frozen=True, slots=True)
class _Near:
    """Rows ascending, and the distance up to which none is missing."""

    rows: Rows
    distances: Distances
    complete_to: int


class _Index:
    """One snapshot: its segments, the largest first, and the rows behind them, which are scanned last.

    The sooner many near rows are known, the less is looked at.
    """

    def __init__(self, snapshot: LocalSnapshot, segments: Sequence[Segment]) -> None:
        self._rows, self._code_length = snapshot.rows, snapshot.code_length
        self._segments = [
            (segment, _buckets(snapshot, segment)) for segment in sorted(segments, key=lambda one: -one.entry.rows)
        ]
        self._tail = snapshot.addresses.cut([snapshot.rows], (), segments[-1].entry.end)

    def nearest(self, queries: Codes, wanted: int, limit: int, budget_ns: float) -> _Near | None:
        """Find the `wanted` rows nearest to any query, with all that tie, or all within a limit; None to scan instead.

        What is nearest to any query is among what is nearest to each.
        """
        pieces: list[tuple[Rows, Distances]] = []
        for query in queries:
            room = ROOM + 8 * wanted
            state, counts = np.array([limit, 0, 0, 0, 0]), np.zeros(self._code_length + 1, np.int64)
            findings = Findings(wanted, state, counts, np.empty(room, np.int64), np.empty(room, np.uint16))
            if not all(self._search(*one, query, findings, budget_ns) for one in self._segments):
                return None
            for chunk in self._tail:
                if look_at_all(chunk.addresses[CODES], chunk.rows, chunk.counts, query, findings) == ABANDONED:
                    return None
            limit = int(state[THRESHOLD])
            pieces.append((findings.rows[: state[NOTED]], findings.distances[: state[NOTED]]))
        rows, distances = pieces[0] if len(pieces) == 1 else map(np.concatenate, zip(*pieces, strict=True))
        rows, distances, _ = ascending(rows, distances, NO_GROUPS, limit)
        if len(pieces) > 1:  # a row may be near several queries
            rows, first = np.unique(rows, return_index=True)
            distances = np.minimum.reduceat(distances, first) if rows.size else distances
        return _Near(rows, distances, limit)

    def _search(
        self, segment: Segment, buckets: Buckets, query: NDArray[np.uint64], findings: Findings, budget_ns: float
    ) -> bool:
        """Search one segment; False as soon as a scan is the better way."""
        costs, state, part = segment.costs, findings.state, findings.k / self._rows
        state[BUCKETS] = state[ROWS] = 0
        sampled = cache(lambda: predicted_distance(segment.sample, query, part))
        if budget_ns < QUICK_NS and part * segment.sample.shape[1] >= 1:
            distance = min(int(state[THRESHOLD]), sampled())
            if costs.ns(0, distance + 1, costs.load) > budget_ns:
                return False
        question, most_rows = segment.question(query), int(budget_ns / costs.row_ns)
        free = costs.affordable(FREE * budget_ns)
        step = probe(buckets, question, findings, 0, free, int(MOST_ROWS * most_rows))
        if step == ABANDONED or step > state[THRESHOLD]:
            return bool(step != ABANDONED)
        threshold, load = int(state[THRESHOLD]), state[ROWS] / max(1, state[BUCKETS])
        if costs.ns(step, threshold + 1, load) > budget_ns:  # what was found tells too little: ask the sample
            distance = min(threshold, sampled())
            if costs.ns(step, distance + 1, load) > budget_ns:
                return False
        return bool(probe(buckets, question, findings, step, costs.steps, most_rows) != ABANDONED)


def _of(snapshot: LocalSnapshot, segments: Sequence[Segment]) -> _Index:
    """The index of a state of the database: of more segments once their files are checked."""
    names = tuple(segment.entry.name for segment in segments)
    return snapshot.addresses.remember(names, lambda: _Index(snapshot, segments))


def _buckets(snapshot: LocalSnapshot, segment: Segment) -> Buckets:
    """Where a segment and, if it is without, its codes lie."""
    size, shift = snapshot.layout.block_rows, snapshot.layout.block_rows.bit_length() - 1
    if segment.design.inline:
        return segment.buckets(NO_ADDRESSES, shift)
    first_rows = np.arange(segment.entry.first_row, segment.entry.end, size)
    return segment.buckets(snapshot.addresses.each(first_rows, [CODES]).addresses[CODES], shift)


def _passing(snapshot: LocalSnapshot, task: Task, near: _Near) -> Found:
    """Leave out the rows that were deleted or are no candidates, and say to which group the others belong."""
    kept = snapshot.addresses.values("flags", near.rows) & DELETED == 0
    if task.sieve is not None:
        bits = kept.astype(np.uint64)
        task.sieve.refine(snapshot.addresses.each(near.rows, task.sieve.columns), bits)
        kept = bits != 0
    rows, distances = (near.rows, near.distances) if kept.all() else (near.rows[kept], near.distances[kept])
    return Found(
        rows, distances, snapshot.addresses.values(task.group_column, rows) if task.group_column else NO_GROUPS
    )


def _entities(found: Found, task: Task) -> int:
    """How many groups were found, or rows where rows count."""
    return found.rows.size if task.group_column is None else np.unique(found.groups).size
