"""Tables of keys, private elements and character sets for the conformance statement."""

from collections.abc import Iterable
from typing import Final

from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_description, dictionary_VR
from pydicom.tag import BaseTag
from pydicom.valuerep import VR

from node.character_sets import ASCII_ONLY
from node.conformance.markdown import markdown_table
from node.dicom.hierarchy import ATTRIBUTES, COMPUTED, REQUIRED, RETURN_ONLY, UNIQUE, tag_of
from node.dicom.private import CREATOR, DEFINITIONS, GROUP
from node.query.matching import NUMBER_VRS, RANGE_VRS, WILD_CARD_VRS
from node.query.question import KEYS
from node.query.response import WHOLE_UNICODE
from storage.record import LEVELS, Level

MATCHING: Final = (
    (frozenset({VR.UI}), "single value, list of UIDs"),
    (frozenset({VR.PN}), "single value, wild card; case and accents do not count"),
    (RANGE_VRS, "single value, range"),
    (NUMBER_VRS, "single value, as a number"),
    (WILD_CARD_VRS, "single value, wild card"),
)
"""Matching by value representation; universal and empty value matching come with each."""


def key_table() -> str:
    """Keys of C-FIND by level: attribute, tag, VR, type of the key (PS3.4 C.2.2.1) and matching."""
    rows = (
        (level, dictionary_description(tag_of(keyword)), _tag(tag_of(keyword)), _vr(keyword), _type(level, keyword),
         _matching(keyword), "computed" if keyword in COMPUTED[level] else "stored")
        for level in LEVELS
        for keyword in (*ATTRIBUTES[level], *COMPUTED[level])
    )  # fmt: skip
    return markdown_table(("level", "attribute", "tag", "VR", "type", "matching", "value"), rows)


def private_element_table() -> str:
    """Private elements of queries by example."""
    rows = (
        (f"({GROUP:04X},xx{element:02X})", definition.name, definition.vr, definition.vm, _use(element in KEYS))
        for element, definition in DEFINITIONS.items()
    )
    return markdown_table(("element", "name", "VR", "VM", "use"), rows)


def private_creator() -> str:
    """Private Creator of the private elements."""
    return CREATOR


def character_set_table() -> str:
    """Specific Character Sets that are read in requests, and how a response is written for each."""
    names = [name for name in python_encoding if name not in ASCII_ONLY and name.startswith(("ISO", "GB"))]
    single = [name for name in names if not name.startswith("ISO 2022") and name not in WHOLE_UNICODE]
    extensions = [name for name in names if name.startswith("ISO 2022 IR")]
    rows = [
        ("default repertoire", "ISO_IR 6, or none"),
        ("single-byte, without code extensions", _joined(single)),
        ("with code extensions, also several", _joined(extensions)),
        ("all characters", _joined(WHOLE_UNICODE)),
    ]
    return markdown_table(("kind", "Specific Character Set"), rows)


def _joined(names: Iterable[str]) -> str:
    return ", ".join(name for name in names if name != "GBK")


def _use(is_key: bool) -> str:
    return "key" if is_key else "return"


def _tag(tag: BaseTag) -> str:
    return f"({tag.group:04X},{tag.element:04X})"


def _vr(keyword: str) -> str:
    return dictionary_VR(tag_of(keyword))


def _type(level: Level, keyword: str) -> str:
    if keyword == UNIQUE[level]:
        return "U"
    return "R" if keyword in REQUIRED else "O"


def _matching(keyword: str) -> str:
    if keyword in RETURN_ONLY:
        return "none: returned only"
    return next((text for vrs, text in MATCHING if _vr(keyword) in vrs), "single value")
