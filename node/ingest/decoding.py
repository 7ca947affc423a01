"""Received instances on their way through the decode workers: killable processes, each instance costing only itself."""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from multiprocessing import get_context
from queue import Empty, SimpleQueue
from typing import Self

from pebble import ProcessExpired, ProcessPool

from hashing.images.frames import Limits
from node.ingest.preparation import MEMORY_LIMIT, Prepared, Unusable, prepare, start_worker
from node.settings import Settings
from storage.spool.queue import Entry

STALL_S = 60.0  # beyond the time limit of one instance: far longer than killing and replacing a worker takes


class DecodingStalled(RuntimeError):  # noqa: N818 - not an instance's failure but the pool's
    """No worker has finished anything for longer than any instance may take; only a new process helps."""


class Decoding:
    """The instances under way in decode workers; used in a `with` block.

    A worker that exceeds its time or memory, or dies, is replaced, and costs the instance it had.
    """

    def __init__(self, settings: Settings, size: int) -> None:
        self._settings = settings
        limits = Limits(settings.max_pixels, settings.max_announced_frames, settings.max_inflated_bytes)
        self._prepare = partial(prepare, size=size, max_frames=settings.max_frames, limits=limits)
        self._under_way: dict[Entry, Future[Prepared | Unusable]] = {}
        self._finished: SimpleQueue[Entry] = SimpleQueue()
        self._moved_s = time.monotonic()
        context = get_context("forkserver")  # fork would copy torch's threads' locks
        context.set_forkserver_preload(["node.ingest.preparation"])  # a new worker is there in milliseconds
        self._pool = ProcessPool(
            max_workers=settings.decode_workers,
            context=context,
            initializer=start_worker,
            initargs=[settings.decode_memory_bytes],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()

    def __len__(self) -> int:
        return len(self._under_way)

    def add(self, entries: Iterable[Entry]) -> None:
        """Start decoding those that are not under way yet."""
        if not self._under_way:
            self._moved_s = time.monotonic()  # idle is not stalled
        for entry in entries:
            if entry not in self._under_way:
                outcome = self._pool.schedule(
                    self._prepare, args=(entry.path, entry.received_ns), timeout=self._settings.decode_timeout_s
                )
                self._under_way[entry] = outcome
                outcome.add_done_callback(partial(self._finish, entry))

    def batch(self, most: int, wait_s: float, delay_s: float) -> list[tuple[Entry, Prepared | Unusable]]:
        """Take what has been decoded, in the order it was finished; `forget` it once it is dealt with.

        Parameters
        ----------
        most
            Instances at most.
        wait_s
            How long to wait for the first.
        delay_s
            How long the first waits for more; it does not when nothing else is under way.

        Raises
        ------
        DecodingStalled
            The pool itself is stuck.
        """
        entries = list(self._take(most, wait_s, delay_s))
        now = time.monotonic()
        if entries or not self._under_way:
            self._moved_s = now
        elif now - self._moved_s > self._settings.decode_timeout_s + STALL_S:
            raise DecodingStalled(f"{len(self)} instances under way and none finished in {now - self._moved_s:.0f} s")
        return [(entry, self._outcome(entry)) for entry in entries]

    def forget(self, entries: Sequence[Entry]) -> None:
        """Let go of entries that are out of the spool."""
        for entry in entries:
            del self._under_way[entry]

    def _finish(self, entry: Entry, _: Future[Prepared | Unusable]) -> None:
        self._finished.put(entry)

    def _take(self, most: int, wait_s: float, delay_s: float) -> Iterator[Entry]:
        deadline = time.monotonic() + wait_s
        for count in range(min(most, len(self._under_way))):
            try:
                yield self._finished.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                return
            if count == 0:
                deadline = time.monotonic() + delay_s

    def _outcome(self, entry: Entry) -> Prepared | Unusable:
        try:
            return self._under_way[entry].result()
        except FutureTimeout:
            return Unusable("time-limit", f"decoding took more than {self._settings.decode_timeout_s:g} s", {})
        except MemoryError:
            return Unusable("memory-limit", MEMORY_LIMIT, {})
        except ProcessExpired as error:
            return Unusable("worker-died", f"a decoder ended its process, exit status {error.exitcode}", {})
