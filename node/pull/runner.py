"""One job at work: threads that list, fetch, follow and compare, each with one association at a time."""

import logging
import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Lock, Thread
from typing import Any, Final

from node.errors import NodeError, PeerError
from node.pull.equipment import Equipment
from node.pull.search.archive import PullStoppedError
from node.pull.search.lister import RangeLister
from node.settings import Settings
from storage.progress.entry import StudyEntry
from storage.progress.job import Job, JobState
from storage.progress.progress import Progress

logger = logging.getLogger(__name__)

IDLE_S: Final = 0.5
NOTE_EVERY_S: Final = 2.0
ANNOUNCED_EVERY_S: Final = 10.0
RATE_WEIGHT: Final = 0.2
"""Weight of the latest interval in the rates that people see."""


class JobRunner:
    """Runs one job until it is stopped; everything that it knows is in the progress, so a kill costs nothing.

    Attributes
    ----------
    job
        The job as it was when the runner was made.
    """

    def __init__(self, settings: Settings, progress: Progress, job: Job, equipment: Equipment, stop: Event) -> None:
        self._settings, self._progress, self.job, self._tools = settings, progress, job, equipment
        self._stop, self._lock = stop, Lock()
        self._claimed: set[str] = set()
        self._duties = {"list": Lock(), "follow": Lock(), "announced": Lock(), "compare": Lock()}
        self._follow_at_s = time.monotonic() + settings.pull_poll_s
        self._announced_at_s = 0.0
        self._announced: dict[str, frozenset[str]] = {}
        self._trouble = ""
        self._noted: dict[str, Any] = {}
        self._sampled = (time.monotonic(), progress.counts(job))
        self._rates = {"studies_per_hour": 0.0, "bytes_per_s": 0.0}
        number = range(self._tools.definition.associations)
        self._threads = [Thread(target=self._work, name=f"pull-{job.name}-{n}", daemon=True) for n in number]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for the threads to end, after the stop was set."""
        for thread in self._threads:
            thread.join(self._settings.peer_timeout_s)

    @property
    def is_alive(self) -> bool:
        """True while a thread works."""
        return any(thread.is_alive() for thread in self._threads)

    def note(self) -> None:
        """Store what the job waits for and how fast it is, if that changed; called every few seconds."""
        then_s, before = self._sampled
        now_s, counts = time.monotonic(), self._progress.counts(self.job)
        if now_s - then_s >= NOTE_EVERY_S:
            self._sampled = now_s, counts
            studies = (counts.done + counts.parked - before.done - before.parked) / (now_s - then_s) * 3600
            size = (counts.fetched_bytes - before.fetched_bytes) / (now_s - then_s)
            for name, rate in (("studies_per_hour", studies), ("bytes_per_s", size)):
                self._rates[name] += RATE_WEIGHT * (rate - self._rates[name])
        hindrance = self._tools.gate.hindrance()
        trouble = self._trouble if hindrance and "asked again" in hindrance else ""
        notes = {"waits_for": f"{trouble}; {hindrance}" if trouble else hindrance, "response_s": self._response_s()}
        notes |= {name: round(rate, 1) for name, rate in self._rates.items()}
        if notes != self._noted:
            self._noted = notes
            self._progress.change_job(self.job.number, notes=notes)

    def _response_s(self) -> float | None:
        recent_s = self._tools.archive.patience.recent_s
        return None if recent_s != recent_s else round(recent_s, 3)  # NaN before the first response

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self._tools.gate.wait_rest()
                if self._tools.gate.hindrance() or not self._step():
                    self._stop.wait(IDLE_S)
            except PullStoppedError:
                self._stop.wait(IDLE_S)
            except PeerError as error:
                self._fail(str(error))
            except NodeError as error:
                self._fail(str(error))
            except Exception as error:
                logger.exception("internal error in job %s", self.job.name)
                self._fail(f"internal error: {type(error).__name__}, see the log of the node")

    def _fail(self, trouble: str) -> None:
        pause_s = self._tools.archive.patience.failed()
        self._trouble = trouble
        logger.warning("job %s pauses for %.0f s: %s", self.job.name, pause_s, trouble)
        self._tools.gate.rest(pause_s, "the archive is left alone")

    def _step(self) -> bool:
        """Do one thing, the most urgent; False if there is nothing to do."""
        return (
            self._duty("announced", self._expect_announced)
            or self._duty("follow", self._follow)
            or self._fetch_next()
            or self._duty("list", self._list)
            or self._duty("compare", self._compare)
            or self._rest_complete()
        )

    def _duty(self, name: str, work: Callable[[], bool]) -> bool:
        """Do what one thread does at a time, unless another one does it now."""
        if not self._duties[name].acquire(blocking=False):
            return False
        try:
            return work()
        finally:
            self._duties[name].release()

    def _fetch_next(self) -> bool:
        with self._claim() as entry:
            if entry is None:
                return False
            self._tools.studies.take(1, self._tools.gate.check)
            attempt = self._tools.fetcher.fetch(entry)
            self._progress.settle(self.job, attempt.entry, attempt.fetched, attempt.fetched_bytes)
            return True

    @contextmanager
    def _claim(self) -> Any:
        """The study that is next; no other thread takes it meanwhile."""
        with self._lock:
            entry = self._progress.next_waiting(self.job, self._claimed, time.time_ns())
            if entry is not None:
                self._claimed.add(entry.study_instance_uid)
        try:
            yield entry
        finally:
            if entry is not None:
                with self._lock:
                    self._claimed.discard(entry.study_instance_uid)

    def _list(self) -> bool:
        if self._tools.lister.is_finished:
            return False
        with self._tools.archive.queries() as queries:
            self._tools.lister.step(queries)
        return True

    def _compare(self) -> bool:
        """Compare some of what is indexed with the archive, if it is time to."""
        return self._tools.lister.is_finished and self._tools.nightly.step()

    def _follow(self) -> bool:
        """Look for new studies of the latest days."""
        lister = self._tools.lister
        if not self._tools.definition.follow or not isinstance(lister, RangeLister):
            return False
        if time.monotonic() < self._follow_at_s:
            return False
        self._follow_at_s = time.monotonic() + self._settings.pull_poll_s
        today = self._tools.gate.calendar.day(self._tools.gate.now())
        first = today - timedelta(days=self._settings.pull_follow_days - 1)
        with self._tools.archive.queries() as queries:
            new = lister.follow(queries, first, today)
        logger.info("job %s: %d new studies of the latest days", self.job.name, new)
        return True

    def _expect_announced(self) -> bool:
        """Put studies on the list that the archive has announced (PS3.4 annex R) and that lack instances here."""
        if not self._tools.definition.follow or time.monotonic() < self._announced_at_s:
            return False
        self._announced_at_s = time.monotonic() + ANNOUNCED_EVERY_S
        for study, expected in self._tools.holdings.announced():
            lacking = frozenset(self._tools.holdings.lacking(expected))
            if lacking and self._announced.get(study) != lacking:
                self._announced[study] = lacking
                if not self._progress.reopen(self.job, study):
                    self._progress.record(self.job, [StudyEntry(study)])
        return False

    def _rest_complete(self) -> bool:
        """Say that the job is complete once nothing waits; a job that follows goes on looking."""
        complete = self._tools.lister.is_finished and self._progress.counts(self.job).waiting == 0
        state = self._progress.job_at(self.job.number).state
        wanted = JobState.COMPLETE if complete else JobState.RUNNING
        if state != wanted and state in (JobState.RUNNING, JobState.COMPLETE) and not self._claimed:
            self._progress.change_job_if(self.job.number, state, wanted)
        return False
