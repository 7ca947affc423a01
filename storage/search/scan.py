"""One pass over every row where it lies, on all cores."""

from typing import Final

import numpy as np

from hashing.codes import WORD_BITS, CodeLengthError, Codes, words
from storage.search.addresses import Chunk
from storage.search.kernels.state import ascending
from storage.search.local_snapshot import LocalSnapshot
from storage.search.scan_query import FilterOrder, ScanQuery, ScanResult
from storage.search.threads import MIN_SHARED_ROWS, share, thread_count
from storage.search.worker import Worker

CHUNKS_PER_THREAD: Final = 8
"""Enough that a thread which is held up does little of the work."""
MAX_BIT_ROWS: Final = 1 << 22
"""Rows of a chunk whose candidates are bits: these stay in the caches."""


def sweep(
    snapshot: LocalSnapshot, query: ScanQuery, order: FilterOrder = FilterOrder.LAST, *, threads: int | None = None
) -> ScanResult:
    """Scan all rows; the result holds every row of the answer, and others.

    Parameters
    ----------
    order
        When to test columns, where the query has candidates.
    threads
        None for one a core where that is quicker than one alone.
    """
    n_threads = thread_count(snapshot.rows, threads)
    columns = {*(query.candidates.columns if query.candidates else ()), *filter(None, [query.group_column])}
    chunks = snapshot.addresses.cut([_chunk_rows(snapshot.rows, n_threads, order)], columns)
    limit = [min(query.maximum_distance, snapshot.code_length)]
    workers = [Worker(query, order, limit[0], snapshot.code_length) for _ in range(n_threads)]

    def work(worker: Worker, chunk: Chunk) -> None:
        limit[0] = min(limit[0], worker.search(chunk, limit[0]))

    share(chunks, workers, work)
    pieces = [(piece.rows, piece.distances, piece.groups) for worker in workers for piece in worker.results()]
    rows, distances, groups = pieces[0] if len(pieces) == 1 else map(np.concatenate, zip(*pieces, strict=True))
    return ScanResult(*ascending(rows, distances, groups, limit[0]))


def rehearse(snapshot: LocalSnapshot, query: ScanQuery) -> None:
    """Scan all rows in each way that a scan may go, so that every loop is compiled."""
    worker = Worker(query, FilterOrder.LAST, snapshot.code_length, snapshot.code_length)
    assert query.candidates is not None
    for chunk in snapshot.addresses.cut([snapshot.rows], query.candidates.columns):
        worker.rehearse(chunk)


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


def _chunk_rows(rows: int, threads: int, order: FilterOrder) -> int:
    even = max(rows // (threads * CHUNKS_PER_THREAD if threads > 1 else 1), MIN_SHARED_ROWS)
    return even if order is FilterOrder.LAST else min(even, MAX_BIT_ROWS)
