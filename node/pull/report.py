"""The state of every job, for people and programs; no patient data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from node.options.pull import PullJob
from node.pull.estimate import PullEstimate, estimate
from node.settings import Settings
from storage.errors import NoDatabase
from storage.progress.entry import Covered, JobCounts, StudyEntry
from storage.progress.job import Job, JobState
from storage.progress.progress import Progress


@dataclass(frozen=True, slots=True)
class JobReport:
    """State of a job.

    Attributes
    ----------
    is_listed
        True once the archive has been searched to the end.
    remaining
        What is still to do, as an estimate.
    parked
        Some of the studies that were given up for now.
    notes
        What the job waits for, its rates, and what the last comparison with the archive found.
    """

    name: str
    source: str
    transport: str
    state: JobState
    is_listed: bool
    counts: JobCounts
    coverage: list[Covered]
    remaining: PullEstimate
    parked: list[StudyEntry]
    notes: Mapping[str, Any]


def read_reports(settings: Settings, most_parked: int = 20) -> list[JobReport]:
    """Report on every job that is not cancelled, the latest first; none if no job was ever planned."""
    try:
        progress = Progress.open_existing(settings.pull_path, settings.map_size_bytes)
    except NoDatabase:
        return []
    try:
        return reports(progress, most_parked)
    finally:
        progress.close()


def reports(progress: Progress, most_parked: int = 20) -> list[JobReport]:
    """Report on every job that is not cancelled, the latest first."""
    live = [job for job in progress.jobs() if job.state is not JobState.CANCELLED]
    return [_report(progress, job, most_parked) for job in reversed(live)]


def _report(progress: Progress, job: Job, most_parked: int) -> JobReport:
    definition, counts, coverage = PullJob(**job.definition), progress.counts(job), progress.coverage(job)
    return JobReport(
        job.name,
        definition.source,
        definition.transport,
        job.state,
        is_listed(job),
        counts,
        coverage,
        estimate(definition, counts, coverage),
        progress.parked(job, most_parked),
        job.notes,
    )


def is_listed(job: Job) -> bool:
    """Return True once the archive has been searched to the end for a job."""
    if "is_finished" in job.walk:
        return bool(job.walk["is_finished"])
    return not job.walk["probes"] and not job.walk["key_texts"] and job.walk["newest"] < job.walk["first"]
