"""One instance as it is stored: its UIDs in the hierarchy, and its attributes."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Attributes = Mapping[str, str]
"""DICOM keyword to value as Unicode text, several values joined by a backslash; "" is present and empty, absent is
missing."""


class Level(StrEnum):
    """Levels of the Query/Retrieve information model, top to bottom (PS3.4 C.6)."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


LEVELS = tuple(Level)


def patient_key(patient_id: str, issuer: str, study_instance_uid: str) -> str:
    r"""Text that tells one patient from another: Patient ID and Issuer of Patient ID, joined by a backslash.

    Without a Patient ID the key is the study's own, for two unknown patients are not one. A backslash inside either
    value, which no valid value has, becomes a NUL, so that the key can always be taken apart.
    """
    if not patient_id:
        return f"\\\\{study_instance_uid}"
    return "\\".join(value.replace("\\", "\0") for value in (patient_id, issuer))


def names_a_patient(key: str) -> bool:
    """True if the patient key was made from a Patient ID."""
    return not key.startswith("\\")


def patient_id_and_issuer(key: str) -> tuple[str, str]:
    """Patient ID and Issuer of Patient ID of a patient key that `names_a_patient`; the issuer may be empty."""
    patient_id, _, issuer = key.partition("\\")
    return patient_id, issuer


def may_be_one_patient(key: str, other: str) -> bool:
    """True if two patient keys can name the same patient.

    They can if they have the same Patient ID, unless both name an issuer and the two issuers differ: a sender that
    leaves the issuer out contradicts nobody. A key without a Patient ID is only equal to itself.
    """
    if key == other or not (names_a_patient(key) and names_a_patient(other)):
        return key == other
    (own_id, own_issuer), (other_id, other_issuer) = patient_id_and_issuer(key), patient_id_and_issuer(other)
    return own_id == other_id and not (own_issuer and other_issuer and own_issuer != other_issuer)


@dataclass(frozen=True, slots=True)
class Record:
    """One instance, without its codes.

    Attributes
    ----------
    patient_key
        As `patient_key` makes it.
    patient, study, series, instance
        Attributes by level.
    frames
        0-based numbers of the frames that have a row, ascending; empty for an instance that is kept but not hashed.
    content_digest
        Hash over what is stored of the received data set: it differs if the same UID comes with other content.
    received_ns
        Time of arrival, nanoseconds since the epoch.
    """

    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    patient_key: str
    patient: Attributes
    study: Attributes
    series: Attributes
    instance: Attributes
    frames: tuple[int, ...]
    content_digest: bytes
    received_ns: int

    def __post_init__(self) -> None:
        """Refuse what could not be found again."""
        if not all((self.sop_instance_uid, self.series_instance_uid, self.study_instance_uid, self.patient_key)):
            raise ValueError(f"instance {self.sop_instance_uid!r} lacks a UID or patient key; reject it on arrival")
        if any(b <= a for a, b in zip((-1, *self.frames), self.frames, strict=False)):
            raise ValueError(f"frames {self.frames} of {self.sop_instance_uid} are not ascending from 0")

    @property
    def uids(self) -> dict[Level, str]:
        """Unique key at each level, patient first."""
        keys = (self.patient_key, self.study_instance_uid, self.series_instance_uid, self.sop_instance_uid)
        return dict(zip(LEVELS, keys, strict=True))

    @property
    def attributes(self) -> dict[Level, Attributes]:
        """Attributes at each level, patient first."""
        return dict(zip(LEVELS, (self.patient, self.study, self.series, self.instance), strict=True))


@dataclass(frozen=True, slots=True)
class Entity:
    """A patient, study, series or instance as the database keeps it.

    Attributes
    ----------
    ordinal
        Dense number of the entity at its level, in order of arrival, never used again.
    uids
        Unique key of the entity and of those above it.
    attributes
        Its own attributes and those of the levels above it.
    """

    level: Level
    ordinal: int
    uids: Mapping[Level, str]
    attributes: Attributes

    @property
    def uid(self) -> str:
        """Unique key at its own level; for a patient, the patient key."""
        return self.uids[self.level]


def entity_of(record: Record, level: Level) -> Entity:
    """Entity of a level that an instance belongs to, for a record that the database does not hold: ordinal -1."""
    above = LEVELS[: LEVELS.index(level) + 1]
    attributes = {keyword: value for step in above for keyword, value in record.attributes[step].items()}
    return Entity(level, -1, {step: record.uids[step] for step in above}, attributes)
