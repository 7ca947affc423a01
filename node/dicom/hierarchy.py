"""Attributes that the node stores, matches and returns, by level (PS3.4 C.6.1.1 and C.6.2.1)."""

from collections.abc import Mapping

from pydicom.datadict import tag_for_keyword
from pydicom.tag import BaseTag, Tag

from storage.record import LEVELS, Level

UNIQUE: Mapping[Level, str] = {
    Level.PATIENT: "PatientID",
    Level.STUDY: "StudyInstanceUID",
    Level.SERIES: "SeriesInstanceUID",
    Level.IMAGE: "SOPInstanceUID",
}
"""Keyword of the unique key of each level."""

ATTRIBUTES: Mapping[Level, tuple[str, ...]] = {
    Level.PATIENT: ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    Level.STUDY: (
        "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyDescription",
        "ReferringPhysicianName", "InstitutionName", "PatientAge",
    ),
    Level.SERIES: (
        "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined", "Laterality",
        "ProtocolName", "SeriesDate", "SeriesTime", "Manufacturer", "ManufacturerModelName", "StationName",
    ),
    Level.IMAGE: (
        "SOPInstanceUID", "SOPClassUID", "InstanceNumber", "ImageType", "ContentDate", "ViewPosition",
        "NumberOfFrames", "Rows", "Columns",
    ),
}  # fmt: skip
"""Keywords of the attributes that are stored of an instance, by the level that they describe."""

REQUIRED = frozenset({
    "PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "StudyID",
    "SeriesInstanceUID", "Modality", "SeriesNumber", "SOPInstanceUID", "InstanceNumber",
})  # fmt: skip
"""Required keys: an empty stored value matches any value (PS3.4 C.2.2.1.2)."""

COMPUTED: Mapping[Level, tuple[str, ...]] = {
    Level.PATIENT: (
        "NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances",
    ),
    Level.STUDY: (
        "ModalitiesInStudy", "SOPClassesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
    ),
    Level.SERIES: ("NumberOfSeriesRelatedInstances",),
    Level.IMAGE: (),
}  # fmt: skip
"""Keywords of the attributes that are computed from the entities below."""

RETURN_ONLY = frozenset({
    "NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances",
    "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances", "Rows", "Columns",
})  # fmt: skip
"""Optional keys that are supported for existence and not for matching (PS3.4 C.2.2.1.3)."""

DATE_OF: Mapping[str, str] = {"StudyTime": "StudyDate", "SeriesTime": "SeriesDate"}
"""Keyword of the date that belongs to a time, by the keyword of the time."""

LEVEL_OF: Mapping[str, Level] = {
    keyword: level for level in LEVELS for keyword in (*ATTRIBUTES[level], *COMPUTED[level])
}  # fmt: skip
"""Level that an attribute describes, by keyword."""


def tag_of(keyword: str) -> BaseTag:
    """Tag of a keyword, which must be in the data dictionary."""
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return Tag(tag)


def at_or_above(level: Level) -> tuple[Level, ...]:
    """Levels from the patient down to `level`."""
    return LEVELS[: LEVELS.index(level) + 1]


def below(level: Level) -> Level | None:
    """The next level down, None below IMAGE."""
    index = LEVELS.index(level) + 1
    return LEVELS[index] if index < len(LEVELS) else None
