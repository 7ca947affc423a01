"""The tables of progress, seen through one transaction of LMDB."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from struct import Struct
from typing import Any, Final

import lmdb

from storage.progress.entry import Covered, JobCounts, StudyEntry, StudyState
from storage.progress.job import NUMBER, Job

TABLES: Final = ("jobs", "counts", "studies", "order", "later", "parked", "coverage")
TIME: Final = Struct(">Q")
_RANK: Final = Struct(">I")
_PAIR: Final = Struct(">QQ")
_LAST_DATE: Final = 99_999_999


class ProgressTables:
    """Reads and writes jobs and studies inside one transaction; a writer calls `finish` before it commits."""

    def __init__(self, transaction: lmdb.Transaction, handles: Mapping[str, Any]) -> None:
        self._transaction, self._handles = transaction, handles
        self._counts: dict[int, JobCounts] = {}  # changed in this transaction, by number of the job

    def finish(self) -> None:
        """Write the sums that changed."""
        for number, counts in self._counts.items():
            self.put("counts", NUMBER.pack(number), json.dumps(asdict(counts)).encode())

    def cursor(self, table: str) -> lmdb.Cursor:
        """Cursor over a table."""
        return self._transaction.cursor(db=self._handles[table])

    def get(self, table: str, key: bytes) -> bytes | None:
        """Value of a key, None if it is not there."""
        found = self._transaction.get(key, db=self._handles[table])
        return None if found is None else bytes(found)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Store a value."""
        self._transaction.put(key, value, db=self._handles[table])

    def delete(self, table: str, key: bytes) -> None:
        """Delete a key, if it is there."""
        self._transaction.delete(key, db=self._handles[table])

    def items(self, table: str, job: Job, after: str = "") -> Iterator[tuple[bytes, bytes]]:
        """Yield key and value of everything of a job in a table, from a text after its number on."""
        cursor = self.cursor(table)
        is_there = cursor.set_range(job.key + after.encode())
        while is_there and bytes(cursor.key()).startswith(job.key):
            yield bytes(cursor.key()), bytes(cursor.value())
            is_there = cursor.next()

    def keys(self, table: str, job: Job, after: str = "") -> Iterator[bytes]:
        """Yield the keys of what `items` yields."""
        return (key for key, _ in self.items(table, job, after))

    def entry(self, job: Job, uid: str) -> StudyEntry | None:
        """A study of a job."""
        found = self.get("studies", job.key + uid.encode())
        return None if found is None else StudyEntry.from_bytes(uid, found)

    def counts(self, job: Job) -> JobCounts:
        """Sums over the studies of a job."""
        if job.number in self._counts:
            return self._counts[job.number]
        found = self.get("counts", job.key)
        return JobCounts() if found is None else JobCounts(**json.loads(found))

    def put_entry(self, job: Job, old: StudyEntry | None, new: StudyEntry) -> None:
        """Store an entry with its place in the order, and correct the sums."""
        counts = self.counts(job)
        for entry, sign in ((old, -1), (new, 1)):
            if entry is None:
                continue
            counts = counts.with_entry(entry, sign)
            for modality in entry.modalities or ("",):
                self._count_covered(job, entry, modality, sign)
            table, key = _place(job, entry)
            if sign < 0 and table:
                self.delete(table, key)
            elif table:
                self.put(table, key, b"")
        self.put("studies", job.key + new.study_instance_uid.encode(), new.to_bytes())
        self._counts[job.number] = counts

    def add_fetched(self, job: Job, fetched: int, fetched_bytes: int) -> None:
        """Add what an attempt brought in to the sums."""
        counts = self.counts(job)
        added = {"fetched": counts.fetched + fetched, "fetched_bytes": counts.fetched_bytes + fetched_bytes}
        self._counts[job.number] = replace(counts, **added)

    def _count_covered(self, job: Job, entry: StudyEntry, modality: str, sign: int) -> None:
        key = job.key + f"{entry.year}\0{modality}"[:64].encode("utf-8", "replace")
        listed, done = _PAIR.unpack(self.get("coverage", key) or _PAIR.pack(0, 0))
        self.put("coverage", key, _PAIR.pack(listed + sign, done + sign * (entry.state is StudyState.DONE)))


def _place(job: Job, entry: StudyEntry) -> tuple[str, bytes]:
    """Table and key by which a study is found by its state: the newest first among those that wait."""
    uid = entry.study_instance_uid.encode()
    if entry.state is StudyState.PARKED:
        return "parked", job.key + uid
    if entry.state is StudyState.DONE:
        return "", b""
    if entry.not_before_ns:
        return "later", job.key + TIME.pack(entry.not_before_ns) + uid
    date = int(entry.study_date) if entry.study_date.isascii() and entry.study_date.isdigit() else 0
    return "order", job.key + _RANK.pack(_LAST_DATE - min(date, _LAST_DATE)) + uid


def covered(key: bytes, value: bytes) -> Covered:
    """Undo the packing of a key and a value of the table of coverage."""
    year, _, modality = key[4:].decode("utf-8", "replace").partition("\0")
    return Covered(year, modality, *_PAIR.unpack(value))
