"""From the spool to the database: what decode workers have finished is encoded and committed in batches."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from threading import Event, Lock

import numpy as np

from hashing.model.encoder import Encoder
from hashing.model.network import INPUT_SIZE
from node.access.data_key import vault_of
from node.ingest.conflicts import Policy, clash_outcome, uids_of
from node.ingest.decoding import Decoding
from node.ingest.outcome import Outcome, Prepared, Unusable
from node.metrics import metrics
from node.settings import Settings
from storage.corrections.keeping import keep_originals
from storage.database.database import Appended, Database, Item
from storage.objects.object_store import ObjectStore
from storage.objects.report_table import Report, ReportTable
from storage.record import Record
from storage.spool.queue import Entry, Spool

logger = logging.getLogger(__name__)

IDLE_S = 0.1
COUNTS = ("new", "known", "replaced", "rejected")
DATA_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Errors that odd values provoke; any other, such as a full disk, is no instance's fault, and all go on waiting."""
LOOK_AHEAD_BATCHES = 4  # decoded images are small, and the encoder must find a batch whenever it is free


class Indexer:
    """The one writer of the database. Every entry that it takes from the spool ends indexed or set aside.

    Parameters
    ----------
    note
        Called with the records of each batch, once it is part of the database.

    Attributes
    ----------
    writing
        Lock, held while a batch is written to the database. Whoever erases holds it, so that no batch brings erased
        data back.
    """

    def __init__(
        self,
        settings: Settings,
        spool: Spool,
        database: Database,
        encoder: Encoder,
        objects: ObjectStore | None = None,
        note: Callable[[Sequence[Record]], None] = lambda _: None,
    ) -> None:
        self.settings, self.spool, self.database, self.encoder = settings, spool, database, encoder
        self.objects = objects or ObjectStore(settings.objects_path)
        self._note = note
        self._reports = ReportTable(settings.reports_path, vault_of(settings))
        self.writing = Lock()
        self._policy = Policy(settings.other_content)

    def run(self, stop: Event, progress: Callable[[], object] = lambda: None) -> None:
        """Index until `stop` is set; while a batch is encoded, the workers decode the next ones.

        `progress` is called while nothing waits, and whenever something that waited has been decoded or indexed.
        """
        batch_size, delay_s = self.settings.batch_size, self.settings.batch_delay_s
        with Decoding(self.settings, INPUT_SIZE) as decoding:
            while not stop.is_set():
                decoding.add(self.spool.take(LOOK_AHEAD_BATCHES * batch_size))
                if not decoding:
                    progress()
                    stop.wait(IDLE_S)
                elif outcomes := decoding.batch(batch_size, IDLE_S, delay_s):
                    progress()
                    with self.writing:
                        self._index(outcomes)
                    decoding.forget([entry for entry, _ in outcomes])
                    progress()

    def _index(self, finished: Sequence[tuple[Entry, Outcome]]) -> None:
        started = time.monotonic()
        outcomes = [(entry, outcome) for entry, outcome in finished if not self.spool.was_erased(entry)]
        prepared = [(entry, outcome) for entry, outcome in outcomes if isinstance(outcome, Prepared)]
        if prepared:
            items = self._items([outcome for _, outcome in prepared])
            appended = self._append([(entry, item) for (entry, _), item in zip(prepared, items, strict=True)])
            new, known, replaced, rejected = (sum(getattr(a, name) for a in appended) for name in COUNTS)
            elapsed_s = time.monotonic() - started
            metrics().hashed.inc(len(prepared))
            metrics().hashing.inc(elapsed_s)
            logger.info(
                "indexed %d instances (%d known, %d replaced, %d rejected) in %.2f s",
                new, known, replaced, rejected, elapsed_s,
            )  # fmt: skip
        unusable = [outcome for _, outcome in outcomes if isinstance(outcome, Unusable)]
        self._keep_reports([outcome.report for outcome in unusable if outcome.report is not None])
        for entry, outcome in outcomes:
            if isinstance(outcome, Unusable):
                self._set_aside(entry, outcome)

    def _keep_reports(self, reports: Sequence[Report]) -> None:
        """Keep reports that no note rejects."""
        if reports:
            with self.database.snapshot() as snapshot:
                wanted = [one for one in reports if snapshot.rejections.find(one.sop_instance_uid) is None]
            self._reports.keep(wanted)

    def _append(self, items: Sequence[tuple[Entry, Item]]) -> list[Appended]:
        """Commit a batch; if the database cannot take it, each half of it, down to the one instance at fault."""
        batch, options = [item for _, item in items], {"replace": True} if self._policy is Policy.REPLACE else {}
        try:
            appended = self.database.append(batch, **options)
        except DATA_ERRORS as error:
            logger.exception("a batch of %d could not be stored", len(items))
            if len(items) > 1:
                half = len(items) // 2
                return self._append(items[:half]) + self._append(items[half:])
            ((entry, item),) = items
            detail = f"{type(error).__name__} while storing"
            self._set_aside(entry, Unusable("not-storable", detail, uids_of(item.record)))
            return []
        clashes = {id(clash.record): clash for clash in appended.clashing}
        for entry, item in items:
            if clash := clashes.get(id(item.record)):
                self._set_aside(entry, clash_outcome(self.database, clash, self._policy))
        stored = [(entry, item) for entry, item in items if id(item.record) not in clashes]
        if self.settings.retain == "all":
            arrived = [(entry, item.record) for entry, item in stored]
            keep_originals(self.database, self.objects, arrived, replaces=self._policy is Policy.REPLACE)
        self.spool.remove([entry for entry, _ in stored])  # last: after a kill before it, all is done again
        self._note([item.record for item in batch if id(item.record) not in clashes])
        return [appended]

    def _items(self, prepared: Sequence[Prepared]) -> Iterator[Item]:
        modalities = [instance.record.series.get("Modality", "") for instance in prepared for _ in instance.images]
        encoding = self.encoder.encode(np.concatenate([instance.images for instance in prepared]), modalities)
        ends = np.cumsum([len(instance.images) for instance in prepared]).tolist()
        for instance, part in zip(prepared, encoding.split(ends[:-1]), strict=True):
            outputs = part.outputs
            yield Item(
                instance.record,
                part.codes,
                None if self.settings.retain == "none" else instance.images,
                instance.pixel_digest,
                outputs.relaxed,
                outputs.class_scores,
            )

    def _set_aside(self, entry: Entry, why: Unusable) -> None:
        self.spool.set_aside(entry, why.reason, why.detail, why.uids, keep=why.keeps_bytes)
        logger.warning("set aside %s: %s (%s)", why.uids.get("SOPInstanceUID", entry.path.name), why.reason, why.detail)
