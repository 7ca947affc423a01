"""The entities of a level that are nearest to some queries, and the rows by which they are."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashing.codes import WORD_BITS, CodeLengthError, Codes
from storage.database.columns import COLUMNS, FIRST, LEVEL_COLUMN
from storage.record import Level
from storage.search.filter import CHUNK_ROWS, Candidates, one_of
from storage.search.index import Aggregation
from storage.search.kernels.aggregate import Totals, aggregate, new_totals
from storage.search.kernels.bitset import every, keep, rows_of
from storage.search.kernels.distance import MAX_WEIGHT, WEIGHT_BITS, order_keys, packed
from storage.search.local_snapshot import Chunk, LocalSnapshot
from storage.search.planner import find
from storage.search.scan import ScanQuery, ScanResult
from storage.search.threads import share, thread_count
from storage.segments.top_k import UNSEEN

QUERIES_AT_ONCE: Final = 8
"""Queries whose least distances from every entity are held in memory at a time."""
MAX_KEY: Final = (1 << 32) - 1


class Weights(NamedTuple):
    """Queries, and the weight of each of their bits between equal distances.

    Attributes
    ----------
    queries : (queries, words)
    weights : (queries, 64 * words) uint8
        0 for each bit if nothing decides.
    """

    queries: Codes
    weights: NDArray[np.uint8]


class Entities(NamedTuple):
    """Entities with what orders them.

    Attributes
    ----------
    ordinals : (n,)
    distances, weights : (n,)
        By the aggregation of the search.
    """

    ordinals: NDArray[np.uint32]
    distances: NDArray[Any]
    weights: NDArray[Any]


def weigh(queries: Codes, outputs: NDArray[np.int8] | None, code_length: int) -> Weights:
    """Weigh each bit of each query by the magnitude of the network's output for it, if outputs are given."""
    weights = np.zeros((len(queries), queries.shape[1] * WORD_BITS), np.uint8)
    if outputs is not None and (outputs.ndim != 2 or outputs.shape[1] < code_length):
        raise CodeLengthError(found=outputs.shape[-1], expected=code_length)
    if outputs is not None:
        weights[:, :code_length] = np.abs(outputs[:, :code_length].astype(np.int16))
    return Weights(packed(queries), weights)


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
    ordinals, group = np.unique(found.groups, return_inverse=True)
    best = _least(found.distances, group, ordinals.size)
    farthest = np.partition(best, k - 1)[k - 1] if best.size > k else snapshot.code_length
    nearest = (found.distances == best[group]) & (found.distances <= farthest)
    return ScanResult(found.rows[nearest], found.distances[nearest], found.groups[nearest])


def aggregated(
    snapshot: LocalSnapshot,
    queries: Codes,
    level: Level,
    candidates: Candidates,
    aggregation: Aggregation,
    threads: int | None = None,
) -> NDArray[np.float64]:
    """Distance of each entity, by MEAN or LATE, over its candidate rows.

    Returns
    -------
    (ordinals,)
        By ordinal, NaN if an entity has no candidate row.
    """
    bound = snapshot.records.ordinal_bound(level)
    if aggregation == Aggregation.MEAN:
        totals = _totals(snapshot, queries, level, candidates, 0, threads)
        sums, counts = sum(each.sums for each in totals), sum(each.counts for each in totals)
    else:
        sums, counts = np.zeros(bound, np.int64), np.zeros(bound, np.int64)
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            some = queries[start : start + QUERIES_AT_ONCE]
            totals = _totals(snapshot, some, level, candidates, len(some), threads)
            nearest = np.minimum.reduce([each.nearest for each in totals])
            sums += nearest.sum(axis=0, dtype=np.int64)
            counts[nearest[0] != UNSEEN] = len(queries)
    distances = np.full(bound, np.nan)
    np.divide(sums, counts, out=distances, where=counts > 0)
    return distances


