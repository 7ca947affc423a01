"""Why an instance that contradicts the database is set aside: what is stored is never lost to what comes later."""

from enum import StrEnum

from node.ingest.outcome import Unusable
from storage.database.database import Clash, Database
from storage.record import Level, Record

QUARANTINED, DROPPED = "uid-clash", "uid-clash-dropped"
"""Reasons to be set aside, with the bytes and without."""

DETAILS = {
    Level.IMAGE: "its SOP Instance UID is stored with other content, which stays",
    Level.SERIES: "its Series Instance UID is stored under another study, which stays",
    Level.STUDY: "its Study Instance UID is stored under another patient, which stays",
}
ELSEWHERE = "its SOP Instance UID is stored in another series or study, which stays"
OLDER = "other content of its SOP Instance UID arrived later and is stored already"


class Policy(StrEnum):
    """What to do with a known SOP Instance UID that comes with other content."""

    KEEP_FIRST = "keep_first"
    REPLACE = "replace"
    QUARANTINE = "quarantine"


def clash_outcome(database: Database, clash: Clash, policy: Policy) -> Unusable:
    """Reason why an instance that the database refused is set aside.

    Only `KEEP_FIRST` gives up the bytes, and only of an instance of the same series and study: the same UID elsewhere
    is another image whose sender made an error, and both files stay under every policy. With `REPLACE` the database
    has replaced what may be replaced; the file that it still refuses stays too.
    """
    detail = DETAILS[clash.level]
    if clash.level is Level.IMAGE:
        with database.snapshot() as snapshot:
            stored = snapshot.record(clash.record.sop_instance_uid)
        if stored is not None and _series_and_study(stored) != _series_and_study(clash.record):
            detail = ELSEWHERE
        elif policy is Policy.KEEP_FIRST:
            return Unusable(DROPPED, detail, uids_of(clash.record), keeps_bytes=False)
        elif policy is Policy.REPLACE:
            detail = OLDER
    return Unusable(QUARANTINED, detail, uids_of(clash.record))


def uids_of(record: Record) -> dict[str, str]:
    """UIDs of an instance by keyword."""
    return {
        "SOPInstanceUID": record.sop_instance_uid,
        "SeriesInstanceUID": record.series_instance_uid,
        "StudyInstanceUID": record.study_instance_uid,
    }


def _series_and_study(record: Record) -> tuple[str, str]:
    return record.series_instance_uid, record.study_instance_uid
