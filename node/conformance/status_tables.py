"""Table of DIMSE statuses for the conformance statement."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from node.conformance.markdown import markdown_table
from node.dicom.sop_classes import Service
from node.errors import Status


@dataclass(frozen=True, slots=True)
class StatusUse:
    """The meaning of a status in the responses of one service.

    Attributes
    ----------
    meaning
        Condition under which the status is returned.
    offending
        Element that Offending Element names; empty if none.
    """

    status: Status
    meaning: str
    offending: str = ""


NOT_HERE: Final = (
    StatusUse(
        Status.SOP_CLASS_NOT_SUPPORTED, "the presentation context was not accepted for this SOP class or service"
    ),
    StatusUse(Status.UNRECOGNIZED_OPERATION, "no service of the node has this operation"),
)
DENIED: Final = (
    StatusUse(Status.NOT_AUTHORIZED, "the caller has not the right to this request"),
    StatusUse(Status.PROCESSING_FAILURE, "the caller's right could not be checked: see the log of the node"),
)
UNREADABLE: Final = (
    StatusUse(Status.OUT_OF_RESOURCES, "the Identifier is too long"),
    StatusUse(Status.CANNOT_UNDERSTAND, "the Identifier is not a data set, or ends within an element"),
)
INTERNAL: Final = StatusUse(Status.INTERNAL_ERROR, "internal error, which the node logs")
RETRIEVAL: Final = (
    StatusUse(Status.SUCCESS, "all sub-operations succeeded, or nothing kept was named"),
    StatusUse(Status.PENDING, "sub-operations continue"),
    StatusUse(Status.WARNING, "some sub-operations failed or warned"),
    StatusUse(Status.CANCEL, "the retrieval was cancelled"),
    StatusUse(
        Status.SUBOPERATIONS_NOT_PERFORMED,
        "the source PACS, or the destination of kept objects, does not answer, rejects the association, lacks the "
        "service, or is gone; what remained failed",
    ),
    StatusUse(Status.SUBOPERATIONS_NOT_PERFORMED, "no kept object that is named could be sent"),
    StatusUse(
        Status.DATA_SET_MISMATCH, "with `retain` all: no level, no value of its unique key, or a wild card", "the key"
    ),
    *UNREADABLE,
    *DENIED,
    StatusUse(Status.SUBOPERATIONS_NOT_PERFORMED, "the caller began too many requests within a minute"),
    INTERNAL,
)

STATUS_USES: Final[Mapping[Service, tuple[StatusUse, ...]]] = {
    Service.VERIFICATION: (StatusUse(Status.SUCCESS, "the node answers"), *NOT_HERE),
    Service.STORAGE: (
        StatusUse(Status.SUCCESS, "the instance is durable on disk; it is not decoded yet"),
        StatusUse(Status.OUT_OF_RESOURCES, "spool, disk or memory is full: send again later"),
        StatusUse(Status.NOT_AUTHORIZED, "a rejection note of a caller that `corrections_from` does not name"),
        StatusUse(
            Status.DATA_SET_MISMATCH,
            "SOP Class or SOP Instance UID is missing, is no UID, or differs between command and data set",
            "the UID",
        ),
        StatusUse(
            Status.CANNOT_UNDERSTAND,
            "the bytes are no data set, or end within one of the elements that begin in the first 64 KiB",
        ),
        StatusUse(Status.NOT_AUTHORIZED, "a rejection note of a caller that is not in `corrections_from`"),
        StatusUse(
            Status.OUT_OF_RESOURCES,
            "a rejection note is stored but not in force after `correction_limit_s`, or is too large: send it again",
        ),
        StatusUse(
            Status.DATA_SET_MISMATCH,
            "a rejection note references nothing",
            "Current Requested Procedure Evidence Sequence",
        ),
        StatusUse(Status.CANNOT_UNDERSTAND, "a key object document cannot be read, or a reference in it is no UID"),
        *DENIED,
        INTERNAL,
        *NOT_HERE,
    ),
    Service.FIND: (
        StatusUse(Status.SUCCESS, "all matches were returned"),
        StatusUse(Status.PENDING, "a match; every key is matched and returned"),
        StatusUse(Status.PENDING_WITH_UNSUPPORTED_KEYS, "a match; a key of the request is not matched or not returned"),
        StatusUse(Status.RESPONSE_LIMIT_REACHED, "Repository Query only: the page is full, and more records match"),
        StatusUse(Status.INVALID_RECORD_KEY, "the Prior Record Key is of nothing here", "Prior Record Key"),
        StatusUse(Status.CANCEL, "the query was cancelled"),
        StatusUse(Status.OUT_OF_RESOURCES, "too many matches, or too long an Identifier: narrow the query"),
        StatusUse(Status.DATA_SET_MISMATCH, "a key is contradictory, missing or unusable", "the key"),
        StatusUse(Status.EXAMPLE_UNKNOWN, "the example was never received here", "the example key"),
        StatusUse(Status.EXAMPLE_WITHOUT_PIXELS, "the example has no pixel data", "the example key"),
        StatusUse(
            Status.EXAMPLE_NOT_HASHABLE,
            "the example could not be decoded, or its frame is not indexed",
            "the example key or Example Frame Number",
        ),
        StatusUse(Status.MODEL_UNKNOWN, "the node has another model", "Model Identifier"),
        StatusUse(
            Status.EXAMPLE_NOT_READY, "the example is received and not yet indexed: ask again", "the example key"
        ),
        StatusUse(
            Status.REGION_OUTSIDE,
            "the region is not within the image, is empty, or is too small for the pixels that are there",
            "Example Region",
        ),
        StatusUse(Status.SNAPSHOT_GONE, "the snapshot is gone", "Index Snapshot"),
        *DENIED,
        StatusUse(Status.OUT_OF_RESOURCES, "the caller began too many requests within a minute"),
        UNREADABLE[1],
        *NOT_HERE,
        INTERNAL,
    ),
    Service.MOVE: (
        *RETRIEVAL,
        StatusUse(
            Status.MOVE_DESTINATION_UNKNOWN,
            "the Move Destination is no entry of `peers` that may receive, or is unknown to the source PACS",
        ),
        *NOT_HERE,
    ),
    Service.GET: (
        *RETRIEVAL,
        StatusUse(Status.SUBOPERATIONS_NOT_PERFORMED, "the caller proposed no storage SOP class with the role of SCP"),
        *NOT_HERE,
    ),
    Service.AVAILABILITY: (
        StatusUse(Status.SUCCESS, "what the notification says holds in every answer"),
        StatusUse(Status.INVALID_ATTRIBUTE_VALUE, "an attribute has a value that the standard does not allow"),
        StatusUse(
            Status.PROCESSING_FAILURE, "the attribute list is no data set, or an internal error, which is logged"
        ),
        StatusUse(Status.INVALID_SOP_INSTANCE, "Affected SOP Instance UID is no UID"),
        StatusUse(Status.MISSING_ATTRIBUTE, "an attribute of type 1 or 2 is missing"),
        StatusUse(Status.MISSING_ATTRIBUTE_VALUE, "an attribute of type 1 is empty"),
        StatusUse(Status.NOT_AUTHORIZED, "the caller is not in `corrections_from`"),
        *DENIED,
        StatusUse(
            Status.RESOURCE_LIMITATION,
            "stored but not in force after `correction_limit_s`, the disk is full, or more than 8 MiB: send it again",
        ),
        *NOT_HERE,
    ),
    Service.COMMITMENT: (
        StatusUse(Status.SUCCESS, "the request is durable and will be reported, or the report is noted"),
        StatusUse(
            Status.PROCESSING_FAILURE, "the information is no data set, or an internal error, which the node logs"
        ),
        StatusUse(Status.NO_SUCH_INSTANCE, "Requested SOP Instance UID is not the well-known one"),
        StatusUse(Status.NO_SUCH_EVENT_TYPE, "the Event Type ID of a report is neither 1 nor 2"),
        StatusUse(Status.INVALID_ARGUMENT_VALUE, "an attribute is missing or empty, or is no UID or sequence"),
        StatusUse(Status.NO_SUCH_ACTION, "Action Type ID is not 1"),
        StatusUse(
            Status.RESOURCE_LIMITATION, "the disk is full, too many requests wait, or this one has more than 8 MiB"
        ),
        *UNREADABLE,
        *NOT_HERE,
    ),
}
"""Statuses of each service, with the conditions under which the node returns them."""


def status_table(service: Service) -> str:
    """Statuses of the responses of a service."""
    uses = sorted(STATUS_USES.get(service, ()), key=lambda use: (_is_failure(use.status), use.status))
    rows = ((f"{use.status:04X}", use.meaning, use.offending) for use in uses)
    return markdown_table(("status", "meaning", "Offending Element"), rows)


def other_status_table() -> str:
    """Statuses that no table of a service explains, by their names; a header alone where there are none."""
    explained = {use.status for uses in STATUS_USES.values() for use in uses}
    rows = ((f"{s:04X}", s.name.replace("_", " ").lower()) for s in sorted(set(Status) - explained))
    return markdown_table(("status", "meaning"), rows)


def _is_failure(status: Status) -> bool:
    return status != Status.SUCCESS and status & 0xFF00 not in (0xFF00, 0xFE00, 0xB000)
