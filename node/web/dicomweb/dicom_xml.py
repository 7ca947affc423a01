"""DICOM JSON objects in the Native DICOM Model, and the multipart body that holds them (PS3.19 A.1, PS3.18 8.7.3.3)."""

import re
import uuid
from collections.abc import Iterable
from typing import Any, Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from pydicom.datadict import keyword_for_tag

from node.dicom.private import CREATOR, GROUP
from node.web.dicomweb.dicom_json import NAME_GROUPS, Attribute, JsonObject
from node.web.media_types import XML

NAMESPACE: Final = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document may hold (XML 1.0, production 2)."""
NAME_PARTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")


def xml_document(data_set: JsonObject) -> bytes:
    """One data set as a document of the Native DICOM Model."""
    root = Element("NativeDicomModel", {"xmlns": NAMESPACE, "xml:space": "preserve"})
    _add(root, data_set)
    document: bytes = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    return document


def multipart(parts: Iterable[bytes], part_type: str) -> tuple[bytes, str]:
    """Return a multipart/related body, and its media type."""
    boundary = uuid.uuid4().hex
    head = f"--{boundary}\r\nContent-Type: {part_type}\r\n\r\n".encode()
    body = b"".join(head + part + b"\r\n" for part in parts)
    return body + f"--{boundary}--\r\n".encode(), f'multipart/related; type="{part_type}"; boundary={boundary}'


def xml_body(data_sets: Iterable[JsonObject]) -> tuple[bytes, str]:
    """Return data sets as a multipart body, a document each, and its media type."""
    return multipart(map(xml_document, data_sets), XML)


def _add(parent: Element, data_set: JsonObject) -> None:
    for tag, attribute in data_set.items():
        names = {"tag": tag, "vr": attribute["vr"]}
        if keyword := keyword_for_tag(int(tag, 16)):
            names["keyword"] = keyword
        elif int(tag[:4], 16) == GROUP and int(tag[4:], 16) > 0xFF:
            names |= {"tag": f"{tag[:4]}00{tag[6:]}", "privateCreator": CREATOR}  # the block is the creator's business
        _add_values(SubElement(parent, "DicomAttribute", names), attribute)


def _add_values(element: Element, attribute: Attribute) -> None:
    for number, value in enumerate(attribute.get("Value", ()), 1):
        place = {"number": str(number)}
        if attribute["vr"] == "SQ":
            _add(SubElement(element, "Item", place), value)
        elif attribute["vr"] == "PN":
            _add_name(SubElement(element, "PersonName", place), value or {})
        elif value is not None:
            SubElement(element, "Value", place).text = _clean(value)


def _add_name(element: Element, groups: dict[str, str]) -> None:
    for name in NAME_GROUPS:
        if name in groups:
            group = SubElement(element, name)
            for part, text in zip(NAME_PARTS, groups[name].split("^"), strict=False):
                if text:
                    SubElement(group, part).text = _clean(text)


def _clean(value: Any) -> str:
    return FORBIDDEN.sub("\ufffd", str(value))
