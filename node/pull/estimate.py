"""What a job will cost before it begins: studies, images, bytes, time and disk."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from node.options.pull import PullJob
from node.pull.politeness.calendar import Calendar
from storage.progress.entry import Covered, JobCounts

MEGABYTES: Final[Mapping[str, float]] = {
    "CT": 0.53, "MR": 0.3, "PT": 0.1, "NM": 0.5, "CR": 10, "DX": 14, "MG": 27, "US": 1.4, "XA": 30, "RF": 12, "IO": 2,
}  # fmt: skip
"""Usual size of an uncompressed image, 10^6 bytes, by modality, used until a job has measured its own."""
OTHER_MEGABYTES: Final = 1.0
DISK_BYTES: Final = 60_000
"""Disk that an indexed image takes: its preview, record and code."""
UNLIMITED_MEGABYTES_PER_S: Final = 20.0
"""Rate to expect of an archive that is asked without a limit."""
WEEK_H: Final = 7 * 24


@dataclass(frozen=True, slots=True)
class PullEstimate:
    """What remains of a job.

    Attributes
    ----------
    studies, instances
        That wait; instances as far as the archive announces them.
    size_bytes
        To transfer.
    disk_bytes
        That the index will take.
    open_hours
        Hours in which the archive must be asked.
    days
        Days until the end, with the calendar.
    is_measured
        True if sizes are those of what the job has brought in; False if they are the usual ones.
    """

    studies: int
    instances: int
    size_bytes: float
    disk_bytes: float
    open_hours: float
    days: float
    is_measured: bool


def estimate(definition: PullJob, counts: JobCounts, coverage: list[Covered]) -> PullEstimate:
    """PullEstimate what remains of a job.

    Parameters
    ----------
    coverage
        Studies by year and modality, which weigh the usual sizes.
    """
    is_measured = counts.fetched > 0
    average = counts.fetched_bytes / counts.fetched if is_measured else _usual_bytes(coverage)
    instances = counts.announced / definition.every_nth
    size_bytes = instances * average
    rate = (definition.megabytes_per_s or UNLIMITED_MEGABYTES_PER_S) * 1e6
    hours = size_bytes / rate / 3600
    if definition.studies_per_hour:
        hours = max(hours, counts.waiting / definition.studies_per_hour)
    days = hours / (24 * open_share(definition))
    return PullEstimate(counts.waiting, int(instances), size_bytes, instances * DISK_BYTES, hours, days, is_measured)


def open_share(definition: PullJob) -> float:
    """Part of a week in which a job may ask, without its holidays."""
    spans = Calendar.of(definition).spans
    minutes = {(day * 24 * 60 + minute) % (WEEK_H * 60) for day, first, end in spans for minute in range(first, end)}
    return len(minutes) / (WEEK_H * 60) if spans else 1.0


def _usual_bytes(coverage: list[Covered]) -> float:
    """Usual size of an image of the modalities that are listed, weighed by studies."""
    studies = sum(one.listed for one in coverage)
    total = sum(one.listed * MEGABYTES.get(one.modality, OTHER_MEGABYTES) for one in coverage)
    return 1e6 * (total / studies if studies else OTHER_MEGABYTES)
