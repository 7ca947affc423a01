"""Every choice of how a query is answered: by index or scan, with the filter first or last.

The answer is the same either way; `storage.segments.costs` has the table of what each takes. A multi-index knows
neither filters nor deletions nor groups: it returns the nearest rows, those that fail are dropped, and if too few are
left it is searched for more. Its first steps cost nothing beside a scan, and most queries end there. For the others the
question is how far the k-th nearest is: no farther than that found so far, and about as far as a sample says.
"""

from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.database.blocks import CODES
from storage.database.columns import COLUMNS, DELETED
from storage.search.kernels.bitset import Bits, every, keep
from storage.search.kernels.distance import WORD, packed
from storage.search.kernels.select import select
from storage.search.local_snapshot import LocalSnapshot
from storage.search.scan import Distances, Rows, ScanQuery, ScanResult, sweep
from storage.search.threads import thread_count
from storage.segments import costs
from storage.segments.costs import predicted_distance, rows_taken, scan_ns
from storage.segments.probe import ABANDONED, BUCKETS, NO_ADDRESSES, ROWS, Buckets, probe
from storage.segments.segment_file import Segment
from storage.segments.top_k import NO_GROUPS, Results, TopK, ascending, new_results, new_top_k

SAMPLED_PIECES, SAMPLED_ROWS = 16, 1024
"""Pieces of the sample on which a filter is tried, and rows of each."""
ATTEMPTS: Final = 3
SPARE: Final = 1.5
"""Rows that the next attempt searches for, as a multiple of those that seem to be needed."""
MIN_ROOM: Final = 1 << 14
"""Rows of results, beside eight times those wanted: more tie only where a scan is better."""
FREE: Final = 0.02
"""Part of a scan's time that may be spent in an index before predicting."""
MAX_UNPREDICTED: Final = 0.1
"""Part of a scan's time in which so many rows are looked at that predictions no longer hold."""
QUICK_NS: Final = 2_000_000.0
"""A scan so quick that even the first steps count: the sample is consulted before them if it is large enough."""


def find(snapshot: LocalSnapshot, query: ScanQuery, *, threads: int | None = None) -> ScanResult:
    """Find every row of the answer, and others, by whichever way is cheapest."""
    found = by_index(snapshot, query, threads=threads)
    if found is not None:
        return found
    return sweep(snapshot, query, filter_first=is_filter_first_cheaper(snapshot, query), threads=threads)


def is_filter_first_cheaper(snapshot: LocalSnapshot, query: ScanQuery) -> bool:
    """True if a scan should test columns before distances, by trying the filter on a sample."""
    if query.candidates is None or not snapshot.rows:
        return False
    sample = snapshot.sample(SAMPLED_PIECES, SAMPLED_ROWS, query.candidates.columns)
    bits, rows, first_ns = every(sample.counts), int(sample.counts.sum()), 0.0
    code_ns = costs.SCAN_NS * query.queries.shape[1]
    for column, condition in query.candidates.tests:
        first_ns += costs.BYTE_NS * np.dtype(COLUMNS[column]).itemsize * _rows_read(bits)
        keep(sample.counts, sample.addresses[column], condition, bits)
    passed = int(np.bitwise_count(bits).sum())
    if not passed:
        return True
    near = rows_taken(snapshot.rows * passed / rows, query.k) * rows / passed * rows / snapshot.rows
    last_ns = code_ns * rows + near * (costs.NEAR_NS + len(query.candidates.tests) * costs.TEST_NS)
    return bool(first_ns + code_ns * _rows_read(bits) < last_ns)


def _rows_read(bits: Bits) -> int:
    """Number of rows that are read where only some are looked at: all neighbours of a row in its word of bits."""
    return WORD * int(np.count_nonzero(bits))


def by_index(
    snapshot: LocalSnapshot, query: ScanQuery, *, threads: int | None = None, budget_ns: float | None = None
) -> ScanResult | None:
    """As `find`, but None where there is no index or a scan is cheaper.

    Parameters
    ----------
    budget_ns
        What a scan costs; None for a prediction.
    """
    if budget_ns is None:
        budget_ns = scan_ns(snapshot.rows, query.queries.shape[1], thread_count(snapshot.rows, threads), query.k)
    segments = snapshot.segments if budget_ns > costs.CALL_NS else []
    if not segments:
        return None
    index, limit = _index(snapshot, segments), min(query.maximum_distance, snapshot.code_length)
    wanted = query.k
    for _ in range(ATTEMPTS):
        near = index.nearest(packed(query.queries), wanted, limit, budget_ns)
        if near is None:
            return None
        found = _passing(snapshot, query, near)
        if near.complete_to >= limit or found.entities >= query.k:
            return found
        wanted = max(2 * wanted, int(SPARE * query.k * near.rows.size / max(1, found.entities)))
    return None


class _Near(NamedTuple):
    """Rows ascending, and the distance up to which none is missing."""

    rows: Rows
    distances: Distances
    complete_to: int


