"""Passes over every row where it lies, on all cores."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hashing.codes import WORD_BITS, CodeLengthError, Codes, words
from storage.bits import Bits, count_set, every
from storage.columns import DELETED
from storage.kernels import STRIP
from storage.listing import (
    LEAST_LISTED,
    ROOM,
    Listing,
    list_near,
    list_near_set,
    list_set,
    new_listing,
    select,
    take_listed,
)
from storage.mask import Mask
from storage.places import Chunk
from storage.pool import ALONE, share, thread_count
from storage.rows import Block
from storage.selection import UNSEEN, Notes, Parts, Selection, ascending, lower
from storage.snapshot import Snapshot

Rows = NDArray[np.int64]
Distances = NDArray[np.uint16]

SHARES: Final = 8
"""Chunks a thread: enough that one which is held up does little of the work."""
MOST_ROWS: Final = 1 << 22
"""Rows of a chunk whose candidates are bits: these stay in the caches."""
FEW_OF_A_WORD: Final = 2
"""Candidates in 64 rows up to which looking at each is quicker than looking at all of them."""
NOTED: Final = 16 * STRIP
"""Rows noted in one call: few pages, so that nothing waits for fresh memory."""


class Sieve(Protocol):
    """What tells candidates from other rows."""

    @property
    def columns(self) -> Collection[str]:
        """Those it reads."""
        ...

    @property
    def first(self) -> bool:
        """Whether to ask it before looking at distances: cheaper where candidates are few."""
        ...

    def refine(self, chunk: Chunk, bits: Bits) -> None:
        """Clear the bits of rows that are no candidates."""
        ...

    def refine_listed(self, chunk: Chunk, listing: Listing, listed: int) -> int:
        """Leave only candidates in a list; return how many."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """What a pass over the rows looks for.

    Attributes
    ----------
    queries : (queries, words)
        The distance of a row is that to the nearest.
    k, keep_ties, maximum_distance
        How many; whether all at the distance of the k-th are wanted; bits, inclusive.
    sieve
        Candidates; None for all.
    group_column
        Rows with the same value count once; None where each row counts.
    groups
        One more than the greatest value, or 0 where equal values follow each other.
    """

    queries: Codes
    k: int
    maximum_distance: int
    keep_ties: bool = False
    sieve: Sieve | None = None
    group_column: str | None = None
    groups: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """Rows that an answer may be made of.

    Attributes
    ----------
    rows, distances, groups : (n,)
        Rows ascending; distance from the nearest query; value of the group column, 0 without one.
    """

    rows: Rows
    distances: Distances
    groups: NDArray[np.uint32]


def nearest(
    snapshot: Snapshot,
    queries: Codes,
    k: int,
    mask: NDArray[np.bool_] | None = None,
    *,
    first_row: int = 0,
    maximum_distance: int | None = None,
    threads: int | None = None,
) -> tuple[Rows, Distances]:
    """Find the k rows nearest to any of the queries.

    Parameters
    ----------
    queries : (queries, words)
    mask : (rows,) or None
        Rows to consider; deleted ones never are.
    first_row
        Rows before it are not considered.
    maximum_distance
        In bits, inclusive.
    threads
        None for one a core.

    Returns
    -------
    rows, distances : (min(k, candidates),)
        In ascending (distance, row).
    """
    check_question(snapshot, queries, k)
    limit = snapshot.code_length if maximum_distance is None else maximum_distance
    task = Task(queries, k, limit, sieve=None if mask is None else Mask(mask))
    found = sweep(snapshot, task, first_row=first_row, threads=threads)
    first = np.argsort(found.distances, kind="stable")[:k]
    return found.rows[first], found.distances[first]


def sweep(snapshot: Snapshot, task: Task, *, first_row: int = 0, threads: int | None = None) -> Found:
    """Go over all rows; what comes back holds every row of the answer, and others."""
    n_threads = thread_count(snapshot.rows, threads)
    columns = {*(task.sieve.columns if task.sieve else ()), *([task.group_column] if task.group_column else ())}
    chunks = snapshot.places.cut([_size(snapshot.rows, n_threads, task.sieve)], columns, first_row)
    limit = [min(task.maximum_distance, snapshot.code_length)]
    workers = [_Worker(task, limit[0], snapshot.code_length) for _ in range(n_threads)]

    def work(worker: "_Worker", chunk: Chunk) -> None:
        limit[0] = min(limit[0], worker.search(chunk, limit[0]))

    share(chunks, workers, work)
    pieces = [piece for worker in workers for piece in worker.pieces]
    rows, distances, groups = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    kept = ascending(rows, distances, limit[0])
    return Found(rows[kept], distances[kept], groups[kept])


def rehearse(snapshot: Snapshot, task: Task, sieve: Sieve) -> None:
    """Go over all rows in each way that a search may go, so that every loop is compiled."""
    worker = _Worker(task, snapshot.code_length, snapshot.code_length)
    for chunk in snapshot.places.cut([snapshot.rows], sieve.columns):
        worker.rehearse(chunk, sieve)


def check_question(snapshot: Snapshot, queries: Codes, k: int) -> None:
    """Refuse what cannot be searched for.

    Raises
    ------
    CodeLengthError, ValueError
    """
    if queries.ndim != 2 or queries.shape[1] != words(snapshot.code_length):
        raise CodeLengthError(found=queries.shape[-1] * WORD_BITS, expected=snapshot.code_length)
    if not len(queries):
        raise ValueError("no query code came; a search needs at least one")
    if k < 1:
        raise ValueError(f"the {k} nearest were asked for; ask for at least one")


def packed(queries: Codes) -> Codes:
    """Queries as every kernel is compiled for: contiguous and writable."""
    return np.require(queries, np.uint64, ["C", "W"])


def live(block: Block) -> NDArray[np.bool_] | None:
    """Rows that are not deleted, None when all are not."""
    deleted = (block.column("flags") & DELETED) != 0
    return ~deleted if deleted.any() else None


class _Worker:
    """What one thread has found so far: rows, distances and groups, piece by piece."""

    def __init__(self, task: Task, limit: int, code_length: int) -> None:
        self._task, self._queries = task, packed(task.queries)
        best = np.full(task.groups, UNSEEN, np.uint16)
        state = np.array([limit]), np.zeros(1, np.int64), np.zeros(code_length + 1, np.int64), best
        self._selection = Selection(task.k, task.keep_ties, *state, np.array([-1, UNSEEN]))
        self._notes = Notes(np.empty(NOTED, np.int64), np.empty(NOTED, np.uint16), np.zeros(NOTED, np.uint32))
        self._listing = new_listing()
        self.pieces = [(np.empty(0, np.int64), np.empty(0, np.uint16), np.empty(0, np.uint32))]

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
        while place[0] < chunk.rows.size:
            self._keep(select(parts, self._queries, self._selection, self._listing, self._notes, place))

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
        self._keep(take_listed(parts, self._queries, self._listing, listed, self._selection, self._notes, 0))

    def _keep(self, noted: int) -> None:
        if noted:
            rows, distances, groups = self._notes
            self.pieces.append((rows[:noted].copy(), distances[:noted].copy(), groups[:noted].copy()))


def _size(rows: int, threads: int, sieve: Sieve | None) -> int:
    even = max(rows // (threads * SHARES if threads > 1 else 1), ALONE)
    return even if sieve is None or not sieve.first else min(even, MOST_ROWS)
