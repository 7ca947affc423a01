"""The service of the index role that encodes what is not to be indexed: examples of questions, and regions of images.

It listens on a socket in the run folder, which only the node's own user can enter. Each request is one connection.
Files are decoded in workers of its own, so that a question does not wait behind what is to be indexed, and a query not
behind a question; a request that takes too long or too much costs its worker.
"""

import logging
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection, Listener
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Event, Lock, Thread
from typing import Final

import numpy as np

from hashing.images.pixels import PixelError
from hashing.model.encoder import Encoder
from hashing.model.network import INPUT_SIZE
from node.access.data_key import vault_of
from node.examples.example_reading import prepare_example
from node.examples.explanation import PairExplainer
from node.examples.region_coder import RegionCoder
from node.examples.request import (
    BUSY,
    SOCKET,
    EncodedExample,
    ExampleEntry,
    FrameEntry,
    ImagePair,
    PairMaps,
    PreviewPart,
    Reply,
    Request,
    socket_address,
)
from node.ingest.decode_worker import WorkerLimits
from node.ingest.decoding import pixel_limits_of, worker_limits_of
from node.ingest.outcome import ExampleOutcome, Prepared, RenderedFrame, Unusable
from node.ingest.worker_pool import WorkerPool, WorkersFailed
from node.settings import Settings
from storage.spool.queue import Entry

MAX_REQUESTS: Final = 16
"""Requests under way at once; further ones are told that the service is busy."""
BACKLOG: Final = 32
NOT_FINISHED: Final = Unusable("worker-died", "the object could not be read within the limits")

logger = logging.getLogger(__name__)


class EncodingService:
    """Serves requests in threads of this process.

    Parameters
    ----------
    encoder
        May be used by other threads at the same time.
    """

    def __init__(self, settings: Settings, encoder: Encoder) -> None:
        self._settings, self._encoder = settings, encoder
        self._slots = BoundedSemaphore(MAX_REQUESTS)
        self._pools: dict[bool, WorkerPool] = {}
        self._lock = Lock()
        self._waiting: dict[int, SimpleQueue[ExampleOutcome]] = {}
        self._explainer, self._regions = PairExplainer(settings), RegionCoder(settings, encoder)

    def warm_up(self) -> None:
        """Encode nothing once, and start the worker of questions if any can come: no example waits for either."""
        self._encoder.encode(np.zeros((1, INPUT_SIZE, INPUT_SIZE), np.uint8), [""])
        self._explainer.warm_up()
        if self._settings.answers_questions:
            self._started_pool(is_prompt=False)

    def run(self, stop: Event) -> None:
        """Accept requests until `stop` is set; it may end a connection later than that."""
        (self._settings.run_path / SOCKET).unlink(missing_ok=True)  # of an earlier process
        with socket_address(self._settings.run_path) as address, Listener(address, "AF_UNIX", BACKLOG) as listener:
            Thread(target=_close_at_end, args=[stop, listener], daemon=True).start()
            try:
                while not stop.is_set():
                    self._start(listener.accept())
            except OSError:  # closed at the end
                if not stop.is_set():
                    raise
            finally:
                for pool in self._pools.values():
                    pool.stop()

    def _start(self, connection: Connection) -> None:
        if not self._slots.acquire(blocking=False):
            with connection, suppress(OSError):
                connection.send(BUSY)
            return
        Thread(target=self._serve, args=[connection], name="example", daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        try:
            with connection, suppress(OSError, EOFError):  # the client has gone
                connection.send(self._reply(connection.recv()))
        except Exception:
            logger.exception("internal error while encoding an example")
        finally:
            self._slots.release()

    def _reply(self, request: Request) -> Reply | PairMaps | RenderedFrame | str:
        if isinstance(request, ImagePair):
            return self._explainer.maps(request)
        if isinstance(request, PreviewPart):
            return self._part_of_preview(request)
        outcome = self._decoded(request)
        if not isinstance(outcome, Prepared):
            return outcome
        assert isinstance(request, ExampleEntry), "a frame to show is not prepared"
        modality = outcome.record.series.get("Modality", request.modality)
        if outcome.region is not None:
            encoding = self._regions.encode(outcome.images[0], outcome.region, modality)
            return EncodedExample(outcome, encoding.codes, encoding.outputs)
        encoding = self._encoder.encode(outcome.images, [modality] * len(outcome.images))
        return EncodedExample(outcome, encoding.codes, encoding.outputs)

    def _part_of_preview(self, request: PreviewPart) -> Reply:
        try:
            encoding = self._regions.encode(request.preview, request.region, request.modality)
        except PixelError as error:
            return Unusable(error.reason.replace(" ", "-"), str(error))
        return EncodedExample(None, encoding.codes, encoding.outputs)

    def _decoded(self, request: ExampleEntry | FrameEntry) -> ExampleOutcome:
        """Decode a file in a worker; the pool ends what takes too long, and tries it once more."""
        done: SimpleQueue[ExampleOutcome] = SimpleQueue()
        self._waiting[id(request)] = done  # the pool hands back this very object
        try:
            self._started_pool(request.is_prompt).submit(request)
            return done.get(timeout=4 * self._limits(request.is_prompt).elapsed_s)
        except Empty:
            return NOT_FINISHED
        except WorkersFailed:
            with self._lock:
                self._pools.pop(request.is_prompt, None)  # the next request starts another pool
            raise
        finally:
            del self._waiting[id(request)]

    def _started_pool(self, is_prompt: bool) -> WorkerPool:
        """The pool for requests that somebody waits for, or for the others, which may be slow; started when needed."""
        with self._lock:
            if is_prompt not in self._pools:
                settings = self._settings
                limits, patience_s = pixel_limits_of(settings), 0 if is_prompt else settings.decode_timeout_s
                vault, frames = vault_of(settings), settings.max_frames
                work = partial(prepare_example, size=INPUT_SIZE, max_frames=frames, limits=limits, vault=vault)
                self._pools[is_prompt] = WorkerPool(work, self._limits(is_prompt), 1, self._deliver, patience_s)
                self._pools[is_prompt].start()
            return self._pools[is_prompt]

    def _limits(self, is_prompt: bool) -> WorkerLimits:
        limits, seconds = worker_limits_of(self._settings), self._settings.example_limit_s / 2  # it is tried twice
        return replace(limits, processor_s=seconds, elapsed_s=seconds) if is_prompt else limits

    def _deliver(self, entry: Entry, outcome: ExampleOutcome) -> None:
        if (waiting := self._waiting.get(id(entry))) is not None:
            waiting.put(outcome)


def _close_at_end(stop: Event, listener: Listener) -> None:
    stop.wait()
    listener.close()
