"""Codes of parts of every indexed image, made in the background from previews and kept beside the index."""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from threading import Event, get_native_id
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from hashing.model.model_file import DEFAULT_MODEL
from hashing.model.region_encoder import PARTS, RegionEncoder
from node.settings import Settings
from storage.database.database import Database
from storage.database.snapshot import Snapshot
from storage.errors import StorageError
from storage.objects.region_table import RegionCodes, RegionTable
from storage.record import Level, Record

logger = logging.getLogger(__name__)

TOGETHER: Final = 32
"""Images of one step; the indexer waits for the end of a step's last part only."""
PAUSE_S: Final = 2.0
NICENESS: Final = 10

Encode = Callable[[NDArray[np.uint8], str], Codes]
"""Codes (parts, words) of the parts of a preview (size, size), with its Modality."""


class RegionKeeper:
    """Encodes the parts of whatever has none yet.

    Parameters
    ----------
    writing
        Lock under which the database is changed: nothing that is erased meanwhile comes back.
    """

    def __init__(
        self, database: Database, table: RegionTable, encode: Encode, writing: AbstractContextManager[object]
    ) -> None:
        self._database, self._table, self._encode, self._writing = database, table, encode, writing
        self._next = 0  # ordinal of the first image that was not looked at; images come with ascending ordinals

    def run(self, stop: Event) -> None:
        """Work in the background until `stop` is set; a full disk is tried again."""
        os.setpriority(os.PRIO_PROCESS, get_native_id(), NICENESS)  # Linux knows threads as processes
        while not stop.wait(PAUSE_S):
            try:
                self._table.claim()
                while not stop.is_set() and self.step():
                    pass
            except (OSError, StorageError, sqlite3.Error) as error:
                logger.error("no codes of parts are made now: %s", error)

    def step(self) -> bool:
        """Encode the parts of the next images, as far as they have previews; False if there is no further image."""
        with self._database.snapshot() as snapshot:
            images = list(islice(snapshot.entities(Level.IMAGE, self._next), TOGETHER))
            records = [record for image in images if (record := snapshot.record(image.uid)) is not None]
            missing = list(_missing(snapshot, records, self._table))
        made = [
            RegionCodes(record.sop_instance_uid, record.content_digest, self._codes(record, previews))
            for record, previews in missing
        ]
        with self._writing, self._database.snapshot() as snapshot:
            self._table.keep(one for one in made if _is_current(snapshot, one))
        self._next = images[-1].ordinal + 1 if images else self._next
        return bool(images)

    def _codes(self, record: Record, previews: Sequence[NDArray[np.uint8]]) -> Codes:
        modality = record.series.get("Modality", "")
        return np.concatenate([self._encode(preview, modality) for preview in previews])


def region_keeper(
    settings: Settings, database: Database, table: RegionTable, writing: AbstractContextManager[object]
) -> RegionKeeper | None:
    """What makes codes of parts by the model that is set; None if its head does not pool, so that parts have none."""
    encoder = RegionEncoder.load(settings.model_path or DEFAULT_MODEL, settings.code_length, settings.device)
    if not encoder.pools:
        logger.warning("region_codes: this model gives no codes of parts; regions are compared with whole images")
        return None

    def encode(preview: NDArray[np.uint8], modality: str) -> Codes:
        """Codes of the parts of a preview."""
        return encoder.encode(preview, PARTS, modality, is_fine=True).codes

    return RegionKeeper(database, table, encode, writing)


def _missing(
    snapshot: Snapshot, records: Sequence[Record], table: RegionTable
) -> Iterator[tuple[Record, list[NDArray[np.uint8]]]]:
    """Yield each record whose parts have no codes, with the previews of all its frames."""
    known = table.digests([record.sop_instance_uid for record in records])
    for record in records:
        if known.get(record.sop_instance_uid) == record.content_digest or not record.frames:
            continue
        kept = [snapshot.preview(record.sop_instance_uid, frame) for frame in record.frames]
        previews = [preview for preview in kept if preview is not None]
        if len(previews) == len(kept):
            yield record, previews


def _is_current(snapshot: Snapshot, made: RegionCodes) -> bool:
    record = snapshot.record(made.sop_instance_uid)
    return record is not None and record.content_digest == made.content_digest