def nearest_ordinals(distances: NDArray[np.float64], k: int, maximum_distance: float) -> NDArray[np.uint32]:
    """Ordinals of the k nearest entities within a distance, and of all that tie with the last of them."""
    ordinals = np.flatnonzero(distances <= maximum_distance)
    if ordinals.size > k:
        ordinals = ordinals[distances[ordinals] <= np.partition(distances[ordinals], k - 1)[k - 1]]
    return ordinals.astype(np.uint32)


def rows_of_entities(
    snapshot: LocalSnapshot, level: Level, ordinals: NDArray[np.uint32], candidates: Candidates
) -> NDArray[np.int64]:
    """Every candidate row of some entities, ascending."""
    column = LEVEL_COLUMN[level]
    chosen, live = one_of(ordinals, COLUMNS[column]), one_of([0, FIRST], COLUMNS["flags"])
    rows = [np.empty(0, np.int64)]
    for chunk in snapshot.cut(CHUNK_ROWS, [column, *candidates.columns]):
        bits = every(chunk.counts)
        keep(chunk.counts, chunk.addresses[column], chosen, bits)
        keep(chunk.counts, chunk.addresses["flags"], live, bits)
        candidates.refine(chunk, bits)
        rows.append(rows_of(chunk.rows, chunk.counts, bits))
    return np.concatenate(rows)


def order(
    codes: Codes, groups: NDArray[np.uint32], queries: Weights, aggregation: Aggregation
) -> tuple[NDArray[np.bool_], Entities]:
    """Order entities by an aggregation of their rows.

    Parameters
    ----------
    codes : (words, rows)
    groups : (rows,)
        Ordinal of the entity of each row; for BEST its nearest rows are enough, else every row is needed.

    Returns
    -------
    nearest : (rows,)
        True for a row that is the nearest of its entity, or as near, in distance and weighted distance.
    Entities
    """
    ordinals, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    keys = np.full(groups.size, MAX_KEY, np.uint32)
    distances, weights = np.zeros(ordinals.size, np.int64), np.zeros(ordinals.size, np.int64)
    for query, bits in zip(*queries, strict=True):
        if aggregation != Aggregation.LATE:
            order_keys(codes, query, bits, keys)
            continue
        own = np.full(groups.size, MAX_KEY, np.uint32)
        order_keys(codes, query, bits, own)
        keys, of_query = np.minimum(keys, own), _least(own, index, ordinals.size)
        distances, weights = distances + (of_query >> WEIGHT_BITS), weights + (of_query & MAX_WEIGHT)
    best = _least(keys, index, ordinals.size)
    if aggregation == Aggregation.LATE:
        entities = Entities(ordinals, distances / len(queries.queries), weights / len(queries.queries))
    elif aggregation == Aggregation.MEAN:
        sums = [np.bincount(index, part, ordinals.size) for part in (keys >> WEIGHT_BITS, keys & MAX_WEIGHT)]
        entities = Entities(ordinals, sums[0] / counts, sums[1] / counts)
    else:
        entities = Entities(ordinals, best >> WEIGHT_BITS, best & MAX_WEIGHT)
    return keys == best[index], entities


def _least(values: NDArray[Any], index: NDArray[np.int64], groups: int) -> NDArray[Any]:
    """(groups,) least value of each group; `index` has the number of the group of each value."""
    best = np.full(groups, np.iinfo(values.dtype).max, values.dtype)
    np.minimum.at(best, index, values)
    return best


def _totals(
    snapshot: LocalSnapshot, queries: Codes, level: Level, candidates: Candidates, each: int, threads: int | None
) -> Sequence[Totals]:
    """Aggregate the distances of every candidate row, in as many totals as there are threads."""
    column, bound, ready = LEVEL_COLUMN[level], snapshot.records.ordinal_bound(level), packed(queries)
    totals = [new_totals(bound, each) for _ in range(thread_count(snapshot.rows, threads))]

    def add(own: Totals, chunk: Chunk) -> None:
        """Add the candidate rows of a chunk to the totals of a thread."""
        bits = None
        if candidates:
            bits = every(chunk.counts)
            candidates.refine(chunk, bits)
        aggregate(chunk.parts(column), ready, bits, own)

    share(snapshot.cut(CHUNK_ROWS, [column, *candidates.columns]), totals, add)
    return totals