class _Index:
    """The segments of one snapshot, the largest first, and the rows behind them, which are scanned last.

    The sooner many near rows are known, the less is looked at.
    """

    def __init__(self, snapshot: LocalSnapshot, segments: Sequence[Segment]) -> None:
        self._rows, self._code_length = snapshot.rows, snapshot.code_length
        self._segments = [
            (segment, _buckets(snapshot, segment))
            for segment in sorted(segments, key=lambda segment: -segment.entry.rows)
        ]
        self._tail = snapshot.cut(snapshot.rows, (), segments[-1].entry.end)

    def nearest(self, queries: Codes, wanted: int, limit: int, budget_ns: float) -> _Near | None:
        """Find the `wanted` rows nearest to any query, with all that tie, or all within a limit; None to scan instead.

        What is nearest to any query is among what is nearest to each.
        """
        pieces: list[tuple[Rows, Distances]] = []
        for query in queries:
            top_k, results = new_top_k(wanted, limit, self._code_length), new_results(MIN_ROOM + 8 * wanted)
            if not all(self._search(*segment, query, top_k, results, budget_ns) for segment in self._segments):
                return None
            if not self._search_tail(query, top_k, results):
                return None
            limit, size = int(top_k.threshold[0]), int(results.size[0])
            pieces.append((results.rows[:size], results.distances[:size]))
        rows, distances = pieces[0] if len(pieces) == 1 else map(np.concatenate, zip(*pieces, strict=True))
        rows, distances, _ = ascending(rows, distances, NO_GROUPS, limit)
        if len(pieces) > 1:  # a row may be near several queries
            rows, first = np.unique(rows, return_index=True)
            distances = np.minimum.reduceat(distances, first) if rows.size else distances
        return _Near(rows, distances, limit)

    def _search(
        self,
        segment: Segment,
        buckets: Buckets,
        query: NDArray[np.uint64],
        top_k: TopK,
        results: Results,
        budget_ns: float,
    ) -> bool:
        """Search one segment; False as soon as a scan is the better way."""
        table, work, part = segment.costs, np.zeros(2, np.int64), top_k.k / self._rows
        sampled = cache(lambda: predicted_distance(segment.sample, query, part))
        if budget_ns < QUICK_NS and part * segment.sample.shape[1] >= 1:
            distance = min(int(top_k.threshold[0]), sampled())
            if table.ns(0, distance + 1, table.load) > budget_ns:
                return False
        search = (buckets, segment.probe_query(query), top_k, results, work)
        max_rows = int(budget_ns / table.row_ns)
        step = probe(*search, 0, table.affordable(FREE * budget_ns), int(MAX_UNPREDICTED * max_rows))
        threshold = int(top_k.threshold[0])
        if step == ABANDONED or step > threshold:
            return bool(step != ABANDONED)
        load = int(work[ROWS]) / max(1, int(work[BUCKETS]))
        if table.ns(step, threshold + 1, load) > budget_ns:  # what was found tells too little: ask the sample
            distance = min(threshold, sampled())
            if table.ns(step, distance + 1, load) > budget_ns:
                return False
        return bool(probe(*search, step, table.steps, max_rows) != ABANDONED)

    def _search_tail(self, query: NDArray[np.uint64], top_k: TopK, results: Results) -> bool:
        """Scan the rows behind the segments; False when too many tie."""
        for chunk in self._tail:
            position = np.zeros(2, np.int64)
            select(chunk.parts(), query[None], None, top_k, results, position)
            if position[0] < chunk.rows.size:
                return False
        return True


def _index(snapshot: LocalSnapshot, segments: Sequence[Segment]) -> _Index:
    """The index of a state of the database: of more segments once their files are checked."""
    names = tuple(segment.entry.name for segment in segments)
    return snapshot.computed(names, lambda: _Index(snapshot, segments))


def _buckets(snapshot: LocalSnapshot, segment: Segment) -> Buckets:
    """The buckets of a segment, with the addresses of its codes if these are in the database."""
    size = snapshot.records.layout.block_rows
    shift = size.bit_length() - 1
    if segment.layout.inline:
        return segment.buckets(NO_ADDRESSES, shift)
    first_rows = np.arange(segment.entry.first_row, segment.entry.end, size)
    return segment.buckets(snapshot.each(first_rows, [CODES]).addresses[CODES], shift)


def _passing(snapshot: LocalSnapshot, query: ScanQuery, near: _Near) -> ScanResult:
    """Drop the rows that are deleted or no candidates, and add the groups of the others."""
    live = snapshot.values("flags", near.rows) & DELETED == 0
    if query.candidates is not None:
        bits = live.astype(np.uint64)
        query.candidates.refine(snapshot.each(near.rows, query.candidates.columns), bits)
        live = bits != 0
    rows, distances = (near.rows, near.distances) if live.all() else (near.rows[live], near.distances[live])
    groups = snapshot.values(query.group_column, rows) if query.group_column else NO_GROUPS
    return ScanResult(rows, distances, groups)
