"""Instance Availability Notifications, element by element (PS3.4 annex R, table R.3.2-1)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID

from node.errors import Refusal, Status
from node.query.data_set import check_structure

MAX_BYTES: Final = 8 << 20
MAX_ELEMENTS: Final = 1 << 18
"""Limits of a notification: about fifty thousand instances."""
UID_FORM: Final = re.compile(r"[0-9.]{1,64}")  # PS3.5 section 9.1
UNAVAILABLE: Final = "UNAVAILABLE"
AVAILABILITIES: Final = ("ONLINE", "NEARLINE", "OFFLINE", UNAVAILABLE)
"""Values of Instance Availability (PS3.3 C.4.23.1.1)."""


@dataclass(frozen=True, slots=True)
class AvailabilityNotification:
    """The instances of one study that a sender declares available or unavailable.

    Attributes
    ----------
    available, unavailable
        SOP Instance UIDs of the instances that can be retrieved, and of those that cannot.
    """

    study_instance_uid: str
    available: tuple[str, ...]
    unavailable: tuple[str, ...]


def read_notification(encoded: bytes, transfer_syntax: UID) -> AvailabilityNotification:
    """Read the attribute list of an N-CREATE request.

    Raises
    ------
    Refusal
        0120, 0121: an attribute, or its value, is missing. 0106: a value is not one that the standard allows. 0110:
        the bytes are no data set. 0213: it is too large. The comment names the attribute.
    """
    dataset = _dataset(encoded, transfer_syntax)
    _check_procedure_steps(dataset)
    study, found = _uid(dataset, "StudyInstanceUID"), dict(_instances(dataset))
    available = tuple(uid for uid, availability in found.items() if availability != UNAVAILABLE)
    unavailable = tuple(uid for uid, availability in found.items() if availability == UNAVAILABLE)
    return AvailabilityNotification(study, available, unavailable)


def _dataset(encoded: bytes, transfer_syntax: UID) -> Dataset:
    if len(encoded) > MAX_BYTES:
        raise Refusal(Status.RESOURCE_LIMITATION, f"notification of more than {MAX_BYTES >> 20} MiB: split it")
    implicit = transfer_syntax.is_implicit_VR
    try:
        check_structure(encoded, implicit=implicit, max_elements=MAX_ELEMENTS)
        return read_dataset(BytesIO(encoded), implicit, is_little_endian=True, bytelength=len(encoded))
    except Exception as error:  # whatever reading a stream of anything raises
        raise Refusal(Status.PROCESSING_FAILURE, "the attribute list is not a data set, or is cut short") from error


def _check_procedure_steps(dataset: Dataset) -> None:
    """Check the performed procedure steps (type 2), of which nothing is kept."""
    for step in _items(dataset, "ReferencedPerformedProcedureStepSequence", may_be_empty=True):
        for keyword in ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID"):
            _uid(step, keyword)
        _value(step, "PerformedWorkitemCodeSequence", may_be_empty=True)


def _instances(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Yield SOP Instance UID and Instance Availability of each instance."""
    for series in _items(dataset, "ReferencedSeriesSequence"):
        _uid(series, "SeriesInstanceUID")
        for instance in _items(series, "ReferencedSOPSequence"):
            _uid(instance, "ReferencedSOPClassUID")
            _value(instance, "RetrieveAETitle")
            availability = str(_value(instance, "InstanceAvailability")).strip()
            if availability not in AVAILABILITIES:
                raise Refusal(Status.INVALID_ATTRIBUTE_VALUE, f"InstanceAvailability: {', '.join(AVAILABILITIES)}")
            yield _uid(instance, "ReferencedSOPInstanceUID"), availability


def _value(dataset: Dataset, keyword: str, *, may_be_empty: bool = False) -> object:
    if keyword not in dataset:
        raise Refusal(Status.MISSING_ATTRIBUTE, f"{keyword} is missing")
    try:
        value = dataset[keyword].value
    except Exception as error:  # converting an arbitrary value raises anything
        raise Refusal(Status.INVALID_ATTRIBUTE_VALUE, f"{keyword} cannot be read") from error
    if not value and not may_be_empty:
        raise Refusal(Status.MISSING_ATTRIBUTE_VALUE, f"{keyword} is empty")
    return value


def _items(dataset: Dataset, keyword: str, *, may_be_empty: bool = False) -> list[Dataset]:
    value = _value(dataset, keyword, may_be_empty=may_be_empty)
    items = [] if value is None or value == "" else value
    if not isinstance(items, list) and not hasattr(items, "__iter__"):
        raise Refusal(Status.INVALID_ATTRIBUTE_VALUE, f"{keyword} is no sequence")
    found = list(items)
    if not all(isinstance(item, Dataset) for item in found):
        raise Refusal(Status.INVALID_ATTRIBUTE_VALUE, f"{keyword} is no sequence")
    return found


def _uid(dataset: Dataset, keyword: str) -> str:
    value = str(_value(dataset, keyword)).strip(" \0")
    if not UID_FORM.fullmatch(value):
        raise Refusal(Status.INVALID_ATTRIBUTE_VALUE, f"{keyword} is no UID")
    return value
