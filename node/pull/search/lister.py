"""The studies of a job are listed, step by step: each step is recorded together with how far it went."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Final, Protocol

from node.options.pull import PullJob
from node.pull.search.archive import Archive, ArchiveQueries
from node.pull.search.listing import list_range, list_studies, wanted_studies
from node.pull.search.walk import ArchiveWalk
from node.pull.search.work_list import work_list_uids
from storage.progress.entry import StudyEntry, StudyState
from storage.progress.job import Job
from storage.progress.progress import Progress

UIDS_A_STEP: Final = 200


class Lister(Protocol):
    """Lists what a job is to bring in."""

    def step(self, queries: ArchiveQueries) -> bool:
        """Ask one thing and record the answer; False if there is nothing more to ask."""

    @property
    def is_finished(self) -> bool:
        """True if there is nothing more to ask."""


class RangeLister:
    """Lists the studies of a job's dates, newest first."""

    def __init__(self, progress: Progress, job: Job, definition: PullJob, most: int) -> None:
        self._progress, self._number, self._definition, self._most = progress, job.number, definition, most

    @property
    def walk(self) -> ArchiveWalk:
        """How far the archive is searched."""
        return ArchiveWalk.from_json(self._progress.job_at(self._number).walk)

    @property
    def is_finished(self) -> bool:
        """True at the end of the walk."""
        return self.walk.query is None

    def step(self, queries: ArchiveQueries) -> bool:
        """Ask for one range."""
        job = self._progress.job_at(self._number)
        walk = ArchiveWalk.from_json(job.walk)
        if walk.query is None:
            return False
        entries, found = list_range(queries, self._definition, walk.query, self._most)
        self._progress.record(job, entries, walk.after(len(found.datasets), is_cut=found.is_cut).to_json())
        return True

    def follow(self, queries: ArchiveQueries, first: date, today: date) -> int:
        """List the latest dates once more; return how many studies are new."""
        job, known, new = self._progress.job_at(self._number), self.walk, 0
        last = self._definition.last_date
        walk = ArchiveWalk.of(max(first, self._definition.first_date), last and min(last, today), today, undated=False)
        walk = replace(walk, shown=known.shown, limit=known.limit, step_days=(today - first).days + 1)
        while (asked := walk.query) is not None:
            entries, found = list_range(queries, self._definition, asked, self._most)
            new += self._progress.record(job, entries)
            walk = walk.after(len(found.datasets), is_cut=found.is_cut)
        return new


class WorkLister:
    """Lists the studies of a work list that came from outside; those that the archive lacks are parked."""

    def __init__(self, progress: Progress, job: Job, definition: PullJob, path: Path) -> None:
        self._progress, self._number, self._definition, self._path = progress, job.number, definition, path

    @property
    def is_finished(self) -> bool:
        """True at the end of the list."""
        return bool(self._progress.job_at(self._number).walk["is_finished"])

    def step(self, queries: ArchiveQueries) -> bool:
        """Ask for some studies by their UIDs."""
        job = self._progress.job_at(self._number)
        if job.walk["is_finished"]:
            return False
        uids, offset = work_list_uids(self._path, job.walk["offset"], UIDS_A_STEP)
        self._progress.record(job, list(self._entries(queries, uids)), _position(offset, is_finished=not uids))
        return bool(uids)

    def _entries(self, queries: ArchiveQueries, uids: list[str]) -> Iterator[StudyEntry]:
        found = list_studies(queries, uids)
        yield from wanted_studies(found.values(), self._definition)
        for uid in uids:
            if uid not in found:
                yield StudyEntry(uid, state=StudyState.PARKED, reason="on the work list, and not in the archive")


def first_position(definition: PullJob, today: date, target: int) -> dict[str, Any]:
    """Where the listing of a new job begins, as JSON."""
    if definition.work_list is not None:
        return _position(0, is_finished=False)
    last = definition.last_date
    undated = definition.undated and last is None
    return ArchiveWalk.of(definition.first_date, last, today, undated=undated, target=target).to_json()


def lister_of(progress: Progress, job: Job, definition: PullJob, folder: Path, most: int) -> RangeLister | WorkLister:
    """Return what lists the studies of a job.

    Parameters
    ----------
    folder
        Folder of work lists, one a job.
    most
        Number of studies after which a query is cancelled.
    """
    if definition.work_list is not None:
        return WorkLister(progress, job, definition, work_list_path(folder, job.number))
    return RangeLister(progress, job, definition, most)


def list_everything(archive: Archive, lister: Lister) -> Iterator[None]:
    """List to the end over one association; yield after each step."""
    with archive.queries() as queries:
        while lister.step(queries):
            yield


def work_list_path(folder: Path, number: int) -> Path:
    """Path of the file with the work list of a job, one Study Instance UID a line."""
    return folder / f"work-list-{number}.csv"


def _position(offset: int, *, is_finished: bool) -> dict[str, Any]:
    return {"offset": offset, "is_finished": is_finished}
