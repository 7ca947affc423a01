"""Received instances on their way through the decode workers, released in order of arrival where that matters."""

import time
from collections.abc import Iterable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Self

from hashing.images.frames import Limits
from node.access.data_key import vault_of
from node.ingest.decode_worker import WorkerLimits, prepare_file
from node.ingest.outcome import Outcome, Prepared
from node.ingest.preparation import prepare
from node.ingest.worker_pool import WorkerPool
from node.settings import Settings
from storage.spool.queue import Entry

STALL_S = 60.0  # beyond the time limits of one instance: far longer than killing and replacing a worker takes


class DecodingStalled(RuntimeError):  # noqa: N818 - not an instance's failure but the pool's
    """No worker has finished anything for longer than any instance may take; only a new process helps."""


def pixel_limits_of(settings: Settings) -> Limits:
    """Limits on what an instance may announce and decode to."""
    return Limits(
        settings.max_pixels, settings.max_announced_frames, settings.max_inflated_bytes, settings.max_decoded_bytes
    )


def worker_limits_of(settings: Settings) -> WorkerLimits:
    """Limits on the time and memory of a decode worker."""
    return WorkerLimits(
        settings.decode_timeout_s,
        settings.decode_elapsed_s,
        settings.decode_memory_bytes,
        settings.decode_kept_bytes,
    )


class Decoding:
    """The instances under way in decode workers; used in a `with` block, by one thread.

    Instances leave as they are finished, but those of one SOP Instance UID leave in order of arrival: which of two
    contents came first is not decided by which is decoded sooner. An entry that does not tell its UID before it is
    read holds those that arrived after it until it is.
    """

    def __init__(self, settings: Settings, size: int) -> None:
        self._settings = settings
        pixel_limits, limits = pixel_limits_of(settings), worker_limits_of(settings)
        self._under_way: dict[Entry, Outcome | None] = {}
        self._finished: SimpleQueue[tuple[Entry, Outcome]] = SimpleQueue()
        self._released: set[Entry] = set()
        self._progress_s = time.monotonic()
        most = settings.max_report_bytes if settings.keep_reports else 0
        work = partial(
            prepare_file,
            prepare,
            size=size,
            max_frames=settings.max_frames,
            limits=pixel_limits,
            max_report_bytes=most,
            vault=vault_of(settings),
        )
        self._workers = WorkerPool(
            work, limits, settings.decode_workers, self._deliver, patience_s=settings.decode_timeout_s
        )

    def __enter__(self) -> Self:
        self._workers.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._workers.stop()

    def __len__(self) -> int:
        return len(self._under_way)

    def add(self, entries: Iterable[Entry]) -> None:
        """Start decoding the entries that are not under way yet."""
        if not self._under_way:
            self._progress_s = time.monotonic()  # idle is not stalled
        for entry in entries:
            if entry not in self._under_way:
                self._under_way[entry] = None
                self._workers.submit(entry)

    def batch(self, limit: int, wait_s: float, delay_s: float) -> list[tuple[Entry, Outcome]]:
        """Take finished instances, in order of arrival; `forget` them once they are dealt with.

        Parameters
        ----------
        limit
            Instances at most.
        wait_s
            How long to wait for the first.
        delay_s
            How long the first waits for more; it does not when nothing else is under way.

        Raises
        ------
        DecodingStalled, WorkersFailed
            The workers themselves are stuck, or have ended.
        """
        deadline, has_first = time.monotonic() + wait_s, False
        self._collect(0.0)
        while len(ready := self._releasable(limit)) < limit and None in self._under_way.values():
            if ready and not has_first:
                deadline, has_first = time.monotonic() + delay_s, True
            if not self._collect(deadline - time.monotonic()):
                break
        self._check_progress(is_moving=bool(ready))
        self._released.update(ready)
        return [(entry, outcome) for entry in ready if (outcome := self._under_way[entry]) is not None]

    def forget(self, entries: Sequence[Entry]) -> None:
        """Let go of entries that are out of the spool."""
        for entry in entries:
            del self._under_way[entry]
            self._released.discard(entry)

    def _deliver(self, entry: Entry, outcome: Outcome) -> None:
        self._finished.put((entry, outcome))

    def _collect(self, timeout_s: float) -> bool:
        """Note what has been finished; wait for the first so long. Return whether there was anything."""
        try:
            entry, outcome = self._finished.get(timeout=timeout_s) if timeout_s > 0 else self._finished.get_nowait()
        except Empty:
            return False
        self._under_way[entry] = outcome
        while not self._finished.empty():
            entry, outcome = self._finished.get_nowait()
            self._under_way[entry] = outcome
        return True

    def _releasable(self, limit: int) -> list[Entry]:
        """Finished entries, in order of arrival, behind none that may have the same SOP Instance UID and is held."""
        held: set[str] = set()
        ready: list[Entry] = []
        for entry in sorted(self._under_way.keys() - self._released, key=_arrival):
            outcome = self._under_way[entry]
            uid = entry.sop_instance_uid if outcome is None else _uid(entry, outcome)
            if outcome is None and not uid:
                break
            if outcome is None or (uid and uid in held):
                held.add(uid)
            elif len(ready) < limit:
                ready.append(entry)
        return ready

    def _check_progress(self, *, is_moving: bool) -> None:
        self._workers.check()
        now, limit_s = time.monotonic(), 2 * self._settings.decode_elapsed_s + STALL_S  # the second try counts too
        if is_moving or not self._under_way:
            self._progress_s = now
        elif now - self._progress_s > limit_s:
            elapsed_s = now - self._progress_s
            raise DecodingStalled(f"{len(self)} instances under way and none finished in {elapsed_s:.0f} s")


def _arrival(entry: Entry) -> tuple[int, str]:
    return entry.received_ns, entry.path.name


def _uid(entry: Entry, outcome: Outcome) -> str:
    """SOP Instance UID that a finished entry turned out to have."""
    if isinstance(outcome, Prepared):
        return outcome.record.sop_instance_uid
    return outcome.uids.get("SOPInstanceUID", entry.sop_instance_uid)
