"""Instance Availability Notifications, element by element (PS3.4 annex R, table R.3.2-1)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import UID

from node.corrections.attribute_list import items_of, read_attribute_list, uid_of, value_of
from node.errors import Refusal, Status

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
    dataset = read_attribute_list(encoded, transfer_syntax)
    _check_procedure_steps(dataset)
    study, found = uid_of(dataset, "StudyInstanceUID"), dict(_instances(dataset))
    available = tuple(uid for uid, availability in found.items() if availability != UNAVAILABLE)
    unavailable = tuple(uid for uid, availability in found.items() if availability == UNAVAILABLE)
    return AvailabilityNotification(study, available, unavailable)


def _check_procedure_steps(dataset: Dataset) -> None:
    """Check the performed procedure steps (type 2), of which nothing is kept."""
    for step in items_of(dataset, "ReferencedPerformedProcedureStepSequence", may_be_empty=True):
        for keyword in ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID"):
            uid_of(step, keyword)
        value_of(step, "PerformedWorkitemCodeSequence", may_be_empty=True)


def _instances(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Yield SOP Instance UID and Instance Availability of each instance."""
    for series in items_of(dataset, "ReferencedSeriesSequence"):
        uid_of(series, "SeriesInstanceUID")
        for instance in items_of(series, "ReferencedSOPSequence"):
            uid_of(instance, "ReferencedSOPClassUID")
            value_of(instance, "RetrieveAETitle")
            availability = str(value_of(instance, "InstanceAvailability")).strip()
            if availability not in AVAILABILITIES:
                raise Refusal(Status.INVALID_ATTRIBUTE_VALUE, f"InstanceAvailability: {', '.join(AVAILABILITIES)}")
            yield uid_of(instance, "ReferencedSOPInstanceUID"), availability
