"""A view of an index in Milvus: rows found there, put in order here."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hashing.codes import WORD_BITS, CodeLengthError, Codes, words
from storage.database.tree import key_bytes
from storage.record import Level
from storage.search.entities import Entities, order, weigh
from storage.search.index import EVERY_ROW, Aggregation, Filter, Hit, Hits, IndexRow
from storage.search.milvus.candidates import every, nearest
from storage.search.milvus.connection import Connection
from storage.search.milvus.expressions import (
    LIVE_ROWS,
    UID_FIELD,
    among,
    expression,
    joined,
    no_possible_patient,
    none_of,
    state,
)
from storage.search.milvus.passing import passes
from storage.search.milvus.rows import Row, unpacked, unpacked_record, values_of


@dataclass(frozen=True, slots=True)
class State:
    """One state of the rows of an owner.

    Attributes
    ----------
    sequence
        Number of the state that Milvus has.
    since
        Rows of the instances that changed since then, by SOP Instance UID; none of an instance that went.
    """

    sequence: int
    since: Mapping[str, Sequence[IndexRow]] = field(default_factory=dict)


class MilvusView:
    """A `storage.search.index.IndexView` over one state of an owner's rows and, if shared, the latest of others."""

    def __init__(self, connection: Connection, owner: int, at: State, most_read: int, *, shared: bool) -> None:
        self._connection, self._owner, self._at, self._most_read = connection, owner, at, most_read
        self._shared = shared
        self._state = joined([state(owner, at.sequence, shared=shared), none_of("sop_instance_uid", at.since)])

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
        """Find the k nearest entities of a level, as `IndexView.search` says.

        Raises
        ------
        storage.errors.IndexUnavailable
            Milvus does not answer.
        storage.errors.TooManyRows
            MEAN or LATE over more rows than may be read.
        """
        code_length = self._connection.origin.code_length
        _check(queries, k, code_length)
        weights = weigh(queries, outputs, code_length)
        limit = code_length if maximum_distance is None else maximum_distance
        others = no_possible_patient(where.excluded_patients or ()) if self._shared else ""
        passing = joined([self._state, expression(where, self._connection.options.partition_key), others])
        own = [row for rows in self._at.since.values() for row in rows if passes(row, where)]
        if aggregation == Aggregation.BEST or level == Level.IMAGE:
            aggregation = Aggregation.BEST
            rows = nearest(self._connection, queries, k, level, passing, limit) if limit >= 0 else []
        else:
            rows = every(self._connection, level, passing, self._most_read)
        found = _Found.of([*rows, *(values_of(row, code_length) for row in own)], level, code_length)
        is_nearest, entities = order(found.codes.T.copy(), found.groups, weights, aggregation)
        foreign = {row["sop_instance_uid"] for row in rows if row["owner"] != self._owner}
        hits = self._with_records(found.hits(is_nearest, entities, limit, k), foreign)
        return Hits(hits, self._count(passing, own) if count else None)

    def _with_records(self, hits: tuple[Hit, ...], foreign: Set[str]) -> tuple[Hit, ...]:
        """Hits with the records of the instances that other owners wrote."""
        uids = {hit.sop_instance_uid for hit in hits} & foreign
        if not uids:
            return hits
        where = joined([LIVE_ROWS, "first == true", among("sop_instance_uid", uids)])
        found = self._connection.query(where, ["sop_instance_uid", "record"])
        records = {row["sop_instance_uid"]: unpacked_record(row["record"]) for row in found}
        return tuple(replace(hit, record=records.get(hit.sop_instance_uid)) for hit in hits)

    def _count(self, passing: str, own: Sequence[IndexRow]) -> int:
        """Number of instances that pass a filter."""
        return self._connection.count(f"{passing} and first == true") + len({row.sop_instance_uid for row in own})


@dataclass(frozen=True, slots=True)
class _Found:
    """Rows with the entities they belong to.

    Attributes
    ----------
    frames
        SOP Instance UID and frame of each row.
    uids
        UIDs of the entities.
    groups : (rows,) uint32
        Index of its entity in `uids`, of each row.
    codes : (rows, words)
    """

    frames: list[tuple[str, int]]
    uids: list[str]
    groups: NDArray[np.uint32]
    codes: Codes

    @classmethod
    def of(cls, rows: Sequence[Row], level: Level, code_length: int) -> "_Found":
        """Each frame once: of a row that is being replaced there may be a copy."""
        unique = {(row["sop_instance_uid"], row["frame"]): row for row in rows}
        uids = sorted({row[UID_FIELD[level]] for row in unique.values()}, key=key_bytes)
        numbers = {uid: number for number, uid in enumerate(uids)}
        groups = np.array([numbers[row[UID_FIELD[level]]] for row in unique.values()], np.uint32)
        return cls(list(unique), uids, groups, unpacked([row["code"] for row in unique.values()], code_length))

    def hits(self, is_nearest: NDArray[np.bool_], entities: Entities, limit: int, k: int) -> tuple[Hit, ...]:
        """First k entities within a distance, in ascending (distance, weighted distance, UID)."""
        frames: dict[int, tuple[str, int]] = {}
        for index in np.flatnonzero(is_nearest).tolist():
            group = int(self.groups[index])
            frames[group] = min(self.frames[index], frames.get(group, self.frames[index]))
        ordered = sorted(
            zip(*(part.tolist() for part in (entities.distances, entities.weights, entities.ordinals)), strict=True)
        )
        return tuple(
            Hit(self.uids[number], distance, *frames[number], weight)
            for distance, weight, number in ordered[:k]
            if distance <= limit
        )


def _check(queries: Codes, k: int, code_length: int) -> None:
    """Refuse what cannot be searched for."""
    if queries.ndim != 2 or queries.shape[1] != words(code_length):
        raise CodeLengthError(found=queries.shape[-1] * WORD_BITS, expected=code_length)
    if not len(queries):
        raise ValueError("no query code came; a search needs at least one")
    if k < 1:
        raise ValueError(f"the {k} nearest were asked for; ask for at least one")
