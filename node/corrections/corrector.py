"""Orders are carried out one after the other by the process that writes the database."""

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from threading import Event, Lock
from typing import Any, Final

import lmdb

from node.corrections.eraser import Eraser
from node.corrections.order_book import Answer, OrderBook, OrderKind
from storage.corrections.announcing import announce
from storage.corrections.erasing import ErasureTarget
from storage.corrections.refiling import Refiling, refile
from storage.corrections.rejecting import RejectionNote, may_return, reject, restore
from storage.database.database import Database
from storage.database.rejections import Title
from storage.errors import StorageError
from storage.objects.object_store import ObjectStore
from storage.objects.region_table import RegionTable
from storage.objects.report_table import ReportTable
from storage.spool.outbox import Outbox
from storage.spool.questions import QuestionSpool
from storage.spool.queue import Spool

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.02
"""Interval at which the writer looks for orders, seconds."""
RETRY_S: Final = 1.0
"""Pause after an order that the machine, such as a full disk, did not let through, seconds."""
PASSING: Final = (OSError, StorageError, lmdb.Error)
"""Errors that are no order's fault: it waits, and is tried again."""


class Corrector:
    """Carries out the orders of an order book; one process at a time does, the writer of the database.

    Parameters
    ----------
    writing
        Lock of the thread that stores instances, if there is one.
    reports
        Reports that are kept, if there may be any.
    mail, regions
        As in `Eraser`.
    """

    def __init__(
        self,
        database: Database,
        orders: OrderBook,
        spool: Spool,
        objects: ObjectStore,
        writing: AbstractContextManager[object] | None = None,
        reports: ReportTable | None = None,
        mail: tuple[QuestionSpool, Outbox] | None = None,
        regions: RegionTable | None = None,
    ) -> None:
        self._database, self._orders, self._spool, self._objects = database, orders, spool, objects
        self._writing = writing or Lock()
        self._reports, self._regions = reports, regions
        self._eraser = Eraser(database, spool, objects, self._writing, reports, mail, regions)
        self._kinds: Mapping[str, Callable[[Mapping[str, Any]], Answer]] = {
            OrderKind.REJECT: self._reject,
            OrderKind.RESTORE: self._restore,
            OrderKind.FORGET: self._forget,
            OrderKind.ANNOUNCE: self._announce,
            OrderKind.REFILE: self._refile,
            OrderKind.PURGE: self._purge,
        }

    def run(self, stop: Event) -> None:
        """Carry out what comes until `stop` is set."""
        self._orders.sweep()
        while not stop.wait(LOOK_S):
            if not self.carry_out_all(stop):
                stop.wait(RETRY_S)

    def carry_out_all(self, stop: Event) -> bool:
        """Carry out every waiting order; False if one cannot be carried out now: it and those behind it wait."""
        for name in self._orders.waiting():
            if stop.is_set():
                return True
            try:
                self._carry_out(name)
            except PASSING as error:
                logger.error("order %s waits: %s", name, error)
                return False
        return True

    def _carry_out(self, name: str) -> None:
        try:
            order = self._orders.read(name)
            answer, failed = self._kinds[order["kind"]](order), False
        except PASSING:
            raise
        except Exception as error:  # an order that no release of ours wrote must not keep the others waiting
            logger.exception("order %s cannot be carried out", name)
            answer, failed = {"error": type(error).__name__}, True
        self._orders.close(name, answer, failed=failed)

    def _reject(self, order: Mapping[str, Any]) -> Answer:
        note = RejectionNote(order["note"], Title(order["title"]), order["references"], order["received_ns"])
        instances = reject(self._database, note)
        self._erase_objects(note.references)
        return {"instances": instances}

    def _erase_objects(self, uids: Iterable[str]) -> None:
        """Erase objects and codes of parts of rejected instances that cannot be restored, and rejected reports."""
        with self._writing:  # what the indexer had in hand is kept by now
            with self._database.snapshot() as snapshot:
                gone = [uid for uid in uids if not may_return(snapshot, uid)]
            self._objects.erase(gone)
            if self._reports is not None:
                self._reports.erase(gone)
            if self._regions is not None:
                self._regions.erase(gone)

    def _restore(self, order: Mapping[str, Any]) -> Answer:
        return asdict(restore(self._database, order["uid"]))

    def _forget(self, order: Mapping[str, Any]) -> Answer:
        return asdict(self._eraser.erase(ErasureTarget(order["study"], order["patient_id"], order["issuer"])))

    def _announce(self, order: Mapping[str, Any]) -> Answer:
        given = (order[name] for name in ("study", "available", "unavailable", "received_ns"))
        return asdict(announce(self._database, *given))

    def _refile(self, order: Mapping[str, Any]) -> Answer:
        refilings = [Refiling(**fields) for fields in order["refilings"]]
        return {"instances": refile(self._database, refilings, order["received_ns"])}

    def _purge(self, order: Mapping[str, Any]) -> Answer:
        """Delete objects that were set aside, with their notes."""
        names = frozenset(order["names"])
        return {"purged": self._spool.erase_set_aside(lambda note: note.name in names)}
