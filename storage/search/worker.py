"""The search of one thread: which rows of a chunk it looks at, and in what order it asks what."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from storage.search.addresses import Chunk
from storage.search.kernels.bitset import Bits, count_set, every
from storage.search.kernels.distance import STRIP, bound
from storage.search.kernels.select import (
    LEAST_LISTED,
    ROOM,
    list_near,
    list_near_set,
    list_set,
    select,
    take_listed,
)
from storage.search.kernels.state import NO_GROUPS, UNSEEN, Parts, Selection, lower, packed
from storage.search.scan_query import Distances, Rows, Sieve, Task
from storage.search.scratch import Scratch

Noted = tuple[Rows, Distances, NDArray[np.uint32]]

FEW_OF_A_WORD: Final = 2
"""Candidates in 64 rows up to which looking at each is quicker than looking at all of them."""
NOTED: Final = ROOM
"""Rows noted before they are put aside."""
NO_BEST: Final = np.empty(0, np.uint16)


class Worker:
    """One thread's search of chunk after chunk, in row order.

    Parameters
    ----------
    limit
        Greatest distance that matters, in bits.
    scratch
        For this worker alone until what it found is copied.
    """

    def __init__(self, task: Task, limit: int, code_length: int, scratch: Scratch) -> None:
        self._task, self._queries = task, packed(task.queries)
        best = np.full(task.groups, UNSEEN, np.uint16) if task.groups else NO_BEST
        state = np.array([limit]), np.zeros(1, np.int64), np.zeros(code_length + 1, np.int64), best
        self._selection = Selection(task.k, task.keep_ties, *state, np.array([-1, UNSEEN]))
        self._notes, self._listing, self._noted = scratch.notes, scratch.listing, 0
        self._full: list[Noted] = []

    def search(self, chunk: Chunk, limit: int) -> int:
        """Search a chunk, knowing that nothing farther than `limit` matters; return the limit known then."""
        if limit < self._selection.threshold[0]:
            lower(self._selection, limit)
        sieve, part = self._task.sieve, 0
        if sieve is None:
            self._search_all(chunk)
        elif sieve.first:
            self._search_bits(chunk, sieve)
        else:
            while part < chunk.rows.size and not self._is_settled:  # where all rows are near, that tells nothing
                self._search_bits(chunk.parts_from(part, part + 1), sieve)
                part += 1
            self._search_near(chunk.parts_from(part, chunk.rows.size), sieve)
        return int(self._selection.threshold[0]) + (not self._task.keep_ties)

    def found(self) -> list[Noted]:
        """All that was noted, piece by piece; the last lies in the scratch."""
        return [*self._full, self._in_scratch()]

    def rehearse(self, chunk: Chunk, sieve: Sieve) -> None:
        """Search a chunk in each way there is."""
        parts, bits = chunk.parts(), every(chunk.counts)
        lower(self._selection, int(self._selection.threshold[0]))
        self._search_all(chunk)
        self._search_bits(chunk, sieve)
        self._search_near(chunk, sieve)
        self._search_set(parts, bits)
        self._search_words(parts, bits)

    @property
    def _is_settled(self) -> bool:
        """Whether few rows are within the threshold: of unlike codes, 3 in 100."""
        return bool(self._selection.threshold[0] <= self._selection.counts.size * 3 // 8)

    def _search_bits(self, chunk: Chunk, sieve: Sieve) -> None:
        """Ask the sieve about all rows first."""
        parts, bits = chunk.parts(self._task.group_column), every(chunk.counts)
        sieve.refine(chunk, bits)
        if count_set(bits) < FEW_OF_A_WORD * np.count_nonzero(bits):
            self._search_set(parts, bits)
        else:
            self._search_words(parts, bits)

    def _search_all(self, chunk: Chunk) -> None:
        """Look at every row."""
        parts, place = chunk.parts(self._task.group_column), np.zeros(2, np.int64)
        if not (self._task.group_column or self._selection.within[0]):
            lower(self._selection, int(bound(parts, self._queries, self._task.k)))
        while place[0] < chunk.rows.size:
            self._make_room(STRIP)
            state = self._selection, self._listing, self._notes, self._noted
            self._noted = select(parts, self._queries, *state, place)

    def _search_near(self, chunk: Chunk, sieve: Sieve) -> None:
        """Ask the sieve about rows within the threshold only: of few at a time, so that the threshold falls early."""
        parts, place, most = chunk.parts(self._task.group_column), np.zeros(2, np.int64), LEAST_LISTED
        while place[0] < chunk.rows.size:
            limit = int(self._selection.threshold[0])
            listed = list_near(parts, self._queries, limit, most, self._listing, place)
            left = sieve.refine_listed(chunk, self._listing, listed)
            self._take(parts, left)
            if place[0] < chunk.rows.size:
                most = min(ROOM, LEAST_LISTED + self._task.k * listed // max(1, left))

    def _search_set(self, parts: Parts, bits: Bits) -> None:
        """Look at each candidate by itself: they lie apart."""
        place = np.zeros(3, np.int64)
        while place[0] < parts.rows.size:
            listed = list_set(parts.counts, bits, self._listing, place)
            self._take(parts, listed)

    def _search_words(self, parts: Parts, bits: Bits) -> None:
        """Look at candidates and the rows right beside them: they lie together."""
        place, most = np.zeros(3, np.int64), LEAST_LISTED
        while place[0] < parts.rows.size:
            limit = int(self._selection.threshold[0])
            listed = list_near_set(parts, self._queries, limit, bits, most, self._listing, place)
            self._take(parts, listed)
            most = min(ROOM, 2 * most)

    def _take(self, parts: Parts, listed: int) -> None:
        self._make_room(listed)
        state = self._selection, self._notes, self._noted
        self._noted = take_listed(parts, self._queries, self._listing, listed, *state)

    def _make_room(self, rows: int) -> None:
        if self._noted + rows > NOTED:
            noted, distances, groups = self._in_scratch()
            self._full.append((noted.copy(), distances.copy(), groups.copy()))
            self._noted = 0

    def _in_scratch(self) -> Noted:
        here = slice(self._noted)
        groups = self._notes.groups[here] if self._task.group_column else NO_GROUPS
        return self._notes.rows[here], self._notes.distances[here], groups
