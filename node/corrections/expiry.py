"""What stays of images stays no longer, and takes no more room, than the settings say; every deletion is told."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from threading import Event, get_native_id
from typing import Final

import lmdb

from node.settings import Settings
from storage.corrections.expiring import StayLimit, expire_objects, expire_previews, objects_due
from storage.database.database import Database
from storage.errors import StorageError
from storage.objects.object_store import ObjectStore
from storage.record import Record

logger = logging.getLogger(__name__)

EVERY_S: Final = 600.0
"""Interval at which is looked for what is due, seconds."""
PAUSE_S: Final = 0.05
"""Pause after each batch, in which others write, seconds."""
NICENESS: Final = 10
DAY_NS: Final = 86_400 * 10**9

Tell = Callable[[Sequence[Record], str], object]
"""Called with the records of what was deleted, and with what and why in words."""


class Expirer:
    """Deletes previews and objects that are due; the process that writes the database does.

    Parameters
    ----------
    writing
        Lock of the thread that stores instances.
    tell
        Is told of each batch, beside the log.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        objects: ObjectStore,
        writing: AbstractContextManager[object],
        tell: Tell,
    ) -> None:
        self._settings, self._database, self._objects = settings, database, objects
        self._writing, self._tell = writing, tell

    def run(self, stop: Event) -> None:
        """Delete what is due, again and again, until `stop` is set; a full disk or database is tried again."""
        os.setpriority(os.PRIO_PROCESS, get_native_id(), NICENESS)  # Linux knows threads as processes
        while not stop.is_set():
            try:
                self.expire(stop)
            except (OSError, StorageError, lmdb.Error) as error:
                logger.error("nothing more is deleted for its age or size now: %s", error)
            stop.wait(EVERY_S)

    def expire(self, stop: Event) -> None:
        """Delete all that is due now."""
        settings = self._settings
        if settings.preview_days or settings.preview_bytes:
            self._expire_previews(stop)
        if settings.object_days or settings.object_bytes:
            self._expire_objects(stop)

    def _expire_previews(self, stop: Event) -> None:
        limit = _limit(self._settings.preview_days, self._settings.preview_bytes)
        while not stop.is_set():
            records = expire_previews(self._database, limit)
            if not records:
                return
            self._say(records, "previews", limit)
            stop.wait(PAUSE_S)

    def _expire_objects(self, stop: Event) -> None:
        limit = _limit(self._settings.object_days, self._settings.object_bytes)
        for records in objects_due(self._database, self._objects, limit):
            with self._writing:  # the indexer keeps none of them in between
                expire_objects(self._database, self._objects, records)
            self._say(records, "objects", limit)
            if stop.wait(PAUSE_S):
                return

    def _say(self, records: Sequence[Record], kind: str, limit: StayLimit) -> None:
        """Log and tell what was deleted, apart for its age and for the room that it took."""
        name = kind.removesuffix("s")
        old = [record for record in records if record.received_ns < limit.since_ns]
        beyond = [record for record in records if record.received_ns >= limit.since_ns]
        for some, setting in ((old, f"{name}_days"), (beyond, f"{name}_bytes")):
            if some:
                logger.warning("%s of %d instances deleted: beyond %s", kind, len(some), setting)
                self._tell(some, f"{kind} deleted: beyond {setting}")


def _limit(days: float, size_bytes: int) -> StayLimit:
    since_ns = time.time_ns() - round(days * DAY_NS) if days else 0
    return StayLimit(since_ns, size_bytes or None)
