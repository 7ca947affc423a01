"""Whether a job may go on: its state, the calendar, live ingest, and rests that the archive needs."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event, Lock
from typing import Final

from node.pull.politeness.calendar import Calendar
from node.pull.search.archive import PullStoppedError
from storage.progress.job import Job, JobState
from storage.progress.progress import Progress
from storage.spool.queue import Spool

LOOK_S: Final = 0.5
"""How long an answer holds."""
ACTIVE: Final = frozenset({JobState.RUNNING, JobState.COMPLETE})


class Gate:
    """Decides whether a job may begin a study now; all threads of the job ask it.

    Parameters
    ----------
    max_waiting
        Number of instances waiting to be indexed above which no study is begun.
    now
        The time, in UTC: a test has its own clock.
    """

    def __init__(
        self,
        progress: Progress,
        job: Job,
        calendar: Calendar,
        spool: Spool,
        max_waiting: int,
        stop: Event,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._progress, self._number, self.calendar, self._spool = progress, job.number, calendar, spool
        self._max_waiting, self._stop, self.now = max_waiting, stop, now
        self._rest_until_s = self._looked_s = 0.0
        self._rest_reason, self._hindrance = "", ""
        self._lock = Lock()

    def check(self) -> None:
        """Raise PullStoppedError if nothing may be asked now, not even to the end of a study."""
        if hindrance := self._standstill():
            raise PullStoppedError(hindrance)

    def hindrance(self) -> str:
        """Why no study may be begun now, for people; "" if one may."""
        if standstill := self._standstill():
            return standstill
        left_s = self._rest_until_s - time.monotonic()
        if left_s > 0:
            return f"{self._rest_reason}: asked again in {left_s:.0f} s"
        waiting = self._spool.depth()
        return f"{waiting} instances wait to be indexed" if waiting > self._max_waiting else ""

    def rest(self, seconds: float, reason: str) -> None:
        """Leave the archive alone, all threads together."""
        self._rest_until_s = max(self._rest_until_s, time.monotonic() + seconds)
        self._rest_reason = reason

    def wait_rest(self) -> None:
        """Wait until the archive may be asked again; raise PullStoppedError meanwhile as `check` does."""
        while (left_s := self._rest_until_s - time.monotonic()) > 0:
            self.check()
            self._stop.wait(min(left_s, LOOK_S))

    def _standstill(self) -> str:
        if self._stop.is_set():
            return "the role ends"
        with self._lock:
            if time.monotonic() - self._looked_s > LOOK_S:
                self._hindrance, self._looked_s = self._look(), time.monotonic()
            return self._hindrance

    def _look(self) -> str:
        job = self._progress.job_at(self._number)
        if job.state not in ACTIVE:
            return str(job.state)
        now = self.now()
        if self.calendar.is_open(now):
            return ""
        opens = self.calendar.opens_at(now)
        until = f"until {opens.astimezone(self.calendar.zone):%Y-%m-%d %H:%M}" if opens else "for more than a week"
        return f"out of its hours {until}"
