"""The scan of one thread: it goes over chunk after chunk and collects the rows that may be among the nearest."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from storage.search.addresses import Chunk
from storage.search.kernels.bitset import Bits, every
from storage.search.kernels.select import (
    MAX_LISTED,
    MIN_LISTED,
    list_near,
    list_near_set,
    list_set,
    new_listing,
    select,
    take_listed,
)
from storage.search.kernels.state import NO_GROUPS, Parts, grouped, packed
from storage.search.scan_query import FilterOrder, ScanQuery, ScanResult
from storage.segments.top_k import lower, new_results, new_top_k

SELECTIVE: Final = 3 / 8
"""Part of the bits: unlike codes are within it for 3 in 100 rows, so a threshold below it leaves few rows to test."""


class Worker:
    """One thread's scan of chunk after chunk, in row order.

    Parameters
    ----------
    limit
        Greatest distance that matters, in bits.
    """

    def __init__(self, query: ScanQuery, order: FilterOrder, limit: int, code_length: int) -> None:
        self._query, self._order, self._queries = query, order, packed(query.queries)
        self._nearest = grouped(new_top_k(query.k, limit, code_length), query.groups)
        self._listing, self._results = new_listing(), new_results(MAX_LISTED)
        self._full: list[ScanResult] = []

    def search(self, chunk: Chunk, limit: int) -> int:
        """Scan a chunk, knowing that nothing beyond `limit` matters; return the limit known then."""
        if limit < self._threshold:
            lower(self._nearest.top_k, limit)
        if self._query.candidates is None:
            self._search_all(chunk)
        elif self._order is not FilterOrder.LAST:
            self._search_candidates(chunk, self._order)
        else:
            part, end, first = 0, chunk.rows.size, self._nearest.top_k.counts.size * SELECTIVE
            while part < end and self._threshold > first:  # nearly all rows are near: their columns are tested at once
                self._search_candidates(chunk.parts_from(part, part + 1), FilterOrder.WORDS)
                part += 1
            self._search_near(chunk.parts_from(part, end))
        return self._threshold

    def results(self) -> list[ScanResult]:
        """All rows collected, piece by piece."""
        return [*self._full, self._piece()]

    def rehearse(self, chunk: Chunk) -> None:
        """Scan a chunk in each way there is, so that every loop is compiled."""
        lower(self._nearest.top_k, self._threshold)
        self._search_all(chunk)
        self._search_near(chunk)
        for order in (FilterOrder.WORDS, FilterOrder.ROWS):
            self._search_candidates(chunk, order)

    @property
    def _threshold(self) -> int:
        return int(self._nearest.top_k.threshold[0])

    def _search_all(self, chunk: Chunk) -> None:
        """Look at every row."""
        parts, position = chunk.parts(self._query.group_column), np.zeros(2, np.int64)
        while position[0] < chunk.rows.size:
            self._make_room(MIN_LISTED)
            select(parts, self._queries, self._nearest, self._listing, self._results, position)

    def _search_near(self, chunk: Chunk) -> None:
        """Test the columns of near rows only: of few at a time, so that the threshold falls early."""
        parts, position, max_rows = chunk.parts(self._query.group_column), np.zeros(2, np.int64), MIN_LISTED
        assert self._query.candidates is not None
        while position[0] < chunk.rows.size:
            listed = list_near(parts, self._queries, self._threshold, max_rows, self._listing, position)
            left = self._query.candidates.refine_listed(chunk, self._listing, listed)
            self._take(parts, left)
            max_rows = min(MAX_LISTED, MIN_LISTED + self._query.k * listed // max(1, left))

    def _search_candidates(self, chunk: Chunk, order: FilterOrder) -> None:
        """Test the columns of all rows, then look at the candidates."""
        parts, bits = chunk.parts(self._query.group_column), every(chunk.counts)
        assert self._query.candidates is not None
        self._query.candidates.refine(chunk, bits)
        position, max_rows = np.zeros(3, np.int64), MIN_LISTED
        while position[0] < parts.rows.size:
            if order is FilterOrder.ROWS:
                listed = list_set(parts.counts, bits, self._listing, position)
            else:
                listed = self._list_words(parts, bits, max_rows, position)
            self._take(parts, listed)
            max_rows = min(MAX_LISTED, 2 * max_rows)

    def _list_words(self, parts: Parts, bits: Bits, max_rows: int, position: NDArray[np.int64]) -> int:
        limit = self._threshold
        return int(list_near_set(parts, self._queries, limit, bits, max_rows, self._listing, position))

    def _take(self, parts: Parts, listed: int) -> None:
        self._make_room(listed)
        take_listed(parts, self._queries, self._listing, listed, self._nearest, self._results)

    def _make_room(self, rows: int) -> None:
        if self._results.size[0] + rows > MAX_LISTED:
            piece = self._piece()
            self._full.append(ScanResult(piece.rows.copy(), piece.distances.copy(), piece.groups.copy()))
            self._results.size[0] = 0

    def _piece(self) -> ScanResult:
        results, here = self._results, slice(self._results.size[0])
        groups = results.groups[here] if self._query.group_column else NO_GROUPS
        return ScanResult(results.rows[here], results.distances[here], groups)
