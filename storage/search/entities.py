"""The nearest entities of a level, whose rows are grouped while they are scanned."""

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes, hamming_distance
from storage.database.columns import COLUMNS, FIRST, LEVEL_COLUMN
from storage.record import Level
from storage.search.filter import CHUNK_ROWS, Candidates, one_of
from storage.search.kernels.bitset import every, keep, rows_of
from storage.search.kernels.distance import packed
from storage.search.kernels.mean import Totals, total
from storage.search.local_snapshot import Chunk, LocalSnapshot
from storage.search.planner import find
from storage.search.scan import Distances, Rows, ScanQuery, ScanResult
from storage.search.threads import share, thread_count
from storage.segments.top_k import UNSEEN


def nearest_groups(
    snapshot: LocalSnapshot,
    queries: Codes,
    k: int,
    level: Level,
    candidates: Candidates,
    maximum_distance: int,
    threads: int | None = None,
) -> ScanResult:
    """Find the k entities whose best row is nearest, and all that tie with the last of them.

    Returns
    -------
    ScanResult
        Every best row of each such entity.
    """
    query = ScanQuery(
        queries,
        k,
        maximum_distance,
        candidates=candidates if candidates else None,
        group_column=LEVEL_COLUMN[level],
        groups=0
        if level == Level.IMAGE
        else snapshot.records.ordinal_bound(level),  # frames of an image are neighbours
    )
    found = find(snapshot, query, threads=threads)
    best, group = _best(found.groups, found.distances)
    farthest = np.partition(best, k - 1)[k - 1] if best.size > k else snapshot.code_length
    nearest = (found.distances == best[group]) & (found.distances <= farthest)
    return ScanResult(found.rows[nearest], found.distances[nearest], found.groups[nearest])


def mean_groups(
    snapshot: LocalSnapshot, queries: Codes, level: Level, candidates: Candidates, threads: int | None = None
) -> NDArray[np.float64]:
    """Average the distance over the candidate rows of each entity.

    Returns
    -------
    (ordinals,)
        By ordinal, NaN where an entity has no candidate row.
    """
    packed_queries = packed(queries)
    bound, column = snapshot.records.ordinal_bound(level), LEVEL_COLUMN[level]
    workers = [
        Totals(np.zeros(bound, np.int64), np.zeros(bound, np.int64))
        for _ in range(thread_count(snapshot.rows, threads))
    ]

    def add(totals: Totals, chunk: Chunk) -> None:
        """Add the candidate rows of a chunk to the totals of a thread."""
        bits = None
        if candidates:
            bits = every(chunk.counts)
            candidates.refine(chunk, bits)
        total(chunk.parts(column), packed_queries, bits, totals)

    share(snapshot.cut(CHUNK_ROWS, [column, *candidates.columns]), workers, add)
    sums, counts = (sum(parts) for parts in zip(*workers, strict=True))
    means = np.full(bound, np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


def best_rows(
    snapshot: LocalSnapshot, queries: Codes, level: Level, ordinals: NDArray[np.uint32], candidates: Candidates
) -> ScanResult:
    """Every candidate row of some entities at the least distance of its entity."""
    column = LEVEL_COLUMN[level]
    chosen, live = one_of(ordinals, COLUMNS[column]), one_of([0, FIRST], COLUMNS["flags"])
    rows: list[Rows] = [np.empty(0, np.int64)]
    for chunk in snapshot.cut(CHUNK_ROWS, [column, *candidates.columns]):
        bits = every(chunk.counts)
        keep(chunk.counts, chunk.addresses[column], chosen, bits)
        keep(chunk.counts, chunk.addresses["flags"], live, bits)
        candidates.refine(chunk, bits)
        rows.append(rows_of(chunk.rows, chunk.counts, bits))
    found = np.concatenate(rows)
    codes = snapshot.records.codes_at(found)
    distances: Distances = np.min([hamming_distance(query, codes) for query in queries], axis=0)
    groups = snapshot.records.levels_of(found, level)
    best, group = _best(groups, distances)
    nearest = distances == best[group]
    return ScanResult(found[nearest], distances[nearest], groups[nearest])


def _best(groups: NDArray[np.uint32], distances: Distances) -> tuple[Distances, NDArray[np.int64]]:
    """Least distance of each group, and for each row the index of its group among these."""
    labels, index = np.unique(groups, return_inverse=True)
    best = np.full(labels.size, UNSEEN, np.uint16)
    np.minimum.at(best, index, distances)
    return best, index
