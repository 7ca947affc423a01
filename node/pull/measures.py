"""Numbers of jobs for Prometheus: names, meanings, labels and values; no patient data, and no UID."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from node.pull.report import JobReport
from storage.progress.job import JobState


@dataclass(slots=True)
class Measure:
    """One family of samples.

    Attributes
    ----------
    is_counter
        True if it never falls.
    labels
        Names of the labels.
    samples
        Values of the labels, each with the number.
    """

    name: str
    meaning: str
    is_counter: bool = False
    labels: tuple[str, ...] = ("job",)
    samples: list[tuple[tuple[str, ...], float]] = field(default_factory=list)


def measures(reports: Sequence[JobReport]) -> Iterator[Measure]:
    """Yield the measures of all jobs."""
    studies = Measure("lookalike_pull_studies", "Studies of a job by state.", labels=("job", "state"))
    images = Measure("lookalike_pull_images", "Images that a job has brought in.", is_counter=True)
    size = Measure("lookalike_pull_bytes", "Bytes that a job has brought in.", is_counter=True)
    running = Measure("lookalike_pull_running", "1 for a job that runs, 0 for one that is paused or planned.")
    waits = Measure("lookalike_pull_waits", "1 for a job that something holds up: hours, live ingest, the archive.")
    response = Measure("lookalike_pull_response_seconds", "Recent response time of a job's archive.")
    days = Measure("lookalike_pull_remaining_days", "Estimated days until a job is complete.")
    for report in reports:
        name, counts = (report.name,), report.counts
        for state, number in (("waiting", counts.waiting), ("done", counts.done), ("parked", counts.parked)):
            studies.samples.append(((report.name, state), number))
        images.samples.append((name, counts.fetched))
        size.samples.append((name, counts.fetched_bytes))
        running.samples.append((name, float(report.state in (JobState.RUNNING, JobState.COMPLETE))))
        waits.samples.append((name, float(bool(report.notes.get("waits_for")))))
        days.samples.append((name, report.remaining.days))
        if (seconds := report.notes.get("response_s")) is not None:
            response.samples.append((name, seconds))
    yield from (studies, images, size, running, waits, response, days)
