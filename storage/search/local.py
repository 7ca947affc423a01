"""The nearest instances, series, studies or patients among those that pass a filter."""

from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.database.snapshot import Snapshot
from storage.database.tables import key_bytes
from storage.record import Level
from storage.search.entities import best_rows, mean_groups, nearest_groups
from storage.search.filter import Candidates, Filter, count_instances
from storage.search.scan import check_question
from storage.search.scan_query import ScanResult

__all__ = ["Aggregation", "Answer", "CodeIndex", "Filter", "Hit", "search"]

Aggregation = Literal["BEST", "MEAN"]


@dataclass(frozen=True, slots=True)
class Hit:
    """One entity of an answer, with its nearest frame.

    Attributes
    ----------
    uid, ordinal
        Of the entity: SOP Instance, Series Instance or Study Instance UID, or patient key.
    distance
        In bits: of the nearest frame, or averaged.
    sop_instance_uid, frame, row
        Nearest frame, counted from 0; of equal ones that with the smallest UID, then frame number.
    """

    uid: str
    ordinal: int
    distance: float
    sop_instance_uid: str
    frame: int
    row: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search found.

    Attributes
    ----------
    hits
        In ascending (distance, UID).
    candidates
        Instances considered, those that passed the filter; None where they were not to be counted.
    """

    hits: tuple[Hit, ...]
    candidates: int | None


class CodeIndex(Protocol):
    """What answers queries; this module is one."""

    def search(
        self,
        snapshot: Snapshot,
        queries: Codes,
        k: int,
        level: Level = Level.IMAGE,
        where: Filter = ...,
        maximum_distance: int | None = None,
        aggregation: Aggregation = "BEST",
        *,
        count: bool = True,
    ) -> Answer:
        """As the function `search` of this module."""
        ...


def search(
    snapshot: Snapshot,
    queries: Codes,
    k: int,
    level: Level = Level.IMAGE,
    where: Filter = Filter(),  # noqa: B008 -- frozen
    maximum_distance: int | None = None,
    aggregation: Aggregation = "BEST",
    *,
    count: bool = True,
) -> Answer:
    """Find the k nearest entities of a level.

    The distance of a frame is that to the nearest of the queries. BEST takes the least distance of an entity's
    candidate frames, MEAN their average; an instance always counts by its best frame. Ties, also at the cut, go to the
    smallest UID.

    Parameters
    ----------
    queries : (queries, words)
        At least one code.
    k
        At least 1.
    maximum_distance
        In bits, inclusive.
    count
        Whether to count the candidates, which reads columns that the search itself may not need.

    Raises
    ------
    CodeLengthError
        Queries of another length than the codes kept.
    ValueError
        No query, or nothing asked for.
    """
    check_question(snapshot, queries, k)
    limit = snapshot.code_length if maximum_distance is None else maximum_distance
    candidates = Candidates(where, snapshot)
    if aggregation == "BEST" or level == Level.IMAGE:
        near = nearest_groups(snapshot, queries, k, level, candidates, limit)
        groups, first = np.unique(near.groups, return_index=True)
        chosen = _cut(snapshot, level, groups, near.distances[first], k)
    else:
        means = mean_groups(snapshot, queries, level, candidates)
        groups = np.flatnonzero(means <= limit).astype(np.uint32)
        chosen = _cut(snapshot, level, groups, means[groups], k)
        ordinals = np.array([entity.ordinal for entity in chosen], np.uint32)
        near = best_rows(snapshot, queries, level, ordinals, candidates)
    frames = _nearest_frames(snapshot, near, chosen)
    hits = tuple(Hit(*entity, *frames[entity.ordinal]) for entity in chosen)
    return Answer(hits, count_instances(snapshot, candidates) if count else None)


class _Chosen(NamedTuple):
    uid: str
    ordinal: int
    distance: float


def _cut(
    snapshot: Snapshot, level: Level, groups: NDArray[np.uint32], distances: NDArray[Any], k: int
) -> list[_Chosen]:
    """First k entities in ascending (distance, UID)."""
    if groups.size > k:
        farthest = np.partition(distances, k - 1)[k - 1]
        certain, tied = groups[distances < farthest], groups[distances == farthest]
        kept = np.concatenate([certain, _first_by_key(snapshot, level, tied, k - certain.size)])
        here = np.isin(groups, kept)
        groups, distances = groups[here], distances[here]
    pairs = zip(groups.tolist(), distances.tolist(), strict=True)
    chosen = [_Chosen(snapshot.uid(level, ordinal), ordinal, distance) for ordinal, distance in pairs]
    return sorted(chosen, key=lambda entity: (entity.distance, key_bytes(entity.uid)))


def _first_by_key(snapshot: Snapshot, level: Level, ordinals: NDArray[np.uint32], n: int) -> NDArray[np.uint32]:
    """Return the n ordinals with the smallest unique keys, by whichever way reads fewer of them."""
    if ordinals.size**2 < n * snapshot.count(level):
        return np.array(sorted(ordinals.tolist(), key=lambda i: key_bytes(snapshot.uid(level, i)))[:n], np.uint32)
    wanted = set(ordinals.tolist())
    return np.array(list(islice((i for i in snapshot.ordinals_by_key(level) if i in wanted), n)), np.uint32)


def _nearest_frames(snapshot: Snapshot, near: ScanResult, chosen: list[_Chosen]) -> dict[int, tuple[str, int, int]]:
    """(SOP Instance UID, frame, row) of the first of each chosen entity's nearest rows, by its ordinal."""
    here = np.isin(near.groups, [entity.ordinal for entity in chosen])
    rows, groups = near.rows[here], near.groups[here]
    frames = snapshot.gather("frame", rows)
    instances = snapshot.levels_of(rows, Level.IMAGE).tolist()
    uids = {instance: snapshot.uid(Level.IMAGE, instance) for instance in set(instances)}
    found: dict[int, tuple[str, int, int]] = {}
    for group, instance, frame, row in zip(groups.tolist(), instances, frames.tolist(), rows.tolist(), strict=True):
        candidate = (uids[instance], frame, row)
        found[group] = min(found.get(group, candidate), candidate)
    return found
