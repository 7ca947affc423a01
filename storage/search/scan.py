"""One pass over every row where it lies, on all cores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.search.filter import Candidates
from storage.search.kernels.bitset import every
from storage.search.kernels.distance import Parts, packed
from storage.search.kernels.select import (
    MAX_LISTED,
    MIN_LISTED,
    Listing,
    list_candidates,
    list_near,
    new_listing,
    select,
    take_listed,
)
from storage.search.local_snapshot import Chunk, LocalSnapshot
from storage.search.threads import MIN_SHARED_ROWS, share, thread_count
from storage.segments.costs import MIN_SAMPLED_K
from storage.segments.top_k import NO_GROUPS, ascending, lower, new_results, new_top_k

Rows = NDArray[np.int64]
Distances = NDArray[np.uint16]
CHUNKS_PER_THREAD: Final = 8
"""Enough that a thread which is held up does little of the work."""
MAX_BIT_ROWS: Final = 1 << 22
"""Rows of a chunk whose candidates are bits: these stay in the caches."""
SELECTIVE: Final = 3 / 8
"""Part of the bits: unlike codes are within it for 3 in 100 rows, so a threshold below it leaves few rows to test."""
SAMPLED_PART, SAMPLED_ROWS = 64, 256
"""Before a scan for many rows, one row in SAMPLED_PART is read, in pieces of SAMPLED_ROWS neighbours."""


@dataclass(frozen=True, slots=True)
class ScanQuery:
    """The rows that a scan is to find.

    Attributes
    ----------
    queries : (queries, words)
        The distance of a row is that to the nearest of them.
    k
        Number of rows or groups to find; all that tie with the k-th are found too.
    maximum_distance
        In bits, inclusive.
    candidates
        Filter; None if every row is a candidate.
    group_column
        Rows with the same value of this column count once; None if each row counts.
    groups
        One more than the greatest value of that column, or 0 if equal values follow each other.
    """

    queries: Codes
    k: int
    maximum_distance: int
    candidates: Candidates | None = None
    group_column: str | None = None
    groups: int = 0

    @property
    def columns(self) -> set[str]:
        """Columns that are read beside codes and flags."""
        return {*(self.candidates.columns if self.candidates else ()), *filter(None, [self.group_column])}


@dataclass(frozen=True, slots=True)
class ScanResult:
    """Every row of the answer to a query, and others.

    Attributes
    ----------
    rows, distances, groups : (n,)
        Rows ascending; distance from the nearest query; value of the group column, empty without one.
    """

    rows: Rows
    distances: Distances
    groups: NDArray[np.uint32]

    @property
    def entities(self) -> int:
        """Number of groups, or of rows if these are not grouped."""
        return np.unique(self.groups).size if self.groups.size else self.rows.size


def sweep(
    snapshot: LocalSnapshot, query: ScanQuery, *, filter_first: bool = False, threads: int | None = None
) -> ScanResult:
    """Scan all rows; the result holds every row of the answer, and others.

    A scan for many rows begins with the threshold that a sample of the rows suggests, because taking rows that others
    displace later costs more than reading. If fewer than k rows lie within it, all are scanned once more without it.

    Parameters
    ----------
    filter_first
        True to test the columns of all rows before their distances, False to test those of near rows only.
    threads
        None for one a core if that is quicker than one alone.
    """
    limit = min(query.maximum_distance, snapshot.code_length)
    if query.k >= MIN_SAMPLED_K and not query.groups:
        first = _sampled_threshold(snapshot, query, limit)
        found = _sweep(snapshot, query, first, threads, filter_first=filter_first)
        if first == limit or found.entities >= query.k:
            return found
    return _sweep(snapshot, query, limit, threads, filter_first=filter_first)


def _sampled_threshold(snapshot: LocalSnapshot, query: ScanQuery, limit: int) -> int:
    """Distance within which k rows probably lie: four standard deviations more than a sample needs."""
    pieces = snapshot.rows // (SAMPLED_PART * SAMPLED_ROWS) + 1
    expected = query.k * pieces * SAMPLED_ROWS / max(snapshot.rows, 1)
    sampled = replace(query, k=ceil(expected + 4 * sqrt(expected) + 4))
    chunk = snapshot.sample(pieces, SAMPLED_ROWS, query.columns)
    return Worker(sampled, limit, snapshot.code_length, filter_first=False).search(chunk, limit)


def _sweep(
    snapshot: LocalSnapshot, query: ScanQuery, limit: int, threads: int | None, *, filter_first: bool
) -> ScanResult:
    """Scan all rows for those within a limit."""
    n_threads = thread_count(snapshot.rows, threads)
    chunk_rows = max(snapshot.rows // (n_threads * CHUNKS_PER_THREAD if n_threads > 1 else 1), MIN_SHARED_ROWS)
    chunks = snapshot.cut(min(chunk_rows, MAX_BIT_ROWS) if filter_first else chunk_rows, query.columns)
    workers = [Worker(query, limit, snapshot.code_length, filter_first=filter_first) for _ in range(n_threads)]
    threshold = [limit]

    def work(worker: Worker, chunk: Chunk) -> None:
        """Scan a chunk, beginning with the least threshold that any thread has reached."""
        threshold[0] = min(threshold[0], worker.search(chunk, threshold[0]))

    share(chunks, workers, work)
    pieces = [piece for worker in workers for piece in worker.pieces()]
    columns = [(piece.rows, piece.distances, piece.groups) for piece in pieces]
    rows, distances, groups = columns[0] if len(columns) == 1 else map(np.concatenate, zip(*columns, strict=True))
    return ScanResult(*ascending(rows, distances, groups, threshold[0]))


class Worker:
    """One thread's scan of chunk after chunk, in row order, for the rows that may be among the nearest.

    Parameters
    ----------
    limit
        Greatest distance that matters, in bits.
    filter_first
        As for `sweep`.
    """

    def __init__(self, query: ScanQuery, limit: int, code_length: int, *, filter_first: bool) -> None:
        self._query, self._filter_first, self._queries = query, filter_first, packed(query.queries)
        self._top_k = new_top_k(query.k, limit, code_length, query.groups)
        self._results = new_results(MAX_LISTED)
        self._full: list[ScanResult] = []

    def search(self, chunk: Chunk, limit: int) -> int:
        """Scan a chunk, knowing that nothing beyond `limit` matters; return the limit known then."""
        if limit < self._threshold:
            lower(self._top_k, limit)
        candidates, part, end = self._query.candidates, 0, chunk.rows.size
        if candidates is None:
            self._search_all(chunk)
        elif self._filter_first:
            self._search_candidates(chunk, candidates)
        else:
            while part < end and self._threshold > self._top_k.counts.size * SELECTIVE:  # nearly all rows are near
                self._search_candidates(chunk.parts_from(part, part + 1), candidates)
                part += 1
            self._search_near(chunk.parts_from(part, end), candidates)
        return self._threshold

    def pieces(self) -> Sequence[ScanResult]:
        """All rows collected, piece by piece."""
        return [*self._full, self._piece()]

    @cached_property
    def _listing(self) -> Listing:
        return new_listing()

    @property
    def _threshold(self) -> int:
        return int(self._top_k.threshold[0])

    def _search_all(self, chunk: Chunk) -> None:
        """Look at every row."""
        parts, position = chunk.parts(self._query.group_column), np.zeros(2, np.int64)
        while position[0] < chunk.rows.size:
            self._make_room(MIN_LISTED)
            select(parts, self._queries, self._top_k, self._results, position)

    def _search_near(self, chunk: Chunk, candidates: Candidates) -> None:
        """Test the columns of near rows only: of few at a time, so that the threshold falls early."""
        parts, position, max_rows = chunk.parts(self._query.group_column), np.zeros(2, np.int64), MIN_LISTED
        while position[0] < chunk.rows.size:
            size = list_near(parts, self._queries, self._threshold, max_rows, self._listing, position)
            left = candidates.refine_listed(chunk, self._listing, size)
            self._take(parts, left)
            max_rows = min(MAX_LISTED, MIN_LISTED + self._query.k * size // max(1, left))

    def _search_candidates(self, chunk: Chunk, candidates: Candidates) -> None:
        """Test the columns of all rows, then look at the candidates."""
        parts, bits = chunk.parts(self._query.group_column), every(chunk.counts)
        candidates.refine(chunk, bits)
        position, max_rows = np.zeros(3, np.int64), MIN_LISTED
        while position[0] < chunk.rows.size:
            limit = self._threshold
            self._take(parts, list_candidates(parts, self._queries, limit, bits, max_rows, self._listing, position))
            max_rows = min(MAX_LISTED, 2 * max_rows)

    def _take(self, parts: Parts, size: int) -> None:
        self._make_room(size)
        take_listed(parts, self._queries, self._listing, size, self._top_k, self._results)

    def _make_room(self, rows: int) -> None:
        if self._results.size[0] + rows > MAX_LISTED:
            piece = self._piece()
            self._full.append(ScanResult(piece.rows.copy(), piece.distances.copy(), piece.groups.copy()))
            self._results.size[0] = 0

    def _piece(self) -> ScanResult:
        results, here = self._results, slice(self._results.size[0])
        groups = results.groups[here] if self._query.group_column else NO_GROUPS
        return ScanResult(results.rows[here], results.distances[here], groups)
