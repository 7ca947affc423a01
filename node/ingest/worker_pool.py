"""Decode workers: processes that prepare one file at a time and may be killed, and the thread that feeds them."""

import logging
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import wait
from pickle import UnpicklingError
from threading import Lock, Thread
from typing import Any, Final

from node.ingest.decode_worker import Prepare, WorkerLimits, WorkerMessage, work
from node.ingest.outcome import TIME_LIMIT, WORKER_DIED, ExampleOutcome, Unusable
from storage.spool.queue import Entry

LONGEST_WAIT_S: Final = 1.0  # between two looks at the clock
MAX_FAILED_STARTS: Final = 5
RESTART_DELAY_S: Final = 0.5

logger = logging.getLogger(__name__)


class WorkersFailed(RuntimeError):  # noqa: N818 - no instance's failure but the machine's
    """Decode workers cannot be started, or their feeding thread ended; only a new process helps."""


@dataclass(slots=True)
class DecodeTask:
    """An entry that a worker is to prepare.

    Attributes
    ----------
    is_retry
        Whether an earlier try failed for a reason that the machine may have caused.
    """

    entry: Entry
    is_retry: bool = False
    queued_s: float = field(default_factory=time.monotonic)


class DecodeWorker:
    """One process with the task it has, if any; it is ready once it has sent its first message."""

    def __init__(self, prepare: Prepare, limits: WorkerLimits) -> None:
        context = get_context("forkserver")  # fork would copy torch's threads' locks
        context.set_forkserver_preload(["node.ingest.preparation"])  # a new worker is there in milliseconds
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, prepare, limits), daemon=True)
        self.process.start()
        theirs.close()
        self.task: DecodeTask | None = None
        self.is_ready, self.is_fresh, self.given_s = False, True, time.monotonic()

    def give(self, task: DecodeTask) -> None:
        """Let it prepare a file; if it has just died, `receive` will tell."""
        self.task, self.is_fresh, self.given_s = task, False, time.monotonic()
        with suppress(OSError):
            self.connection.send(task.entry)

    def receive(self) -> WorkerMessage | None:
        """Next message, None if the process has died; call it when `connection` is readable."""
        try:
            message: WorkerMessage = self.connection.recv()
        except (OSError, EOFError, UnpicklingError):
            return None
        return message

    def end(self) -> int | None:
        """Kill the process; return its exit status."""
        self.process.kill()
        self.process.join()
        self.connection.close()
        return self.process.exitcode


