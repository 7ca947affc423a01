"""From the spool to the database: batches are decoded in worker processes, encoded, and committed together."""

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from multiprocessing import get_context
from threading import Event

import numpy as np
from pebble import ProcessExpired, ProcessPool

from hashing.encoder import Encoder
from hashing.network import INPUT_SIZE
from node.preparation import Prepared, Unusable, prepare, start_worker
from node.retriever import NO_PIXELS
from node.settings import Settings
from storage.database import Database, Item
from storage.spool import Entry, Spool

logger = logging.getLogger(__name__)

IDLE_S = 0.1
LOOK_AHEAD_BATCHES = 2


@dataclass(frozen=True, slots=True)
class Pending:
    """An entry whose pixels are being decoded."""

    entry: Entry
    outcome: Future[Prepared | Unusable]


class Indexer:
    """The one writer of the database. Every entry it takes ends indexed or set aside."""

    def __init__(self, settings: Settings, spool: Spool, database: Database, encoder: Encoder) -> None:
        self.settings, self.spool, self.database, self.encoder = settings, spool, database, encoder

    def run(self, stop: Event) -> None:
        """Index until `stop` is set; decoding runs a batch ahead of encoding, so that neither waits long."""
        pending: deque[Pending] = deque()
        with self._pool() as pool:
            while not stop.is_set():
                self._look_ahead(pool, pending)
                if not pending:
                    stop.wait(IDLE_S)
                    continue
                batch = [pending.popleft() for _ in range(min(self.settings.batch_size, len(pending)))]
                self._index([(one.entry, self._outcome(one)) for one in batch])
            pool.stop()  # type: ignore[no-untyped-call]

    def _pool(self) -> ProcessPool:
        return ProcessPool(
            max_workers=self.settings.decode_workers,
            context=get_context("forkserver"),  # fork would copy torch's threads' locks
            initializer=start_worker,
            initargs=[self.settings.decode_memory_bytes],
        )

    def _look_ahead(self, pool: ProcessPool, pending: deque[Pending]) -> None:
        limit = LOOK_AHEAD_BATCHES * self.settings.batch_size
        if len(pending) > limit - self.settings.batch_size:
            return
        under_way = {one.entry for one in pending}
        for entry in self.spool.take(limit):
            if entry not in under_way:
                arguments = (entry.path, entry.received_ns, INPUT_SIZE, self.settings.max_frames)
                outcome = pool.schedule(prepare, args=arguments, timeout=self.settings.decode_timeout_s)
                pending.append(Pending(entry, outcome))

    def _outcome(self, pending: Pending) -> Prepared | Unusable:
        """What the worker made of an entry; a worker that hung or died costs this entry only."""
        try:
            return pending.outcome.result()
        except FutureTimeout:
            return Unusable("time-limit", f"decoding took more than {self.settings.decode_timeout_s:g} s", {})
        except (ProcessExpired, MemoryError) as error:
            return Unusable("worker-died", f"{type(error).__name__} while decoding", {})

    def _index(self, outcomes: Sequence[tuple[Entry, Prepared | Unusable]]) -> None:
        started = time.monotonic()
        prepared = [(entry, outcome) for entry, outcome in outcomes if isinstance(outcome, Prepared)]
        done: list[Entry] = []
        if prepared:
            items = list(self._items([outcome for _, outcome in prepared]))
            appended = self.database.append(items)
            clashing = {id(clash.record): clash for clash in appended.clashing}
            for (entry, _), item in zip(prepared, items, strict=True):
                clash = clashing.get(id(item.record))
                if clash is None:
                    done.append(entry)
                else:
                    self._set_aside(entry, Unusable("uid-clash", CLASHES[clash.level], _uids(item)))
            elapsed = time.monotonic() - started
            logger.info("indexed %d instances (%d known) in %.2f s", appended.new, appended.known, elapsed)
        self.spool.remove(done)
        for entry, outcome in outcomes:
            if isinstance(outcome, Unusable):
                self._set_aside(entry, outcome)

    def _items(self, prepared: Sequence[Prepared]) -> Iterator[Item]:
        codes = self.encoder.encode(np.concatenate([one.images for one in prepared]))
        ends = np.cumsum([len(one.images) for one in prepared])
        for one, part in zip(prepared, np.split(codes, ends[:-1]), strict=True):
            yield Item(record=one.record, codes=part, previews=one.images, pixel_digest=one.pixel_digest)

    def _set_aside(self, entry: Entry, why: Unusable) -> None:
        """An object without pixels keeps its note only: the archive has it, and it is not at fault."""
        self.spool.set_aside(entry, why.reason, why.detail, why.uids, keep=why.reason != NO_PIXELS)
        logger.warning("set aside %s: %s (%s)", why.uids.get("SOPInstanceUID", entry.path.name), why.reason, why.detail)


CLASHES = {
    "IMAGE": "its SOP Instance UID is known with other content; the first received is kept",
    "SERIES": "its Series Instance UID is known under another study; the first received is kept",
    "STUDY": "its Study Instance UID is known under another patient; the first received is kept",
}


def _uids(item: Item) -> dict[str, str]:
    return {
        "SOPInstanceUID": item.record.sop_instance_uid,
        "SeriesInstanceUID": item.record.series_instance_uid,
        "StudyInstanceUID": item.record.study_instance_uid,
    }
