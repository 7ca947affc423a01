"""A strict reader of audit messages, and of the syslog frames around them: what PS3.15 A.5.1 and RFC 5424 demand."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from xml.etree import ElementTree as Xml

HEADER = re.compile(rb"<(\d{1,3})>1 (\S+) (\S{1,255}) (\S{1,48}) (\d+) DICOM\+RFC3881 - \xef\xbb\xbf")
CODE = {"csd-code", "codeSystemName", "originalText"}
CHILDREN = {
    "EventIdentification": ["EventID", "EventTypeCode*", "EventOutcomeDescription*"],
    "ActiveParticipant": ["RoleIDCode*"],
    "AuditSourceIdentification": [],
    "ParticipantObjectIdentification": [
        "ParticipantObjectIDTypeCode",
        "ParticipantObjectName|ParticipantObjectQuery",
        "ParticipantObjectDescription*",
    ],
    "ParticipantObjectDescription": ["SOPClass*"],
}
REQUIRED = {
    "EventIdentification": {"EventActionCode", "EventDateTime", "EventOutcomeIndicator"},
    "ActiveParticipant": {"UserID", "UserIsRequestor"},
    "AuditSourceIdentification": {"AuditSourceID"},
    "ParticipantObjectIdentification": {"ParticipantObjectID"},
    "SOPClass": {"UID", "NumberOfInstances"},
}
OPTIONAL = {
    "ActiveParticipant": {"NetworkAccessPointID", "NetworkAccessPointTypeCode"},
    "ParticipantObjectIdentification": {"ParticipantObjectTypeCode", "ParticipantObjectTypeCodeRole"},
}
VALUES = {
    "EventActionCode": "[CRUDE]",
    "EventOutcomeIndicator": "0|4|8|12",
    "UserIsRequestor": "true|false",
    "NetworkAccessPointTypeCode": "[1-5]",
    "ParticipantObjectTypeCode": "[1-4]",
    "ParticipantObjectTypeCodeRole": "[1-9]|1[0-9]|2[0-6]",
    "NumberOfInstances": r"\d+",
}


@dataclass(frozen=True)
class Message:
    """An audit message that is as it must be."""

    event: str
    kind: str
    outcome: int
    participants: dict[str, str]
    objects: list[str]
    query: bytes


def frames(octets: bytes) -> Iterator[bytes]:
    """Messages of a stream in which the length stands before each (RFC 5425 section 4.3)."""
    while octets:
        length, _, rest = octets.partition(b" ")
        size = int(length)
        assert len(rest) >= size, "a frame is cut"
        yield rest[:size]
        octets = rest[size:]


def read_message(frame: bytes) -> Message:
    """The message of a frame; fails the test if anything of it is not as it must be."""
    header = HEADER.match(frame)
    assert header, frame[:200]
    assert int(header[1]) == 85
    assert datetime.fromisoformat(header[2].decode()).tzinfo is not None
    root = Xml.fromstring(frame[header.end() :])
    assert root.tag == "AuditMessage"
    _check_order([child.tag for child in root])
    for element in root.iter():
        _check(element)
    event, kind = root.find("EventIdentification/EventID"), root.find("EventIdentification/EventTypeCode")
    identification = root.find("EventIdentification")
    assert event is not None
    assert identification is not None
    query = root.findtext("ParticipantObjectIdentification/ParticipantObjectQuery") or ""
    return Message(
        event.attrib["originalText"],
        kind.attrib["originalText"] if kind is not None else "",
        int(identification.attrib["EventOutcomeIndicator"]),
        {one.attrib["UserID"]: one.attrib.get("NetworkAccessPointID", "") for one in root.iter("ActiveParticipant")},
        [one.attrib["ParticipantObjectID"] for one in root.iter("ParticipantObjectIdentification")],
        base64.b64decode(query, validate=True),
    )


def _check_order(tags: list[str]) -> None:
    order = "".join(tag[0] + tag[-1] for tag in tags)
    assert re.fullmatch(r"En(At)+An(Pn)*", order), tags


def _check(element: Xml.Element) -> None:
    name, attributes = element.tag, set(element.attrib)
    if "csd-code" in attributes:
        assert attributes == CODE, name
    elif name in REQUIRED:
        assert REQUIRED[name] <= attributes <= REQUIRED[name] | OPTIONAL.get(name, set()), (name, attributes)
    for attribute, pattern in VALUES.items():
        if attribute in attributes:
            assert re.fullmatch(pattern, element.attrib[attribute]), (name, attribute)
    if name in CHILDREN:
        allowed = "".join(
            f"(?:{child.rstrip('*')};){'*' if child.endswith('*') else ''}" for child in CHILDREN[name]
        ).replace("|", ";|")
        given = "".join(f"{child.tag};" for child in element)
        assert re.fullmatch(allowed, given), (name, given)
    if name == "EventIdentification":
        assert datetime.fromisoformat(element.attrib["EventDateTime"]).tzinfo is not None
