"""The index of one machine: codes in LMDB blocks, scanned by compiled loops or found by multi-index segments."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashing.codes import WORD_BITS, CodeLengthError, Codes, words
from storage.database.columns import LEVEL_COLUMN
from storage.database.database import Database
from storage.database.snapshot import Snapshot
from storage.database.tree import key_bytes
from storage.record import Level
from storage.search.entities import (
    Entities,
    aggregated,
    nearest_groups,
    nearest_ordinals,
    order,
    rows_of_entities,
    weigh,
)
from storage.search.filter import Candidates, count_instances
from storage.search.index import EVERY_ROW, Aggregation, Filter, Hit, Hits
from storage.search.local_snapshot import CommitCache, LocalSnapshot
from storage.segments.registry import SegmentRegistry


class LocalIndex:
    """A `storage.search.index.CodeIndex` over a database of this machine.

    The database is the truth, so what `Database.append` stores can be found at once: nothing has to be appended here
    too. Views may be opened and searched by many threads at a time, each view by one.

    Attributes
    ----------
    database
        The database, open as long as the index is used.
    segments
        Segment files that this process has open.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.segments = SegmentRegistry.of(database)
        self._cache = CommitCache()

    @contextmanager
    def snapshot(self, records: Snapshot | None = None) -> Iterator[LocalSnapshot]:
        """Open what searches read: the state of this moment, or that of a snapshot of the same database.

        Parameters
        ----------
        records
            An entered snapshot, whose end ends what is opened here.
        """
        if records is not None:
            if records.header is not self.database.header:  # its blocks lie elsewhere in memory
                raise ValueError("the snapshot is of another database: open it from that of the index")
            yield LocalSnapshot(records, self._cache, self.segments)
            return
        with self.database.snapshot() as own:
            yield LocalSnapshot(own, self._cache, self.segments)

    @contextmanager
    def view(self, records: Snapshot | None = None) -> Iterator["LocalView"]:
        """Open a view, as `CodeIndex.view` says; over `records` it agrees with that snapshot of the database."""
        with self.snapshot(records) as snapshot:
            yield LocalView(snapshot)


class LocalView:
    """A `storage.search.index.IndexView` over one state of the database."""

    def __init__(self, snapshot: LocalSnapshot) -> None:
        self.snapshot = snapshot

    def search(
        self,
        queries: Codes,
        k: int,
        level: Level = Level.IMAGE,
        where: Filter = EVERY_ROW,
        *,
        maximum_distance: int | None = None,
        aggregation: Aggregation = Aggregation.BEST,
        outputs: NDArray[np.int8] | None = None,
        count: bool = True,
    ) -> Hits:
        """Find the k nearest entities of a level, as `IndexView.search` says."""
        snapshot = self.snapshot
        _check(queries, k, snapshot.code_length)
        k = min(k, max(1, snapshot.rows))  # a search has room for k results
        limit = snapshot.code_length if maximum_distance is None else maximum_distance
        candidates, weights = Candidates(where, snapshot), weigh(queries, outputs, snapshot.code_length)
        if aggregation == Aggregation.BEST or level == Level.IMAGE:
            aggregation, near = Aggregation.BEST, nearest_groups(snapshot, queries, k, level, candidates, limit)
            rows, groups = near.rows, near.groups
        else:
            distances = aggregated(snapshot, queries, level, candidates, aggregation)
            rows = rows_of_entities(snapshot, level, nearest_ordinals(distances, k, limit), candidates)
            groups = snapshot.values(LEVEL_COLUMN[level], rows)
        is_nearest, entities = order(snapshot.codes(rows), groups, weights, aggregation)
        chosen = _cut(snapshot.records, level, entities, k)
        frames = _nearest_frames(snapshot, rows[is_nearest], groups[is_nearest], chosen)
        hits = tuple(Hit(each.uid, each.distance, *frames[each.ordinal], each.weight) for each in chosen)
        return Hits(hits, count_instances(snapshot, candidates) if count else None)


def _check(queries: Codes, k: int, code_length: int) -> None:
    """Refuse what cannot be searched for."""
    if queries.ndim != 2 or queries.shape[1] != words(code_length):
        raise CodeLengthError(found=queries.shape[-1] * WORD_BITS, expected=code_length)
    if not len(queries):
        raise ValueError("no query code came; a search needs at least one")
    if k < 1:
        raise ValueError(f"the {k} nearest were asked for; ask for at least one")


class _Chosen(NamedTuple):
    uid: str
    ordinal: int
    distance: float
    weight: float


def _cut(records: Snapshot, level: Level, entities: Entities, k: int) -> list[_Chosen]:
    """First k entities in ascending (distance, weighted distance, UID)."""
    ordinals, distances, weights = entities
    if ordinals.size > k:
        last = np.lexsort((weights, distances))[k - 1]
        nearer = (distances < distances[last]) | (distances == distances[last]) & (weights < weights[last])
        tied = (distances == distances[last]) & (weights == weights[last])
        first = _first_by_key(records, level, ordinals[tied], k - int(nearer.sum()))
        here = nearer | tied & np.isin(ordinals, first)
        ordinals, distances, weights = ordinals[here], distances[here], weights[here]
    columns = zip(ordinals.tolist(), distances.tolist(), weights.tolist(), strict=True)
    chosen = [_Chosen(records.uid(level, ordinal), ordinal, *rest) for ordinal, *rest in columns]
    return sorted(chosen, key=lambda entity: (entity.distance, entity.weight, key_bytes(entity.uid)))


def _first_by_key(records: Snapshot, level: Level, ordinals: NDArray[np.uint32], n: int) -> NDArray[np.uint32]:
    """Return the n ordinals with the smallest unique keys, by whichever way reads fewer of them."""
    if ordinals.size**2 < n * records.count(level):
        return np.array(sorted(ordinals.tolist(), key=lambda i: key_bytes(records.uid(level, i)))[:n], np.uint32)
    wanted = set(ordinals.tolist())
    return np.array(list(islice((i for i in records.ordinals_by_key(level) if i in wanted), n)), np.uint32)


def _nearest_frames(
    snapshot: LocalSnapshot,
    rows: NDArray[np.int64],
    groups: NDArray[np.uint32],
    chosen: list[_Chosen],
) -> dict[int, tuple[str, int]]:
    """(SOP Instance UID, frame) of the first of each chosen entity's nearest rows, by the entity's ordinal."""
    here = np.isin(groups, [entity.ordinal for entity in chosen])
    rows, groups = rows[here], groups[here]
    instances, frames = (snapshot.values(name, rows).tolist() for name in (LEVEL_COLUMN[Level.IMAGE], "frame"))
    uids = {instance: snapshot.records.uid(Level.IMAGE, instance) for instance in set(instances)}
    nearest: dict[int, tuple[str, int]] = {}
    for group, instance, frame in zip(groups.tolist(), instances, frames, strict=True):
        candidate = (uids[instance], frame)
        nearest[group] = min(nearest.get(group, candidate), candidate)
    return nearest
