"""Audit messages as XML (PS3.15 A.5): who did what to which study, when, and with which outcome."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Final
from xml.etree import ElementTree as Xml


class EventOutcome(IntEnum):
    """Outcome of an event (PS3.15 A.5.1)."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8


class Action(StrEnum):
    """Type of an action."""

    CREATE = "C"
    READ = "R"
    UPDATE = "U"
    DELETE = "D"
    EXECUTE = "E"


@dataclass(frozen=True, slots=True)
class Code:
    """A code of the scheme DCM (PS3.16 annex D), or of RFC 3881."""

    value: str
    meaning: str
    scheme: str = "DCM"


APPLICATION_ACTIVITY: Final = Code("110100", "Application Activity")
BEGIN_TRANSFERRING: Final = Code("110102", "Begin Transferring DICOM Instances")
INSTANCES_ACCESSED: Final = Code("110103", "DICOM Instances Accessed")
INSTANCES_TRANSFERRED: Final = Code("110104", "DICOM Instances Transferred")
STUDY_DELETED: Final = Code("110105", "DICOM Study Deleted")
QUERY: Final = Code("110112", "Query")
SECURITY_ALERT: Final = Code("110113", "Security Alert")
APPLICATION_START: Final = Code("110120", "Application Start")
APPLICATION_STOP: Final = Code("110121", "Application Stop")
NODE_AUTHENTICATION: Final = Code("110126", "Node Authentication")
RESTRICTED_FUNCTION: Final = Code("110132", "Use of Restricted Function")
APPLICATION: Final = Code("110150", "Application")
DESTINATION: Final = Code("110152", "Destination Role ID")
SOURCE: Final = Code("110153", "Source Role ID")
STUDY_UID: Final = Code("110180", "Study Instance UID")
SOP_CLASS_UID: Final = Code("110181", "SOP Class UID")
NODE_ID: Final = Code("110182", "Node ID")
PATIENT_NUMBER: Final = Code("2", "Patient Number", "RFC-3881")
PERSON, SYSTEM_OBJECT = "1", "2"
"""Type codes of objects."""
PATIENT_ROLE, REPORT_ROLE, RESOURCE_ROLE = "1", "3", "4"
"""Roles of objects: patient, report (a study or a query), and master file or resource."""
IP_ADDRESS: Final = "2"
UNWRITABLE: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document can hold (XML 1.0, section 2.2): a Patient ID may have them."""


@dataclass(frozen=True, slots=True)
class Participant:
    """Who takes part in an event.

    Attributes
    ----------
    user_id
        AE title, name of a caller, or process.
    address
        Address of its machine, "" if unknown.
    """

    user_id: str
    role: Code
    address: str = ""
    is_requestor: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """What an event is about.

    Attributes
    ----------
    query
        Bytes of a query.
    instances
        Number of instances by SOP class UID.
    """

    object_id: str
    id_type: Code
    type_code: str = SYSTEM_OBJECT
    role_code: str = REPORT_ROLE
    query: bytes = b""
    instances: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One event."""

    kind: Code
    action: Action
    participants: Sequence[Participant]
    subjects: Sequence[Subject] = ()
    outcome: EventOutcome = EventOutcome.SUCCESS
    type: Code | None = None
    comment: str = ""
    time: datetime = field(default_factory=lambda: datetime.now(UTC))


def audit_message(event: AuditEvent, source: str) -> bytes:
    """An event as an `AuditMessage` document, in UTF-8.

    Parameters
    ----------
    source
        Name of the node.
    """
    root = Xml.Element("AuditMessage")
    identification = Xml.SubElement(
        root,
        "EventIdentification",
        EventActionCode=event.action,
        EventDateTime=event.time.isoformat(timespec="milliseconds"),
        EventOutcomeIndicator=str(int(event.outcome)),
    )
    _code(identification, "EventID", event.kind)
    if event.type is not None:
        _code(identification, "EventTypeCode", event.type)
    if event.comment:
        Xml.SubElement(identification, "EventOutcomeDescription").text = _written(event.comment)
    for participant in event.participants:
        _participant(root, participant)
    Xml.SubElement(root, "AuditSourceIdentification", AuditSourceID=_written(source))
    for subject in event.subjects:
        _subject(root, subject)
    document: bytes = Xml.tostring(root, "utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>' + document.removeprefix(
        b"<?xml version='1.0' encoding='utf-8'?>\n"
    )


def _participant(root: Xml.Element, participant: Participant) -> None:
    attributes = {"UserID": _written(participant.user_id)}
    attributes["UserIsRequestor"] = "true" if participant.is_requestor else "false"
    if participant.address:
        attributes |= {"NetworkAccessPointID": participant.address, "NetworkAccessPointTypeCode": IP_ADDRESS}
    _code(Xml.SubElement(root, "ActiveParticipant", attributes), "RoleIDCode", participant.role)


def _subject(root: Xml.Element, subject: Subject) -> None:
    element = Xml.SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_written(subject.object_id),
        ParticipantObjectTypeCode=subject.type_code,
        ParticipantObjectTypeCodeRole=subject.role_code,
    )
    _code(element, "ParticipantObjectIDTypeCode", subject.id_type)
    if subject.query:
        Xml.SubElement(element, "ParticipantObjectQuery").text = base64.b64encode(subject.query).decode()
    else:
        Xml.SubElement(element, "ParticipantObjectName").text = ""
    if subject.instances:
        description = Xml.SubElement(element, "ParticipantObjectDescription")
        for sop_class_uid, count in subject.instances:
            Xml.SubElement(description, "SOPClass", UID=_written(sop_class_uid), NumberOfInstances=str(count))


def _code(parent: Xml.Element, name: str, code: Code) -> None:
    attributes = {"csd-code": code.value, "codeSystemName": code.scheme, "originalText": code.meaning}
    Xml.SubElement(parent, name, attributes)


def _written(text: str) -> str:
    """A text as XML can hold it; "unknown" for none."""
    return UNWRITABLE.sub("?", text) or "unknown"
