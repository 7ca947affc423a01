"""Jobs are made, started, paused, resumed, cancelled and tried again, by commands and from the settings."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from node.errors import NodeError
from node.options.pull import PullJob
from node.pull.politeness.calendar import Calendar
from node.pull.search.lister import first_position, work_list_path
from node.pull.search.work_list import take_work_list
from node.settings import Settings
from storage.errors import NoDatabase
from storage.progress.job import Job, JobState
from storage.progress.progress import Progress

TARGET_SHARE: Final = 5
"""The walk chooses windows of a fifth of the number of studies at which a query is cancelled."""
ENDED: Final = frozenset({JobState.CANCELLED})
ALLOWED: Final = {
    JobState.RUNNING: frozenset({JobState.PLANNED, JobState.PAUSED, JobState.RUNNING, JobState.COMPLETE}),
    JobState.PAUSED: frozenset({JobState.RUNNING, JobState.COMPLETE, JobState.PAUSED}),
    JobState.CANCELLED: frozenset({JobState.PLANNED, JobState.RUNNING, JobState.PAUSED, JobState.COMPLETE}),
}
"""States from which a job may come into another by command."""


class JobError(NodeError):
    """A job cannot do what a command asks of it."""


def open_progress(settings: Settings) -> Progress:
    """Open the progress of a home folder; made if there is none."""
    return Progress(settings.pull_path, settings.map_size_bytes)


def open_existing_progress(settings: Settings) -> Progress:
    """Open the progress of a home folder, and make nothing there.

    Raises
    ------
    JobError
        No job was ever planned there.
    """
    try:
        return Progress.open_existing(settings.pull_path, settings.map_size_bytes)
    except NoDatabase as error:
        raise JobError(f"no job in {settings.home}: make one with `lookalike pull plan`") from error


def find_job(progress: Progress, name: str) -> Job:
    """Return the job of a name.

    Raises
    ------
    JobError
        There is none.
    """
    job = progress.job(name)
    if job is None or job.state in ENDED:
        known = ", ".join(sorted({one.name for one in progress.jobs() if one.state not in ENDED})) or "none"
        raise JobError(f"there is no job {name!r}; jobs: {known}. Make one with `lookalike pull plan`")
    return job


def make_job(settings: Settings, progress: Progress, name: str, definition: PullJob) -> Job:
    """Store a new job, which is not started.

    Raises
    ------
    JobError
        A job of this name exists, with another definition.
    SettingsError
        Its source is no peer, or its work list cannot be used.
    """
    if definition.source not in settings.peers:
        raise JobError(f"{definition.source!r} is not in the table of peers: add peers.{definition.source}")
    existing = progress.job(name)
    stored = definition.model_dump(mode="json")
    if existing is not None and existing.state not in ENDED:
        if existing.definition == stored:
            return existing
        raise JobError(f"job {name!r} is there with other options: cancel it first, or choose another name")
    today = Calendar.of(definition).day(datetime.now(UTC))
    target = max(2, settings.pull_window_results // TARGET_SHARE)
    job = progress.add_job(name, stored, first_position(definition, today, target))
    if definition.work_list is not None:
        take_work_list(Path(definition.work_list), work_list_path(settings.pull_path, job.number))
    return job


def change_state(progress: Progress, name: str, state: JobState) -> Job:
    """Start, pause, resume or cancel a job.

    Raises
    ------
    JobError
        There is no such job, or it is in a state from which that is not possible.
    """
    job = find_job(progress, name)
    if job.state not in ALLOWED[state]:
        raise JobError(f"job {name!r} is {job.state}, which cannot become {state}")
    changed = progress.change_job(job.number, state=state)
    if state is JobState.CANCELLED:
        progress.remove_studies(changed)
    return changed


def retry(progress: Progress, name: str, study_instance_uid: str = "") -> int:
    """Put parked studies of a job on its list again; return how many.

    Parameters
    ----------
    study_instance_uid
        Any study of the job; "" for all that are parked.
    """
    job = find_job(progress, name)
    if study_instance_uid:
        if not progress.reopen(job, study_instance_uid):
            raise JobError(f"job {name!r} has no study {study_instance_uid}")
        return 1
    count = 0
    while parked := progress.parked(job, 1000):
        count += sum(progress.reopen(job, entry.study_instance_uid) for entry in parked)
    return count


def start_jobs_of_settings(settings: Settings, progress: Progress) -> None:
    """Make and start the jobs that the settings have, unless a command has paused or cancelled them.

    A job whose definition has changed is cancelled and made anew: nothing that is indexed already is fetched again.
    """
    for name, definition in settings.pull_jobs.items():
        job = progress.job(name)
        if job is not None and job.definition != definition.model_dump(mode="json"):
            progress.remove_studies(progress.change_job(job.number, state=JobState.CANCELLED))
            job = None
        if job is None:
            job = make_job(settings, progress, name, definition)
        if job.state is JobState.PLANNED:
            progress.change_job(job.number, state=JobState.RUNNING)
