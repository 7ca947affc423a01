"""What becomes of an instance whose UIDs are known otherwise: a clash never deletes what is kept, unless told to."""

import logging
from enum import StrEnum

from node.ingest.preparation import Unusable
from storage.database.database import Database, Item
from storage.record import Level, Record

logger = logging.getLogger(__name__)

QUARANTINED, DROPPED = "uid-clash", "uid-clash-dropped"
"""Reasons to be set aside, with the bytes and without."""

DETAILS = {
    Level.IMAGE: "its SOP Instance UID is known with other content; the first received is kept",
    Level.SERIES: "its Series Instance UID is known under another study; the first received is kept",
    Level.STUDY: "its Study Instance UID is known under another patient; the first received is kept",
}
ELSEWHERE = "its SOP Instance UID is known in another series or study; the first received is kept"


class Policy(StrEnum):
    """What to do with a known SOP Instance UID that comes with other content."""

    KEEP_FIRST = "keep_first"
    REPLACE = "replace"
    QUARANTINE = "quarantine"


def settle(database: Database, item: Item, level: Level, policy: Policy) -> Unusable | None:
    """Why an instance that clashes is set aside, None where it took the place of the one kept.

    It takes that place only if it belongs to the same series and study: the same UID elsewhere is another image whose
    sender made an error, and whatever the policy, both are kept apart.
    """
    uid = item.record.sop_instance_uid
    with database.snapshot() as snapshot:
        kept = snapshot.record(uid)
    if level is Level.IMAGE and kept is not None and _place(kept) != _place(item.record):
        return Unusable(QUARANTINED, ELSEWHERE, uids_of(item))
    if level is not Level.IMAGE or policy is Policy.QUARANTINE:
        return Unusable(QUARANTINED, DETAILS[level], uids_of(item))
    if policy is Policy.KEEP_FIRST:
        return Unusable(DROPPED, DETAILS[level], uids_of(item))
    database.remove([uid])  # a kill in between leaves the new one in the spool
    database.append([item])
    logger.warning("replaced %s: it came with other content", uid)
    return None


def uids_of(item: Item) -> dict[str, str]:
    """UIDs of an instance by keyword."""
    return {
        "SOPInstanceUID": item.record.sop_instance_uid,
        "SeriesInstanceUID": item.record.series_instance_uid,
        "StudyInstanceUID": item.record.study_instance_uid,
    }


def _place(record: Record) -> tuple[str, str]:
    return record.series_instance_uid, record.study_instance_uid
