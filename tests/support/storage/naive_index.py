"""An index that is obviously right: every row in one list, searched by numpy."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hashing.codes import WORD_BITS, CodeLengthError, Codes, unpack, words
from storage.record import Level
from storage.search.index import EVERY_ROW, Aggregation, Filter, Hit, Hits, IndexRow
from storage.search.milvus.passing import passes

Pair = tuple[int, int]
"""Distance and weighted distance of a frame from a query."""
UID = {
    Level.PATIENT: "patient_key",
    Level.STUDY: "study_instance_uid",
    Level.SERIES: "series_instance_uid",
    Level.IMAGE: "sop_instance_uid",
}


@dataclass(frozen=True)
class NaiveView:
    code_length: int
    rows: list[IndexRow]

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
        check(queries, outputs, k, self.code_length)
        rows = [row for row in self.rows if passes(row, where)]
        pairs = [[self._pair(row, queries, outputs, q) for q in range(len(queries))] for row in rows]
        uids = np.array([getattr(row, UID[level]) for row in rows], object)
        by_image = Aggregation.BEST if level == Level.IMAGE else aggregation
        hits = [_hit(uid, rows, pairs, np.flatnonzero(uids == uid), by_image) for uid in set(uids)]
        near = [hit for hit in hits if maximum_distance is None or hit.distance <= maximum_distance]
        first = sorted(near, key=lambda hit: (hit.distance, hit.weighted_distance, hit.uid))[:k]
        return Hits(tuple(first), len({row.sop_instance_uid for row in rows}) if count else None)

    def _pair(self, row: IndexRow, queries: Codes, outputs: NDArray[np.int8] | None, q: int) -> Pair:
        """Distance and weighted distance of a frame from one query."""
        bits = unpack(row.code[None] ^ queries[q], self.code_length)[0]
        weights = np.zeros(self.code_length, int) if outputs is None else np.abs(outputs[q].astype(int))
        return int(bits.sum()), int(weights[: self.code_length][bits].sum())


def _hit(
    uid: str, rows: list[IndexRow], pairs: list[list[Pair]], here: NDArray[np.int64], aggregation: Aggregation
) -> Hit:
    """Aggregate the pairs of an entity's frames and the queries."""
    frames = [(min(pairs[i]), rows[i].sop_instance_uid, rows[i].frame) for i in here]
    nearest, sop_instance_uid, frame = min(frames)
    averaged = {
        Aggregation.BEST: [nearest],
        Aggregation.MEAN: [pair for pair, _, _ in frames],
        Aggregation.LATE: [min(pairs[i][q] for i in here) for q in range(len(pairs[here[0]]))],
    }[aggregation]
    distance, weighted = (sum(part) / len(averaged) for part in zip(*averaged, strict=True))
    return Hit(uid, distance, sop_instance_uid, frame, weighted)


@dataclass
class NaiveIndex:
    code_length: int
    rows: dict[tuple[str, int], IndexRow] = field(default_factory=dict)

    @contextmanager
    def view(self) -> Iterator[NaiveView]:
        yield NaiveView(self.code_length, list(self.rows.values()))

    def append(self, rows: Sequence[IndexRow]) -> None:
        for row in rows:
            if len(row.code) != words(self.code_length):
                raise CodeLengthError(len(row.code) * WORD_BITS, self.code_length)
        self.rows = {(row.sop_instance_uid, row.frame): row for row in reversed(rows)} | self.rows

    def remove(self, sop_instance_uids: Sequence[str]) -> None:
        self.rows = {key: row for key, row in self.rows.items() if key[0] not in set(sop_instance_uids)}


def check(queries: Codes, outputs: NDArray[np.int8] | None, k: int, code_length: int) -> None:
    if queries.ndim != 2 or queries.shape[1] != words(code_length):
        raise CodeLengthError(queries.shape[-1] * WORD_BITS, code_length)
    if not len(queries) or k < 1:
        raise ValueError("a search needs a query and a k of at least 1")
    if outputs is not None and outputs.shape[1] < code_length:
        raise CodeLengthError(outputs.shape[1], code_length)
