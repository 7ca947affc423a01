"""What every result object has: patient and study of the example, series, equipment, times (PS3.3 C.7, C.12.1)."""

from typing import Final

from pydicom import config as pydicom_config
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import validate_value

from node.results.answer import Answer
from node.version import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, __version__

EMPTY_IF_UNKNOWN: Final = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName",
    "StudyID", "AccessionNumber",
)  # fmt: skip
"""Patient and study attributes of type 2: present, even if empty (PS3.3 tables C.7-1 and C.7-3)."""
ABSENT_IF_UNKNOWN: Final = ("IssuerOfPatientID", "StudyDescription", "PatientAge")
"""Patient and study attributes of type 3: left out where they are not known."""
SEXES: Final = ("M", "F", "O")

CHARACTER_SET: Final = "ISO_IR 192"
"""Results are written in UTF-8, in which any name of an example can be written."""
MANUFACTURER: Final = "Lookalike"
SERIES_DESCRIPTION: Final = "Similar cases (other patients)"
SERIES_NUMBERS: Final = {"report": 99001, "sheet": 99002, "key objects": 99003}
"""Far from those of modalities, which count from 1."""


def study_header(answer: Answer) -> Dataset:
    """Patient and study attributes of the example; what its sender wrote against its VR is left empty."""
    header = Dataset()
    header.SpecificCharacterSet = CHARACTER_SET
    header.StudyInstanceUID = answer.examples[0].study_instance_uid
    for keyword in EMPTY_IF_UNKNOWN:
        setattr(header, keyword, _valid(keyword, answer.study.get(keyword, "")))
    for keyword in ABSENT_IF_UNKNOWN:
        if value := _valid(keyword, answer.study.get(keyword, "")):
            setattr(header, keyword, value)
    return header


def finish(result: Dataset, answer: Answer, kind: str) -> FileDataset:
    """Add what every result has and no library knows: equipment, times, file meta information.

    Parameters
    ----------
    kind
        One of `SERIES_NUMBERS`.
    """
    result.Manufacturer, result.ManufacturerModelName = MANUFACTURER, "Lookalike"
    result.DeviceSerialNumber, result.SoftwareVersions = "1", __version__
    result.SeriesNumber, result.SeriesDescription = SERIES_NUMBERS[kind], SERIES_DESCRIPTION
    day, time = answer.answered.strftime("%Y%m%d"), answer.answered.strftime("%H%M%S")
    for keyword in ("InstanceCreation", "Series", "Content"):
        setattr(result, f"{keyword}Date", day)
        setattr(result, f"{keyword}Time", time)
    for contribution in result.get("ContributingEquipmentSequence", []):  # the library that wrote it, and when
        contribution.ContributionDateTime = f"{day}{time}"
    result.TimezoneOffsetFromUTC = answer.answered.strftime("%z")
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = result.SOPClassUID, result.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return FileDataset("", result, file_meta=meta, preamble=b"\0" * 128)


def _valid(keyword: str, value: str) -> str:
    """Return the value if it keeps to its VR, else an empty one: an odd value is no reason to give no answer."""
    if keyword == "PatientSex":
        return value if value in SEXES else ""
    if keyword == "StudyTime" and value.count(":"):  # ACR-NEMA
        return ""
    try:
        validate_value(dictionary_VR(keyword), value, pydicom_config.RAISE)
    except ValueError:
        return ""
    return value if "\\" not in value else ""
