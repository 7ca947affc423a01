"""Passes over every row where it lies, on all cores."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashing.codes import WORD_BITS, CodeLengthError, Codes, words
from storage.database.blocks import Block
from storage.database.columns import DELETED
from storage.search.addresses import Chunk
from storage.search.kernels.state import ascending
from storage.search.local_snapshot import LocalSnapshot
from storage.search.mask import Mask
from storage.search.scan_query import Distances, Found, Rows, Sieve, Task
from storage.search.scratch import borrow, give_back
from storage.search.threads import ALONE, share, thread_count
from storage.search.worker import Worker

SHARES: Final = 8
"""Chunks a thread: enough that one which is held up does little of the work."""
MOST_ROWS: Final = 1 << 22
"""Rows of a chunk whose candidates are bits: these stay in the caches."""


def nearest(
    snapshot: LocalSnapshot,
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


def sweep(snapshot: LocalSnapshot, task: Task, *, first_row: int = 0, threads: int | None = None) -> Found:
    """Go over all rows; what comes back holds every row of the answer, and others."""
    n_threads = thread_count(snapshot.rows, threads)
    columns = {*(task.sieve.columns if task.sieve else ()), *([task.group_column] if task.group_column else ())}
    chunks = snapshot.addresses.cut([_size(snapshot.rows, n_threads, task.sieve)], columns, first_row)
    limit, scratch = [min(task.maximum_distance, snapshot.code_length)], borrow(n_threads)
    workers = [Worker(task, limit[0], snapshot.code_length, mine) for mine in scratch]

    def work(worker: Worker, chunk: Chunk) -> None:
        limit[0] = min(limit[0], worker.search(chunk, limit[0]))

    try:
        share(chunks, workers, work)
        pieces = [piece for worker in workers for piece in worker.found()]
        rows, distances, groups = pieces[0] if len(pieces) == 1 else map(np.concatenate, zip(*pieces, strict=True))
        return Found(*ascending(rows, distances, groups, limit[0]))
    finally:
        give_back(scratch)


def rehearse(snapshot: LocalSnapshot, task: Task, sieve: Sieve) -> None:
    """Go over all rows in each way that a search may go, so that every loop is compiled."""
    scratch = borrow(1)
    worker = Worker(task, snapshot.code_length, snapshot.code_length, *scratch)
    for chunk in snapshot.addresses.cut([snapshot.rows], sieve.columns):
        worker.rehearse(chunk, sieve)
    give_back(scratch)


def check_question(snapshot: LocalSnapshot, queries: Codes, k: int) -> None:
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


def live(block: Block) -> NDArray[np.bool_] | None:
    """Rows that are not deleted, None when all are not."""
    deleted = (block.column("flags") & DELETED) != 0
    return ~deleted if deleted.any() else None


def _size(rows: int, threads: int, sieve: Sieve | None) -> int:
    even = max(rows // (threads * SHARES if threads > 1 else 1), ALONE)
    return even if sieve is None or not sieve.first else min(even, MOST_ROWS)
