"""The rows of a collection that decide a search: the nearest by rounds, or all that pass a filter."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from hashing.codes import Codes
from storage.errors import TooManyRows
from storage.record import Level
from storage.search.milvus.connection import MAX_ROWS, Connection
from storage.search.milvus.expressions import UID_FIELD, joined, none_of
from storage.search.milvus.rows import BUCKETS, Row, packed

FIRST_ROWS: Final = 256
"""Least number of rows that the first round asks for: fewer are not sooner there."""
MAX_EXCLUDED: Final = 4096
"""Entities that a round may exclude; beyond it, rows are read in parts."""
READ_AT_ONCE: Final = 8192
"""Rows, on average, of one part where all are read."""


@dataclass
class _Nearest:
    """Rows found so far, and the least distance of each entity among them."""

    rows: dict[str, Row] = field(default_factory=dict)
    distances: dict[str, int] = field(default_factory=dict)

    def add(self, row: Row, uid: str) -> None:
        self.rows[row["key"]] = row
        self.distances[uid] = min(row["distance"], self.distances.get(uid, row["distance"]))

    def within(self, distance: int) -> list[str]:
        """UIDs of the entities that are no farther than a distance."""
        return [uid for uid, here in self.distances.items() if here <= distance]


def nearest(
    connection: Connection, queries: Codes, k: int, level: Level, where: str, maximum_distance: int
) -> list[Row]:
    """Every nearest row of the k nearest entities of a level, and of all that tie with the last of them.

    Milvus returns rows, not entities, and cuts ties anywhere. So each round is complete only below the distance of its
    last row. Further rounds ask for more rows; then without the entities that are known; then part by part, until k
    entities lie within the distance up to which everything is known.

    Parameters
    ----------
    where
        Expression that rows fulfil.
    maximum_distance
        In bits: farther rows need not be there.
    """
    found, codes, uid_field = _Nearest(), packed(queries, connection.origin.code_length), UID_FIELD[level]
    fields = _fields(level)
    limit, parts, excluded = min(max(FIRST_ROWS, 4 * k), MAX_ROWS), 1, list[str]()
    while True:
        complete = maximum_distance
        for part in _parts(parts):
            expression = joined([where, part, none_of(uid_field, excluded)])
            for rows in connection.search(codes, limit, expression, fields):
                for row in rows:
                    found.add(row, row[uid_field])
                if len(rows) == limit:
                    complete = min(complete, rows[-1]["distance"] - 1)
        settled = found.within(complete)
        if len(settled) >= k or complete == maximum_distance:
            return list(found.rows.values())
        if limit < MAX_ROWS:
            limit = min(8 * limit, MAX_ROWS)
        elif level != Level.IMAGE and len(excluded) < len(settled) <= MAX_EXCLUDED:
            excluded = settled
        elif parts < BUCKETS:
            parts *= 2
        else:
            raise TooManyRows(BUCKETS * MAX_ROWS, BUCKETS * MAX_ROWS)


def every(connection: Connection, level: Level, where: str, most: int) -> list[Row]:
    """Every row that fulfils an expression.

    Raises
    ------
    TooManyRows
        There are more than `most`.
    """
    rows = connection.count(where)
    if rows > most:
        raise TooManyRows(rows, most)
    fields = _fields(level)
    parts = 1 << (rows // READ_AT_ONCE).bit_length()
    return [row for part in _parts(min(parts, BUCKETS)) for row in connection.query(joined([where, part]), fields)]


def _parts(number: int) -> Iterable[str]:
    """Expressions that cut all rows into equal parts, by the hash of their keys."""
    if number == 1:
        return [""]
    ends = [BUCKETS * index // number for index in range(number + 1)]
    return [f"bucket >= {first} and bucket < {end}" for first, end in pairwise(ends)]


def _fields(level: Level) -> list[str]:
    return list(dict.fromkeys(["key", "code", "sop_instance_uid", "frame", "owner", UID_FIELD[level]]))
