"""Attributes as DICOM JSON (PS3.18 annex F), from the texts that the database keeps."""

import math
from collections.abc import Mapping
from typing import Any, Final

from pydicom.datadict import dictionary_VR
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import VR

from node.dicom.hierarchy import tag_of
from node.dicom.private import CREATOR, DEFINITIONS, FIRST_BLOCK, GROUP, Element

Attribute = dict[str, Any]
JsonObject = dict[str, Attribute]
"""A data set: attributes by tag, eight hexadecimal digits."""
NAME_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
INTEGERS: Final = frozenset({VR.IS, VR.US, VR.UL, VR.SS, VR.SL})


def json_object(texts: Mapping[str, str], similarity: Mapping[Element, str]) -> JsonObject:
    r"""A data set as DICOM JSON, in ascending order of tags.

    Parameters
    ----------
    texts
        Values by keyword, several joined by a backslash; an attribute with an empty one has no Value.
    similarity
        Values of our private elements, which come with their creator.
    """
    found: dict[BaseTag, Attribute] = {}
    for keyword, text in texts.items():
        tag = tag_of(keyword)
        found[tag] = json_attribute(VR(dictionary_VR(tag)), text)
    if similarity:
        found[Tag(GROUP, FIRST_BLOCK)] = json_attribute(VR.LO, CREATOR)
    for element, text in similarity.items():
        found[Tag(GROUP, FIRST_BLOCK << 8 | element)] = json_attribute(VR(DEFINITIONS[element].vr), text)
    return {f"{tag:08X}": found[tag] for tag in sorted(found)}


def json_attribute(vr: VR, text: str) -> Attribute:
    """One attribute; an empty one among several values is null (PS3.18 F.2.5)."""
    if text == "":
        return {"vr": str(vr)}
    values = [_value(vr, part) for part in text.split("\\")]
    return {"vr": str(vr), "Value": values}


def sequence(items: list[JsonObject]) -> Attribute:
    """A sequence of items."""
    return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}


def _value(vr: VR, text: str) -> Any:
    if text.strip() == "":
        return None
    if vr == VR.PN:
        groups = zip(NAME_GROUPS, text.split("="), strict=False)
        return {name: group for name, group in groups if group}
    if vr in INTEGERS:
        return _number(int, text)
    return _number(float, text) if vr in (VR.DS, VR.FD, VR.FL) else text


def _number(read: type[int] | type[float], text: str) -> int | float | str:
    """A number; the text itself where it is none, for what was received is returned (PS3.18 F.2.3.1)."""
    try:
        number = read(text.strip())
    except ValueError:
        return text
    return number if math.isfinite(number) else text
