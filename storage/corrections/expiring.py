"""Previews and original objects that have stayed long enough are deleted, oldest first; records and codes stay.

Ordinals of instances are given in the order of arrival, so whoever walks along them meets the oldest first.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Final

from storage.database.database import Database
from storage.database.lineage import stored_record
from storage.database.tables import Tables
from storage.objects.object_store import ObjectStore
from storage.record import Level, Record

PREVIEWS, OBJECTS = "expired previews", "expired objects"
"""Counters of what was deleted since the database was made."""
MAX_BATCH: Final = 1000
"""Instances that one transaction looks at."""


@dataclass(frozen=True, slots=True)
class StayLimit:
    """What may stay.

    Attributes
    ----------
    since_ns
        Time of arrival, nanoseconds since the epoch, from which on everything may stay.
    size_bytes
        Disk space; None for as much as there is.
    """

    since_ns: int
    size_bytes: int | None = None


def expired(database: Database) -> tuple[int, int]:
    """Number of previews and of objects that were deleted since the database was made."""
    with database.reading() as tables:
        return tables.counter(PREVIEWS), tables.counter(OBJECTS)


def expire_previews(database: Database, limit: StayLimit) -> list[Record]:
    """Delete the previews of the next instances that are due, and return the records of these; empty if none is.

    Durable when this returns. LMDB uses the room in its file again.
    """
    size_bytes = database.size_bytes()["previews"]
    with database.writing() as tables:
        excess = _excess(tables, size_bytes, limit)
        records, count = [], 0
        for ordinal, frames in islice(_previewed(tables), MAX_BATCH):
            record = stored_record(tables, ordinal)
            if record.received_ns >= limit.since_ns and count >= excess:
                break
            records.append(record)
            count += len(frames)
        for record in records:
            image = tables.ordinal(Level.IMAGE, record.sop_instance_uid)
            assert image is not None
            tables.drop_frames("previews", image, record.frames)
        tables.set_counter(PREVIEWS, tables.counter(PREVIEWS) + count)
    return records


def _excess(tables: Tables, size_bytes: int, limit: StayLimit) -> int:
    """Number of previews beyond the allowed size, by their mean size."""
    count = tables.entries("previews")
    if limit.size_bytes is None or size_bytes <= limit.size_bytes or not count:
        return 0
    return math.ceil(count * (size_bytes - limit.size_bytes) / size_bytes)


def _previewed(tables: Tables) -> Iterator[tuple[int, list[int]]]:
    """Yield ordinal and frames of the instances that have previews, in order of arrival."""
    for ordinal, keys in groupby(tables.framed("previews"), key=lambda key: key[0]):
        yield ordinal, [frame for _, frame in keys]


def objects_due(database: Database, objects: ObjectStore, limit: StayLimit) -> Iterator[list[Record]]:
    """Yield, batch by batch, the records of instances whose objects are due; erase a batch by `expire_objects`.

    Objects of instances that a note rejected are not among them: a restoration may need these.
    """
    usage = objects.usage()
    excess_bytes = 0 if limit.size_bytes is None else usage.size_bytes - limit.size_bytes
    ordinal = 0
    while True:
        with database.reading() as tables:
            nodes = list(islice(tables.nodes(Level.IMAGE, ordinal), MAX_BATCH))
            sizes = objects.sizes({node.uid for _, node in nodes})
            due = []
            for number, node in nodes:
                if node.uid in sizes and (node.received_ns < limit.since_ns or excess_bytes > 0):
                    due.append(stored_record(tables, number))
                    excess_bytes -= sizes[node.uid]
        if due:
            yield due
        is_past = bool(nodes) and excess_bytes <= 0 and nodes[-1][1].received_ns >= limit.since_ns
        if not nodes or is_past:
            return
        ordinal = nodes[-1][0] + 1


def expire_objects(database: Database, objects: ObjectStore, records: Sequence[Record]) -> None:
    """Erase the objects of instances; a kill on the way costs the count only."""
    count = objects.erase(record.sop_instance_uid for record in records)
    with database.writing() as tables:
        tables.set_counter(OBJECTS, tables.counter(OBJECTS) + count)
