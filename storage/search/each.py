"""Many questions at once: each block is read once, and every query looks at it while it is near."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.search.addresses import Chunk
from storage.search.kernels.nibbles import MOST, PLANES, TOGETHER, aligned, is_quicker, tables
from storage.search.kernels.state import Parts, new_each, packed
from storage.search.kernels.tiles import select_each, select_each_by_table
from storage.search.local_snapshot import LocalSnapshot
from storage.search.scan import check_question
from storage.search.scan_query import Distances, Rows
from storage.search.threads import share, thread_count

TILE_WORDS: Final = 16_384
"""Words of codes that all queries look at in turn: 128 KiB, a part of the second-level cache."""
SPLIT_WORDS: Final = 2048
"""The same where codes are split into nibbles: 32 KiB of these, the first-level cache."""
CHUNK_ROWS: Final = 1 << 20
"""Rows of a call; fewer than 32 bits count."""


def nearest_each(
    snapshot: LocalSnapshot, queries: Codes, k: int, *, threads: int | None = None
) -> list[tuple[Rows, Distances]]:
    """Find the k rows nearest to each query by itself.

    Parameters
    ----------
    queries : (queries, words)
    threads
        None for one a core.

    Returns
    -------
    list of (rows, distances)
        For each query as `storage.search.scan.nearest` gives them.
    """
    check_question(snapshot, queries, k)
    workers = [_Worker(queries, k, snapshot.code_length) for _ in range(thread_count(snapshot.rows, threads))]
    share(snapshot.addresses.cut([CHUNK_ROWS], ()), workers, _Worker.search)
    return [_first(k, [worker.found[q] for worker in workers]) for q in range(len(queries))]


class _Worker:
    """What one thread has found so far: for each query, (rows, distances) piece by piece."""

    def __init__(self, queries: Codes, k: int, code_length: int) -> None:
        n, width = queries.shape
        self._queries, self._k, self._tile = packed(queries), k, TILE_WORDS // width
        by_table = n >= TOGETHER and is_quicker()
        self._tables = tables(self._queries) if by_table else None
        self._nibbles = aligned(SPLIT_WORDS * PLANES if by_table else 0)
        self._limits = np.zeros(n + TOGETHER - 1, np.uint8)
        self._limits[:n] = min(code_length, MOST)
        self._each = new_each(n, code_length, self._tile + self._tile // 4)
        self.found: list[list[tuple[Rows, Distances]]] = [[] for _ in range(n)]

    def search(self, chunk: Chunk) -> None:
        place = np.zeros(2, np.int64)
        while place[0] < chunk.rows.size:
            self._select(chunk.parts(), place)
            for q, (n,) in enumerate(self._each.noted.tolist()):
                if n:
                    rows = self._each.rows[q, :n] + chunk.rows[0]
                    self.found[q].append((rows, self._each.distances[q, :n].copy()))
            self._each.noted[:] = 0

    def _select(self, parts: Parts, place: NDArray[np.int64]) -> None:
        if self._tables is None:
            select_each(parts, self._queries, self._tile, self._k, self._each, place)
        else:
            room = self._tables, self._nibbles, self._limits
            select_each_by_table(parts, self._queries, *room, self._k, self._each, place)


def _first(k: int, found: list[list[tuple[Rows, Distances]]]) -> tuple[Rows, Distances]:
    pieces = [(np.empty(0, np.int64), np.empty(0, np.uint16)), *(piece for worker in found for piece in worker)]
    rows, distances = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    first = np.lexsort((rows, distances))[:k]
    return rows[first], distances[first]
