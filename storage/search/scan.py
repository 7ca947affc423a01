"""One pass over every row where it lies, on all cores."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.search.filter import Candidates
from storage.search.kernels.bitset import every
from storage.search.kernels.distance import packed
from storage.search.kernels.select import MAX_LISTED, MIN_LISTED, list_near, new_listing, select, take_listed
from storage.search.local_snapshot import Chunk, LocalSnapshot
from storage.search.threads import MIN_SHARED_ROWS, share, thread_count
from storage.segments.top_k import NO_GROUPS, Results, ascending, lower, new_results, new_top_k

Rows = NDArray[np.int64]
Distances = NDArray[np.uint16]
CHUNKS_PER_THREAD: Final = 8
"""Enough that a thread which is held up does little of the work."""
MAX_BIT_ROWS: Final = 1 << 22
"""Rows of a chunk whose candidates are bits: these stay in the caches."""
SELECTIVE: Final = 3 / 8
"""Part of the bits: unlike codes are within it for 3 in 100 rows, so a threshold below it leaves few rows to test."""


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

    Parameters
    ----------
    filter_first
        True to test the columns of all rows before their distances, False to test those of near rows only.
    threads
        None for one a core if that is quicker than one alone.
    """
    threshold, n_threads = [min(query.maximum_distance, snapshot.code_length)], thread_count(snapshot.rows, threads)
    chunk_rows = max(snapshot.rows // (n_threads * CHUNKS_PER_THREAD if n_threads > 1 else 1), MIN_SHARED_ROWS)
    chunks = snapshot.cut(min(chunk_rows, MAX_BIT_ROWS) if filter_first else chunk_rows, query.columns)
    workers = [Worker(query, threshold[0], snapshot.code_length, filter_first=filter_first) for _ in range(n_threads)]

    def work(worker: Worker, chunk: Chunk) -> None:
        """Scan a chunk, beginning with the least threshold that any thread has reached."""
        threshold[0] = min(threshold[0], worker.search(chunk, threshold[0]))

    share(chunks, workers, work)
    pieces = [results for worker in workers for results in worker.results]
    rows, distances, groups = (
        np.concatenate([getattr(results, name)[: results.size[0]] for results in pieces])
        for name in ("rows", "distances", "groups")
    )
    return ScanResult(*ascending(rows, distances, groups if query.group_column else NO_GROUPS, threshold[0]))


class Worker:
    """One thread's scan of chunk after chunk, in row order, for the rows that may be among the nearest.

    Parameters
    ----------
    limit
        Greatest distance that matters, in bits.
    filter_first
        As for `sweep`.

    Attributes
    ----------
    results
        All rows collected.
    """

    def __init__(self, query: ScanQuery, limit: int, code_length: int, *, filter_first: bool) -> None:
        self._query, self._filter_first, self._queries = query, filter_first, packed(query.queries)
        self._top_k = new_top_k(query.k, limit, code_length, query.groups)
        self.results = [new_results(MAX_LISTED)]

    def search(self, chunk: Chunk, limit: int) -> int:
        """Scan a chunk, knowing that nothing beyond `limit` matters; return the limit known then."""
        lower(self._top_k, limit)
        first, candidates = 0, self._query.candidates
        if candidates is None or self._filter_first:
            self._search_candidates(chunk)
            return self._threshold
        while first < chunk.rows.size and self._threshold > self._top_k.counts.size * SELECTIVE:  # nearly all are near
            self._search_candidates(chunk.parts_from(first, first + 1))
            first += 1
        self._search_near(chunk.parts_from(first, chunk.rows.size), candidates)
        return self._threshold

    @property
    def _threshold(self) -> int:
        return int(self._top_k.threshold[0])

    def _search_candidates(self, chunk: Chunk) -> None:
        """Test the columns of all rows, then look at the candidates."""
        parts, bits, position = chunk.parts(self._query.group_column), None, np.zeros(2, np.int64)
        if self._query.candidates is not None:
            bits = every(chunk.counts)
            self._query.candidates.refine(chunk, bits)
        while position[0] < chunk.rows.size:
            select(parts, self._queries, bits, self._top_k, self._room(MIN_LISTED), position)

    def _search_near(self, chunk: Chunk, candidates: Candidates) -> None:
        """Test the columns of near rows only: of few at a time, so that the threshold falls early."""
        parts, position, max_rows = chunk.parts(self._query.group_column), np.zeros(2, np.int64), MIN_LISTED
        listing = new_listing(MAX_LISTED)
        while position[0] < chunk.rows.size:
            size = list_near(parts, self._queries, self._threshold, None, max_rows, listing, position)
            left = candidates.refine_listed(chunk, listing, size)
            take_listed(parts, listing, left, self._top_k, self._room(left))
            max_rows = min(MAX_LISTED, MIN_LISTED + self._query.k * size // max(1, left))

    def _room(self, rows: int) -> Results:
        """Results with room for some rows more."""
        if self.results[-1].size[0] + rows > MAX_LISTED:
            self.results.append(new_results(MAX_LISTED))
        return self.results[-1]
