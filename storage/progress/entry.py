"""What is known of one study that a job brings in, and the numbers that a job adds up."""

import json
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Self

UNKNOWN = -1
"""Stands for a number of instances that the archive has not told."""


class StudyState(StrEnum):
    """Where a study stands."""

    WAITING = "waiting"
    DONE = "done"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class StudyEntry:
    """One study of a job; it holds no patient data.

    Attributes
    ----------
    study_date
        Study Date as the archive tells it, eight digits; "" if it tells none.
    modalities
        Modalities in Study, as far as they are known.
    state
        DONE only if every instance that was chosen from those listed at IMAGE level has arrived.
    announced
        Number of Study Related Instances at STUDY level, UNKNOWN if the archive does not tell it.
    listed, chosen, received
        Instances listed at IMAGE level, those of them that the job wants, and those that are here.
    attempts
        Number of failed attempts since the study was last put on the list.
    not_before_ns
        Time before which it is left alone, nanoseconds since the epoch.
    reason
        Why the last attempt failed; no patient data.
    """

    study_instance_uid: str
    study_date: str = ""
    modalities: tuple[str, ...] = ()
    state: StudyState = StudyState.WAITING
    announced: int = UNKNOWN
    listed: int = 0
    chosen: int = 0
    received: int = 0
    attempts: int = 0
    not_before_ns: int = 0
    reason: str = ""

    @property
    def year(self) -> str:
        """Year of the Study Date, "" if it has none."""
        return self.study_date[:4]

    def to_bytes(self) -> bytes:
        """Pack everything but the UID, as JSON."""
        return json.dumps([getattr(self, name) for name in _NAMES]).encode("ascii")

    @classmethod
    def from_bytes(cls, study_instance_uid: str, value: bytes) -> Self:
        """Undo `to_bytes`."""
        values = dict(zip(_NAMES, json.loads(value), strict=True))
        values |= {"modalities": tuple(values["modalities"]), "state": StudyState(values["state"])}
        return cls(study_instance_uid, **values)


_NAMES = tuple(field.name for field in fields(StudyEntry) if field.name != "study_instance_uid")


@dataclass(frozen=True, slots=True)
class JobCounts:
    """Sums over the studies of a job.

    Attributes
    ----------
    waiting, done, parked
        Studies by state.
    announced
        Instances announced at STUDY level for the studies that wait.
    received
        Instances that are here, of studies that are done or parked.
    fetched, fetched_bytes
        Instances, and their bytes, that the job itself has brought in.
    """

    waiting: int = 0
    done: int = 0
    parked: int = 0
    announced: int = 0
    received: int = 0
    fetched: int = 0
    fetched_bytes: int = 0

    @property
    def studies(self) -> int:
        """Number of studies listed."""
        return self.waiting + self.done + self.parked

    def with_entry(self, entry: StudyEntry, sign: int) -> "JobCounts":
        """Return the sums after an entry is added (1) or taken away (-1)."""
        values = asdict(self)
        values[str(entry.state)] += sign
        if entry.state is StudyState.WAITING:
            values["announced"] += sign * max(0, entry.announced)
        else:
            values["received"] += sign * entry.received
        return JobCounts(**values)


@dataclass(frozen=True, slots=True)
class Covered:
    """Studies of one year and modality: listed in the archive, and done here."""

    year: str
    modality: str
    listed: int
    done: int