class WorkerPool:
    """Feeds tasks to workers in the order they come; used in a `with` block.

    A worker that exceeds its limits, dies, or keeps more memory than it may is replaced. An instance whose failure the
    machine may have caused is tried once more: alone, that is while no other worker is busy, in a fresh worker. It
    waits for that until nothing else waits, but no longer than `patience_s`.

    Parameters
    ----------
    prepare
        What a worker does with an entry; both are pickled.
    deliver
        Called with each entry and its outcome, in the order they end, from the pool's own thread.
    """

    def __init__(
        self,
        prepare: Prepare,
        limits: WorkerLimits,
        count: int,
        deliver: Callable[[Any, Any], None],
        patience_s: float,
    ) -> None:
        self._prepare, self._limits, self._count = prepare, limits, count
        self._deliver, self._patience_s = deliver, patience_s
        self._workers: list[DecodeWorker] = []
        self._waiting: deque[DecodeTask] = deque()
        self._retries: deque[DecodeTask] = deque()
        self._lock = Lock()
        self._wake_reader, self._wake_writer = os.pipe()
        self._failed_starts, self._start_not_before_s = 0, 0.0
        self._stopping = False
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="decoding", daemon=True)

    def start(self) -> None:
        """Start the thread, which starts the workers."""
        self._thread.start()

    def stop(self) -> None:
        """Kill every worker; tasks that were not delivered are forgotten."""
        self._stopping = True
        self._wake()
        self._thread.join()
        for pipe in (self._wake_reader, self._wake_writer):
            os.close(pipe)

    def submit(self, entry: Entry) -> None:
        """Queue an entry.

        Raises
        ------
        WorkersFailed
            The pool has ended.
        """
        self.check()
        with self._lock:
            self._waiting.append(DecodeTask(entry))
        self._wake()

    def check(self) -> None:
        """Raise `WorkersFailed` if the pool has ended."""
        if self._error is not None:
            raise WorkersFailed("decoding has ended") from self._error

    def _wake(self) -> None:
        os.write(self._wake_writer, b"\0")

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._staff()
                self._dispatch()
                self._listen()
                self._end_overdue()
        except BaseException as error:
            logger.exception("decoding has ended")
            self._error = error
        finally:
            for worker in self._workers:
                worker.end()

    def _staff(self) -> None:
        """Start as many workers as are missing."""
        while len(self._workers) < self._count and time.monotonic() >= self._start_not_before_s:
            self._workers.append(DecodeWorker(self._prepare, self._limits))

    def _dispatch(self) -> None:
        running = [worker.task for worker in self._workers if worker.task is not None]
        if any(task.is_retry for task in running):
            return
        with self._lock:
            is_due = bool(self._retries) and (
                not self._waiting or time.monotonic() - self._retries[0].queued_s > self._patience_s
            )
            if is_due and running:
                return  # it is to run alone
            if is_due:
                self._retry()
                return
            for worker in self._workers:
                if worker.is_ready and worker.task is None and self._waiting:
                    worker.give(self._waiting.popleft())

    def _retry(self) -> None:
        fresh = next((worker for worker in self._workers if worker.is_fresh), None)
        if fresh is None:
            self._discard(self._workers[0])
        elif fresh.is_ready:
            fresh.give(self._retries.popleft())

    def _listen(self) -> None:
        connections: dict[object, DecodeWorker] = {worker.connection: worker for worker in self._workers}
        for readable in wait([*connections, self._wake_reader], LONGEST_WAIT_S):  # type: ignore[list-item]
            if readable == self._wake_reader:
                os.read(self._wake_reader, 4096)
            elif (message := connections[readable].receive()) is None:
                self._bury(connections[readable])
            else:
                self._take(connections[readable], message)

    def _take(self, worker: DecodeWorker, message: WorkerMessage) -> None:
        if message.outcome is None:
            worker.is_ready, self._failed_starts = True, 0
            return
        task, worker.task = worker.task, None
        if message.kept_bytes > self._limits.kept_bytes or (task is not None and task.is_retry):
            self._discard(worker)
        if task is not None:
            self._finish(task, message.outcome)

    def _bury(self, worker: DecodeWorker) -> None:
        """Replace a worker that has died, and say why of its task."""
        task, status = worker.task, self._discard(worker)
        if task is not None and status == -signal.SIGPROF:
            self._finish(task, Unusable(TIME_LIMIT, f"decoding took more than {self._limits.processor_s:g} s"))
        elif task is not None:
            self._finish(task, Unusable(WORKER_DIED, f"a decoder ended its process, exit status {status}"))
        elif not worker.is_ready:
            self._failed_starts += 1
            self._start_not_before_s = time.monotonic() + RESTART_DELAY_S
            if self._failed_starts >= MAX_FAILED_STARTS:
                raise WorkersFailed(f"decode workers do not start, exit status {status}")

    def _end_overdue(self) -> None:
        for worker in list(self._workers):
            if worker.task is not None and time.monotonic() - worker.given_s > self._limits.elapsed_s:
                task = worker.task
                self._discard(worker)
                self._finish(task, Unusable(TIME_LIMIT, f"decoding did not end in {self._limits.elapsed_s:g} s"))

    def _discard(self, worker: DecodeWorker) -> int | None:
        self._workers.remove(worker)
        return worker.end()

    def _finish(self, task: DecodeTask, outcome: ExampleOutcome) -> None:
        if isinstance(outcome, Unusable) and outcome.is_environmental and not task.is_retry:
            logger.warning("%s is tried again: %s", task.entry.path.name, outcome.reason)
            self._retries.append(DecodeTask(task.entry, is_retry=True))
        else:
            self._deliver(task.entry, outcome)
