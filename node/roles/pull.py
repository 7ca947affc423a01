"""The role `pull`: brings in the history of archives, follows what is new, and compares what is indexed with them."""

import logging
import threading
from typing import Final

from node.corrections.follower import CorrectionFollower
from node.corrections.order_book import OrderBook
from node.errors import NodeError
from node.home import open_for_reading
from node.ingest.pressure import Pressure
from node.ingest.receiver import Receiver
from node.ingest.refusals import Refusals
from node.processes import Heartbeat
from node.pull.equipment import equip
from node.pull.jobs import open_progress, start_jobs_of_settings
from node.pull.politeness.gate import ACTIVE
from node.pull.reconciliation import CarryOut
from node.pull.runner import JobRunner
from node.settings import Settings
from storage.database.database import Database
from storage.progress.job import Job
from storage.progress.progress import Progress
from storage.spool.queue import Spool

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.5
REFUSALS_NUMBER: Final = 1000
"""Number of the file of refusals of this role; those of receivers count from 1."""


def run(settings: Settings, stop: threading.Event, _number: int, heartbeat: Heartbeat) -> None:
    """Run the jobs that are started, until `stop` is set."""
    reading = open_for_reading(settings)
    progress, spool = open_progress(settings), reading.retriever.spool
    start_jobs_of_settings(settings, progress)
    refusals = Refusals(settings.run_path, REFUSALS_NUMBER)
    follower = CorrectionFollower(settings, OrderBook(settings.corrections_path))
    receiver = Receiver(spool, Pressure(spool, settings), refusals, follower.follow_key_objects)
    crew = JobCrew(settings, progress, reading.database, spool, receiver, follower.carry_out)
    heartbeat.renew()
    while not stop.wait(LOOK_S):
        crew.look()
        heartbeat.renew()
        refusals.write()
    crew.join()


class JobCrew:
    """The runners of all jobs that are started."""

    def __init__(
        self,
        settings: Settings,
        progress: Progress,
        database: Database,
        spool: Spool,
        receiver: Receiver,
        carry_out: CarryOut,
    ) -> None:
        self._settings, self._progress, self._database = settings, progress, database
        self._spool, self._receiver, self._carry_out = spool, receiver, carry_out
        self._runners: dict[int, tuple[JobRunner, threading.Event]] = {}
        self._refused: set[int] = set()

    def look(self) -> None:
        """Start the runners of jobs that were started, and end those of jobs that were paused or cancelled."""
        jobs = {job.number: job for job in self._progress.jobs()}
        for number, job in jobs.items():
            if job.state in ACTIVE and number not in self._runners:
                self._begin(job)
            elif job.state not in ACTIVE:
                self._refused.discard(number)
                self._end(number)
        for runner, _ in self._runners.values():
            runner.note()

    def join(self) -> None:
        """End all runners."""
        for number in list(self._runners):
            self._end(number)

    def _begin(self, job: Job) -> None:
        if job.number in self._refused:
            return
        ending = threading.Event()
        try:
            tools = equip(
                self._settings,
                self._progress,
                job,
                self._database,
                self._spool,
                self._receiver,
                self._carry_out,
                ending,
            )
        except NodeError as error:
            self._refused.add(job.number)
            logger.error("job %s cannot run: %s", job.name, error)
            self._progress.change_job(job.number, notes={"waits_for": f"cannot run: {error}"})
            return
        runner = JobRunner(self._settings, self._progress, job, tools, ending)
        self._runners[job.number] = runner, ending
        runner.start()
        logger.info("job %s runs", job.name)

    def _end(self, number: int) -> None:
        found = self._runners.pop(number, None)
        if found is not None:
            runner, ending = found
            ending.set()
            runner.join()
            logger.info("job %s has ended or is paused", runner.job.name)
