"""How much of what jobs bring in is here, in one word for clients."""

import time
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Final

from storage.errors import NoDatabase
from storage.progress.job import Job, JobState
from storage.progress.progress import Progress

LOOK_S: Final = 2.0
"""How long an answer holds."""


class CoverageState(StrEnum):
    """Values of the private element Coverage."""

    COMPLETE = "COMPLETE"
    BACKFILLING = "BACKFILLING"
    DEGRADED = "DEGRADED"


class CoverageWatch:
    """Says whether history is complete: BACKFILLING while any is missing, DEGRADED where studies were given up.

    Parameters
    ----------
    path, map_size
        Of the progress, as `Progress` has them; where none is, nothing is missing.
    """

    def __init__(self, path: Path, map_size: int) -> None:
        self._path, self._map_size = path, map_size
        self._progress: Progress | None = None
        self._state, self._until_s = CoverageState.COMPLETE, 0.0
        self._lock = Lock()

    def state(self) -> CoverageState:
        """Return the state, a few seconds old at most."""
        with self._lock:
            if time.monotonic() >= self._until_s:
                self._state, self._until_s = self._look(), time.monotonic() + LOOK_S
            return self._state

    def _look(self) -> CoverageState:
        try:
            progress = self._progress = self._progress or Progress.open_existing(self._path, self._map_size)
        except NoDatabase:
            return CoverageState.COMPLETE
        jobs = [job for job in progress.jobs() if job.state is not JobState.CANCELLED]
        if any(_is_under_way(progress, job) for job in jobs):
            return CoverageState.BACKFILLING
        given_up = any(progress.counts(job).parked for job in jobs)
        return CoverageState.DEGRADED if given_up else CoverageState.COMPLETE


def _is_under_way(progress: Progress, job: Job) -> bool:
    """True if studies of a job wait, or it may find more; one that is only planned has promised nothing."""
    if job.state is JobState.PLANNED:
        return False
    return job.state is not JobState.COMPLETE or progress.counts(job).waiting > 0
