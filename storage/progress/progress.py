"""Progress of the jobs that bring in an archive's history, in LMDB: survives a kill at any point, in flat memory."""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

import lmdb

from storage.durable import PRIVATE_FILE, make_private_folder
from storage.errors import DatabaseFull, NoDatabase
from storage.progress.entry import Covered, JobCounts, StudyEntry, StudyState
from storage.progress.job import NUMBER, Definition, Job, JobState
from storage.progress.tables import TABLES, TIME, ProgressTables, covered

DATA: Final = "data.mdb"
CHUNK: Final = 10_000
"""Entries that one transaction removes, so that others can write in between."""


class Progress:
    """Jobs and their studies; any number of processes read and write, one transaction at a time.

    Parameters
    ----------
    path
        Folder, made if missing.
    map_size
        Most bytes it may ever take; address space, not disk.
    """

    def __init__(self, path: Path, map_size: int) -> None:
        make_private_folder(path)
        self.path, self._map_size = path, map_size
        # a loss of power may undo the last transaction, which is done again to the same effect: half of the syncs
        options: Any = {"map_size": map_size, "max_dbs": len(TABLES), "mode": PRIVATE_FILE, "metasync": False}
        self._environment = lmdb.open(str(path), **options)
        self._handles = {name: self._environment.open_db(name.encode()) for name in TABLES}

    @classmethod
    def open_existing(cls, path: Path, map_size: int) -> Self:
        """Open the progress of a home folder.

        Raises
        ------
        NoDatabase
            No job was ever planned there.
        """
        if not (path / DATA).is_file():
            raise NoDatabase(path)
        return cls(path, map_size)

    def close(self) -> None:
        """Close it; nothing may use it any more."""
        self._environment.close()

    def jobs(self) -> list[Job]:
        """Every job, in the order in which they were planned."""
        with self._reading() as reading:
            return [Job.from_bytes(bytes(value)) for _, value in reading.cursor("jobs")]

    def job(self, name: str) -> Job | None:
        """The job of a name that was planned last, None if there is none."""
        return next((job for job in reversed(self.jobs()) if job.name == name), None)

    def job_at(self, number: int) -> Job:
        """The job of a number, which must be there."""
        with self._reading() as reading:
            return Job.from_bytes(reading.get("jobs", NUMBER.pack(number)) or b"")

    def add_job(self, name: str, definition: Definition, walk: Definition) -> Job:
        """Store a new job, which nobody runs yet."""
        with self._writing() as writing:
            last = writing.cursor("jobs")
            number = NUMBER.unpack(bytes(last.key()))[0] + 1 if last.last() else 1
            job = Job(number, name, definition, JobState.PLANNED, walk, time.time_ns(), {})
            writing.put("jobs", job.key, job.to_bytes())
        return job

    def change_job(self, number: int, **changes: Any) -> Job:
        """Change attributes of a job, and return it; `notes` are added to those that are there."""
        with self._writing() as writing:
            job = Job.from_bytes(writing.get("jobs", NUMBER.pack(number)) or b"")
            changes |= {"notes": {**job.notes, **changes["notes"]}} if "notes" in changes else {}
            job = replace(job, **changes)
            writing.put("jobs", job.key, job.to_bytes())
        return job

    def change_job_if(self, number: int, state: JobState, wanted: JobState) -> bool:
        """Change the state of a job, unless another process has changed it meanwhile; True if it was changed."""
        with self._writing() as writing:
            job = Job.from_bytes(writing.get("jobs", NUMBER.pack(number)) or b"")
            if job.state is state:
                writing.put("jobs", job.key, replace(job, state=wanted).to_bytes())
        return job.state is state

    def record(self, job: Job, entries: Sequence[StudyEntry], walk: Definition | None = None) -> int:
        """Store what one query found, and how far the search is now, all or nothing; return how many are new.

        A known study stays as it is, unless it is done or parked and the archive announces more instances than before:
        then it waits again.
        """
        new = 0
        with self._writing() as writing:
            for entry in entries:
                known = writing.entry(job, entry.study_instance_uid)
                if known is None:
                    writing.put_entry(job, None, entry)
                    new += 1
                elif known.state is not StudyState.WAITING and entry.announced > known.announced:
                    reopened = replace(known, state=StudyState.WAITING, announced=entry.announced, attempts=0)
                    writing.put_entry(job, known, reopened)
            if walk is not None:
                stored = Job.from_bytes(writing.get("jobs", job.key) or b"")
                writing.put("jobs", job.key, replace(stored, walk=walk).to_bytes())
        return new

    def settle(self, job: Job, entry: StudyEntry, fetched: int = 0, fetched_bytes: int = 0) -> None:
        """Store a study after an attempt, with what the attempt brought in."""
        with self._writing() as writing:
            writing.put_entry(job, writing.entry(job, entry.study_instance_uid), entry)
            writing.add_fetched(job, fetched, fetched_bytes)

    def reopen(self, job: Job, study_instance_uid: str) -> bool:
        """Let a study wait again, as if it had never been tried; False if the job has no such study."""
        with self._writing() as writing:
            known = writing.entry(job, study_instance_uid)
            if known is not None and known.state is not StudyState.WAITING:
                fresh = replace(known, state=StudyState.WAITING, attempts=0, not_before_ns=0, reason="")
                writing.put_entry(job, known, fresh)
        return known is not None

    def entry(self, job: Job, study_instance_uid: str) -> StudyEntry | None:
        """A study of a job."""
        with self._reading() as reading:
            return reading.entry(job, study_instance_uid)

    def next_waiting(self, job: Job, claimed: Collection[str], now_ns: int) -> StudyEntry | None:
        """The study to fetch next: one whose time to be tried again has come, else the newest; None if none is due.

        Parameters
        ----------
        claimed
            Study Instance UIDs that are being fetched.
        """
        with self._reading() as reading:
            for key in reading.keys("later", job):
                if TIME.unpack(key[4:12])[0] > now_ns:
                    break
                if (uid := key[12:].decode()) not in claimed:
                    return reading.entry(job, uid)
            uids = (key[8:].decode() for key in reading.keys("order", job))
            uid = next((uid for uid in uids if uid not in claimed), "")
            return reading.entry(job, uid) if uid else None

    def parked(self, job: Job, limit: int | None = None) -> list[StudyEntry]:
        """Studies that were given up for now, in the order of their UIDs."""
        with self._reading() as reading:
            uids = islice((key[4:].decode() for key in reading.keys("parked", job)), limit)
            return [entry for uid in uids if (entry := reading.entry(job, uid)) is not None]

    def entries(self, job: Job, after: str = "", limit: int = CHUNK) -> list[StudyEntry]:
        """Some studies of a job in the order of their UIDs, from one on: for walks in flat memory."""
        with self._reading() as reading:
            uids = islice((key[4:].decode() for key in reading.keys("studies", job, after)), limit + 1)
            found = [entry for uid in uids if uid != after and (entry := reading.entry(job, uid)) is not None]
        return found[:limit]

    def counts(self, job: Job) -> JobCounts:
        """Sums over the studies of a job."""
        with self._reading() as reading:
            return reading.counts(job)

    def coverage(self, job: Job) -> list[Covered]:
        """Studies by year and modality, latest year first; a study counts once for each of its modalities."""
        with self._reading() as reading:
            found = [covered(key, value) for key, value in reading.items("coverage", job)]
        return sorted(found, key=lambda one: (one.year, one.modality), reverse=True)

    def remove_studies(self, job: Job) -> None:
        """Forget every study of a cancelled job, some at a time."""
        for table in ("studies", "order", "later", "parked", "coverage", "counts"):
            while True:
                with self._writing() as writing:
                    keys = list(islice(writing.keys(table, job), CHUNK))
                    for key in keys:
                        writing.delete(table, key)
                if len(keys) < CHUNK:
                    break

    @contextmanager
    def _reading(self) -> Iterator[ProgressTables]:
        with self._environment.begin() as transaction:
            yield ProgressTables(transaction, self._handles)

    @contextmanager
    def _writing(self) -> Iterator[ProgressTables]:
        try:
            with self._environment.begin(write=True) as transaction:
                tables = ProgressTables(transaction, self._handles)
                yield tables
                tables.finish()
        except lmdb.MapFullError as error:
            raise DatabaseFull(self.path, self._map_size) from error
