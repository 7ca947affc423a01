"""The index in Milvus fed from the database of this machine, and searched in the state of a snapshot of it."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from threading import Event
from typing import Final

from hashing.codes import Codes
from storage.changes import Fed
from storage.database.columns import NUMBERS, SEXES, TERMS
from storage.database.database import Database
from storage.database.snapshot import Snapshot
from storage.errors import IndexMismatch, IndexUnavailable
from storage.record import LEVELS, Level, Record
from storage.search.index import IndexRow, IndexView
from storage.search.local import LocalIndex
from storage.search.milvus.index import MilvusIndex
from storage.search.milvus.rows import Row, packed_record, values_of
from storage.search.milvus.view import State

logger = logging.getLogger(__name__)

BATCH: Final = 512
"""Instances that are written at a time."""
MAX_UNFED: Final = 2048
"""Instances that a search adds to what Milvus knows; with more, it scans the database, which has them all."""
KEPT_S: Final = 600
"""Seconds for which rows that went stay for the views that began before."""

PAUSE_S: Final = 0.1
"""Seconds between two looks for changes."""
RETRY_S: Final = 2.0
"""Seconds after which a server that did not answer is asked again."""


class FedIndex:
    """Opens views in Milvus that agree with a snapshot of the database."""

    def __init__(self, index: MilvusIndex, local: LocalIndex) -> None:
        self.index, self.local = index, local

    @contextmanager
    def view(self, snapshot: Snapshot) -> Iterator[IndexView]:
        """Open a view of the state of a snapshot: what Milvus has of it, and the rows that are not fed yet.

        While the collection is filled for the first time, or if too much is not fed, the database is scanned.
        """
        fed = snapshot.changes.fed
        changed = snapshot.changes.first(MAX_UNFED + 1) if is_complete(fed, self.index) else {}
        if fed is None or not is_complete(fed, self.index) or len(changed) > MAX_UNFED:
            with self.local.view(snapshot) as view:
                yield view
            return
        yield self.index.view_of(State(fed.sequence, {uid: _stored_rows(snapshot, uid) for uid in changed}))


def is_complete(fed: Fed | None, index: MilvusIndex) -> bool:
    """True if everything that was stored when feeding began is in the index."""
    return fed is not None and fed.index == index.name and fed.copied is None


class Feeder:
    """Writes what changes in the database to the index; one in the process that writes the database.

    Every step leaves a state that the next one, or one after a crash, goes on from.
    """

    def __init__(self, database: Database, index: MilvusIndex) -> None:
        self.database, self.index = database, index
        self._next_purge_s = time.monotonic() + KEPT_S

    def step(self) -> int:
        """Write one batch of what is not in the index yet; return how many instances that were, 0 if all are.

        Raises
        ------
        storage.errors.IndexUnavailable, storage.errors.IndexMismatch
            Nothing was lost: the same batch comes again.
        """
        fed = self._begun()
        with self.database.snapshot() as snapshot:
            changed, (uids, copied) = snapshot.changes.first(BATCH), _to_copy(snapshot, fed)
            uids = list(dict.fromkeys([*uids, *changed]))
            rows = [values for uid in uids for values in stored_values(snapshot, uid, shared=self.index.shared)]
        if uids:
            fed = self._numbered(fed)
            self.index.write(fed.next, uids, rows)
        if uids or copied != fed.copied:
            with self.database.writing() as tables:
                tables.changes.forget(list(changed.values()))
                tables.changes.set_fed(Fed(fed.index, max(fed.next, fed.sequence), copied=copied))
        self._purge()
        return len(uids)

    def run(self, stop: Event) -> None:
        """Feed until `stop` is set; run it in a thread. A server that does not answer is asked again."""
        fault = ""
        while not stop.is_set():
            try:
                pause_s = 0.0 if self.step() else PAUSE_S
                fault = ""
            except (IndexUnavailable, IndexMismatch) as error:
                if str(error) != fault:
                    logger.error("the index is not fed: %s", error)
                fault, pause_s = str(error), RETRY_S
            stop.wait(pause_s)

    def _begun(self) -> Fed:
        """State of the feeding; it begins anew for another index."""
        with self.database.snapshot() as snapshot:
            fed = snapshot.changes.fed
        if fed is None or fed.index != self.index.name:
            fed = Fed(self.index.name)
            self._set(fed)
        return fed

    def _numbered(self, fed: Fed) -> Fed:
        """The same with a number for the next state, which is kept before anything is written under it."""
        if not fed.next:
            fed = replace(fed, next=max(fed.sequence + 1, time.time_ns()))
            self._set(fed)
        return fed

    def _set(self, fed: Fed) -> None:
        with self.database.writing() as tables:
            tables.changes.set_fed(fed)

    def _purge(self) -> None:
        if time.monotonic() >= self._next_purge_s:
            self.index.purge(time.time_ns() - KEPT_S * 1_000_000_000)
            self._next_purge_s = time.monotonic() + KEPT_S


def _to_copy(snapshot: Snapshot, fed: Fed) -> tuple[list[str], int | None]:
    """SOP Instance UIDs of the next instances to copy, and where the copy goes on."""
    if fed.copied is None:
        return [], None
    instances = list(islice(snapshot.entities(Level.IMAGE, fed.copied), BATCH))
    return [instance.uid for instance in instances], instances[-1].ordinal + 1 if instances else None


def stored_values(snapshot: Snapshot, uid: str, *, shared: bool) -> list[Row]:
    """Rows of an instance that the database stores, as Milvus takes them; if shared, with what other nodes show."""
    record = snapshot.record(uid) if shared else None
    packed = "" if record is None else packed_record(record)
    rows = enumerate(_stored_rows(snapshot, uid))
    return [values_of(row, snapshot.code_length, "" if number else packed) for number, row in rows]


def _stored_rows(snapshot: Snapshot, sop_instance_uid: str) -> list[IndexRow]:
    """Rows of an instance, as the columns of the database say; none if it is unknown or was not hashed."""
    record = snapshot.record(sop_instance_uid)
    if record is None or not record.frames:
        return []
    return _rows(record, snapshot.codes_of(sop_instance_uid), snapshot.pixel_digest(sop_instance_uid) or 0)


def _rows(record: Record, codes: Codes, pixel_digest: int) -> list[IndexRow]:
    attributes = {keyword: value for level in LEVELS for keyword, value in record.attributes[level].items()}
    terms = {name: term(attributes) for name, term in TERMS.items()}
    return [
        IndexRow(
            sop_instance_uid=record.sop_instance_uid,
            frame=frame,
            code=code,
            series_instance_uid=record.series_instance_uid,
            study_instance_uid=record.study_instance_uid,
            patient_key=record.uids[Level.PATIENT],
            study_date=NUMBERS["study_date"](attributes),
            sex=SEXES[NUMBERS["sex"](attributes)],
            age_years=NUMBERS["age_years"](attributes),
            pixel_digest=pixel_digest,
            **terms,
        )
        for frame, code in zip(record.frames, codes, strict=True)
    ]
