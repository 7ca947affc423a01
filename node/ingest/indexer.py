"""From the spool to the database: what decode workers have finished is encoded and committed in batches."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from threading import Event

import numpy as np

from hashing.model.encoder import Encoder
from hashing.model.network import INPUT_SIZE
from node.errors import NO_PIXELS
from node.ingest.conflicts import DROPPED, Policy, settle, uids_of
from node.ingest.decoding import Decoding
from node.ingest.preparation import Prepared, Unusable
from node.settings import Settings
from storage.database.database import Appended, Database, Item
from storage.spool.queue import Entry, Spool

logger = logging.getLogger(__name__)

IDLE_S = 0.1
DATA_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What odd values provoke; of others, such as a full disk, no instance is at fault, and all of them go on waiting."""
LOOK_AHEAD_BATCHES = 4  # decoded images are small, and the encoder must find a batch whenever it is free


class Indexer:
    """The one writer of the database. Every entry it takes ends indexed or set aside."""

    def __init__(self, settings: Settings, spool: Spool, database: Database, encoder: Encoder) -> None:
        self.settings, self.spool, self.database, self.encoder = settings, spool, database, encoder

    def run(self, stop: Event, progress: Callable[[], object] = lambda: None) -> None:
        """Index until `stop` is set; while a batch is encoded, the workers decode the next ones.

        `progress` is called while nothing waits, and whenever something that waited has been decoded or indexed.
        """
        most, delay_s = self.settings.batch_size, self.settings.batch_delay_s
        with Decoding(self.settings, INPUT_SIZE) as decoding:
            while not stop.is_set():
                decoding.add(self.spool.take(LOOK_AHEAD_BATCHES * most))
                if not decoding:
                    progress()
                    stop.wait(IDLE_S)
                elif outcomes := decoding.batch(most, IDLE_S, delay_s):
                    progress()
                    self._index(outcomes)
                    decoding.forget([entry for entry, _ in outcomes])
                    progress()

    def _index(self, outcomes: Sequence[tuple[Entry, Prepared | Unusable]]) -> None:
        started = time.monotonic()
        prepared = [(entry, outcome) for entry, outcome in outcomes if isinstance(outcome, Prepared)]
        if prepared:
            items = self._items([outcome for _, outcome in prepared])
            appended = self._append([(entry, item) for (entry, _), item in zip(prepared, items, strict=True)])
            new, known = sum(one.new for one in appended), sum(one.known for one in appended)
            logger.info("indexed %d instances (%d known) in %.2f s", new, known, time.monotonic() - started)
        for entry, outcome in outcomes:
            if isinstance(outcome, Unusable):
                self._set_aside(entry, outcome)

    def _append(self, items: Sequence[tuple[Entry, Item]]) -> list[Appended]:
        """Commit a batch; if the database cannot take it, each half of it, down to the one instance at fault."""
        try:
            appended = self.database.append([item for _, item in items])
        except DATA_ERRORS as error:
            logger.exception("a batch of %d could not be stored", len(items))
            if len(items) > 1:
                half = len(items) // 2
                return self._append(items[:half]) + self._append(items[half:])
            ((entry, item),) = items
            self._set_aside(entry, Unusable("not-storable", f"{type(error).__name__} while storing", uids_of(item)))
            return []
        clashing = {id(clash.record): clash for clash in appended.clashing}
        done: list[Entry] = []
        for entry, item in items:
            clash = clashing.get(id(item.record))
            why = settle(self.database, item, clash.level, Policy(self.settings.other_content)) if clash else None
            if why is None:
                done.append(entry)
            else:
                self._set_aside(entry, why)
        self.spool.remove(done)
        return [appended]

    def _items(self, prepared: Sequence[Prepared]) -> Iterator[Item]:
        modalities = [one.record.series.get("Modality", "") for one in prepared for _ in one.images]
        encoding = self.encoder.encode(np.concatenate([one.images for one in prepared]), modalities)
        ends = np.cumsum([len(one.images) for one in prepared]).tolist()
        for one, part in zip(prepared, encoding.split(ends[:-1]), strict=True):
            kept = part.outputs
            yield Item(one.record, part.codes, one.images, one.pixel_digest, kept.relaxed, kept.class_scores)

    def _set_aside(self, entry: Entry, why: Unusable) -> None:
        """An object without pixels keeps its note only: the archive has it, and it is not at fault."""
        self.spool.set_aside(entry, why.reason, why.detail, why.uids, keep=why.reason not in (NO_PIXELS, DROPPED))
        logger.warning("set aside %s: %s (%s)", why.uids.get("SOPInstanceUID", entry.path.name), why.reason, why.detail)
