"""Passes over every row where it lies, on all cores."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hashing.codes import WORD_BITS, CodeLengthError, Codes, words
from storage.bits import Bits, Condition, every, keep
from storage.columns import DELETED
from storage.kernels import STRIP, select, sift
from storage.places import Chunk
from storage.pool import ALONE, share, thread_count
from storage.rows import Block
from storage.selection import UNSEEN, Notes, Selection, lower
from storage.snapshot import Snapshot

Rows = NDArray[np.int64]
Distances = NDArray[np.uint16]

SHARES: Final = 8
"""Chunks a thread: enough that one which is held up does little of the work."""
FIRST_ROWS = 4096
MOST_ROWS = 1 << 20
"""Rows of the first and of the largest chunk where a threshold is known between chunks only."""
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
    task = Task(queries, k, limit, sieve=None if mask is None else _Mask(mask))
    found = sweep(snapshot, task, first_row=first_row, threads=threads)
    first = np.argsort(found.distances, kind="stable")[:k]
    return found.rows[first], found.distances[first]


def sweep(snapshot: Snapshot, task: Task, *, first_row: int = 0, threads: int | None = None) -> Found:
    """Go over all rows; what comes back holds every row of the answer, and others."""
    n_threads = thread_count(snapshot.rows, threads)
    columns = {*(task.sieve.columns if task.sieve else ()), *([task.group_column] if task.group_column else ())}
    chunks = snapshot.places.cut(_sizes(snapshot.rows, n_threads, task.sieve), columns, first_row)
    limit = [min(task.maximum_distance, snapshot.code_length)]
    workers = [_Worker(task, limit[0], snapshot.code_length) for _ in range(n_threads)]

    def work(worker: "_Worker", chunk: Chunk) -> None:
        limit[0] = min(limit[0], worker.search(chunk, limit[0]))

    share(chunks, workers, work)
    rows, distances, groups = (np.concatenate(parts) for parts in zip(*(w.found for w in workers), strict=True))
    kept = np.flatnonzero(distances <= limit[0])
    kept = kept[np.argsort(rows[kept])]
    return Found(rows[kept], distances[kept], groups[kept])


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
        self._pieces = [(np.empty(0, np.int64), np.empty(0, np.uint16), np.empty(0, np.uint32))]

    def search(self, chunk: Chunk, limit: int) -> int:
        """Search a chunk, knowing that nothing farther than `limit` matters; return the limit known then."""
        task, selection, parts = self._task, self._selection, chunk.parts(self._task.group_column)
        if limit < selection.threshold[0]:
            lower(selection, limit)
        bits = None if task.sieve is None else every(chunk.counts)
        if task.sieve is not None and bits is not None:
            if not task.sieve.first:
                sift(parts, self._queries, selection.threshold[0], bits)
            task.sieve.refine(chunk, bits)
        place = np.zeros(3, np.int64)
        while place[0] < chunk.rows.size:
            noted = select(parts, self._queries, bits, selection, self._notes, place)
            self._pieces.append(tuple(notes[:noted].copy() for notes in self._notes))  # type: ignore[arg-type]
        return int(selection.threshold[0]) + (not task.keep_ties)

    @property
    def found(self) -> tuple[Rows, Distances, NDArray[np.uint32]]:
        """All that was noted."""
        rows, distances, groups = zip(*self._pieces, strict=True)
        return np.concatenate(rows), np.concatenate(distances), np.concatenate(groups)


class _Mask:
    """Candidates given row by row."""

    columns: tuple[str, ...] = ()
    first = True

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self._mask = np.ascontiguousarray(mask).view(np.uint8)
        self._set = Condition(np.ones(2, np.uint8), np.empty(0, np.bool_), np.empty(0, np.uint8), True)

    def refine(self, chunk: Chunk, bits: Bits) -> None:
        start = np.uint64(self._mask.ctypes.data)
        keep(chunk.counts, start + chunk.rows.view(np.uint64), self._set, bits)


def _sizes(rows: int, threads: int, sieve: Sieve | None) -> list[int]:
    even = max(rows // (threads * SHARES if threads > 1 else 1), ALONE)
    if sieve is None:
        return [even]
    doubling = [FIRST_ROWS << step for step in range(MOST_ROWS.bit_length())]
    return [size for size in doubling if size <= min(even, MOST_ROWS)]
