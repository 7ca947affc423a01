"""The service of the index role that encodes what is not to be indexed: examples of questions, and regions of images.

It listens on a socket in the run folder, which only the node's own user can enter. Each request is one connection.
Files are decoded in a worker of its own, so that a question does not wait behind what is to be indexed; a request that
takes too long or too much costs that worker.
"""

import logging
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, Listener
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Event, Lock, Thread
from typing import Final

import numpy as np
import SimpleITK as sitk

from hashing.images.pixels import PixelError
from hashing.model.encoder import Encoder
from hashing.model.network import INPUT_SIZE
from node.examples.example_reading import ExampleEntry, prepare_example
from node.examples.explanation import PairExplainer
from node.examples.regions import cropped
from node.examples.request import (
    BUSY,
    SOCKET,
    EncodedExample,
    ImagePair,
    PreviewPart,
    Reply,
    Request,
    socket_address,
)
from node.ingest.decoding import pixel_limits_of, worker_limits_of
from node.ingest.outcome import ExampleOutcome, Prepared, Unusable
from node.ingest.worker_pool import WorkerPool
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
        self._pool: WorkerPool | None = None
        self._lock = Lock()
        self._waiting: dict[int, SimpleQueue[ExampleOutcome]] = {}
        self._explainer = PairExplainer(settings)

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
                if self._pool is not None:
                    self._pool.stop()

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

    def _reply(self, request: Request) -> Reply | str:
        if isinstance(request, ImagePair):
            return self._explainer.maps(request)
        if isinstance(request, PreviewPart):
            return self._part_of_preview(request)
        outcome = self._decoded(request)
        if not isinstance(outcome, Prepared):
            return outcome
        modality = outcome.record.series.get("Modality", "")
        encoding = self._encoder.encode(outcome.images, [modality] * len(outcome.images))
        return EncodedExample(outcome, encoding.codes, encoding.outputs)

    def _part_of_preview(self, request: PreviewPart) -> Reply:
        try:
            image = cropped(sitk.GetImageFromArray(request.preview), request.region, INPUT_SIZE)
        except PixelError as error:
            return Unusable(error.reason.replace(" ", "-"), str(error))
        encoding = self._encoder.encode(image[np.newaxis], [request.modality])
        return EncodedExample(None, encoding.codes, encoding.outputs)

    def _decoded(self, request: ExampleEntry) -> ExampleOutcome:
        """Decode a file in the worker; the pool ends what takes too long, and tries it once more."""
        done: SimpleQueue[ExampleOutcome] = SimpleQueue()
        self._waiting[id(request)] = done  # the pool hands back this very object
        try:
            self._started_pool().submit(request)
            return done.get(timeout=4 * self._settings.decode_elapsed_s)
        except Empty:
            return NOT_FINISHED
        finally:
            del self._waiting[id(request)]

    def _started_pool(self) -> WorkerPool:
        """The pool, started at the first request: a node that is asked nothing has no such process."""
        with self._lock:
            if self._pool is None:
                settings = self._settings
                limits, patience_s = pixel_limits_of(settings), settings.decode_timeout_s
                work = partial(prepare_example, size=INPUT_SIZE, max_frames=settings.max_frames, limits=limits)
                self._pool = WorkerPool(work, worker_limits_of(settings), 1, self._deliver, patience_s)
                self._pool.start()
            return self._pool

    def _deliver(self, entry: Entry, outcome: ExampleOutcome) -> None:
        if (waiting := self._waiting.get(id(entry))) is not None:
            waiting.put(outcome)


def _close_at_end(stop: Event, listener: Listener) -> None:
    stop.wait()
    listener.close()
