"""A strict reader of audit messages by the schema of PS3.15 A.5.1, and of the syslog frames around them (RFC 5424)."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lxml import etree

HEADER = re.compile(rb"<(\d{1,3})>1 (\S+) (\S{1,255}) (\S{1,48}) (\d+) DICOM\+RFC3881 - \xef\xbb\xbf")
SCHEMA = etree.RelaxNG(file=Path(__file__).with_name("audit_message.rng"))


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
    root = etree.fromstring(frame[header.end() :])
    SCHEMA.assertValid(root)
    event, kind = root.find("EventIdentification/EventID"), root.find("EventIdentification/EventTypeCode")
    identification = root.find("EventIdentification")
    assert event is not None
    assert identification is not None
    assert datetime.fromisoformat(identification.attrib["EventDateTime"]).tzinfo is not None
    query = root.findtext("ParticipantObjectIdentification/ParticipantObjectQuery") or ""
    return Message(
        event.attrib["originalText"],
        kind.attrib["originalText"] if kind is not None else "",
        int(identification.attrib["EventOutcomeIndicator"]),
        {one.attrib["UserID"]: one.attrib.get("NetworkAccessPointID", "") for one in root.iter("ActiveParticipant")},
        [one.attrib["ParticipantObjectID"] for one in root.iter("ParticipantObjectIdentification")],
        base64.b64decode(query, validate=True),
    )
