"""Parameters of a search, read into the identifier that a C-FIND request for the same would carry (PS3.18 8.3.4).

What a key means is then decided where it is decided for C-FIND: there is one reader of keys, and one matcher.
"""

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import ImplicitVRLittleEndian
from pydicom.valuerep import VR

from node.dicom.hierarchy import ATTRIBUTES, COMPUTED, LEVEL_OF, UNIQUE, at_or_above, tag_of
from node.dicom.private import CREATOR, DEFINITIONS, FIRST_BLOCK, GROUP, Element
from node.errors import Refusal, Status
from node.query.data_set import read_data_set
from node.query.question import DEFAULT_MATCHES, EXAMPLE_KINDS, KEYS
from storage.record import LEVELS, Level

LIST_VRS: Final = frozenset({VR.UI, VR.CS})
"""VRs in whose values a comma separates: no UID and no code string holds one (PS3.5 section 6.2)."""
TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
SHOWABLE: Final = re.compile(r"[A-Za-z0-9_.]{1,64}")
MAX_COUNT: Final = 1 << 31
FIRST_GROUP, LAST_GROUP = 0x0008, 0xFFFA
"""Groups of attributes: below lie commands and file meta information, above signatures and the items of sequences."""
OWN_NAMES: Final = {
    "similarto": Element.EXAMPLE_SOP_INSTANCE_UID,
    "frame": Element.EXAMPLE_FRAME_NUMBER,
    "region": Element.EXAMPLE_REGION,
    "maxdistance": Element.MAXIMUM_DISTANCE,
    "model": Element.MODEL_IDENTIFIER,
    "snapshot": Element.INDEX_SNAPSHOT,
} | {DEFINITIONS[element].name.replace(" ", "").lower(): element for element in KEYS}
"""Private keys by the names of their parameters: short ones, and the name of each element in small letters."""
DEFAULTS: Final[Mapping[Level, tuple[str, ...]]] = {
    Level.STUDY: (
        "StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "ReferringPhysicianName", "PatientName",
        "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID", "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
    ),
    Level.SERIES: (
        "Modality", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber", "NumberOfSeriesRelatedInstances",
    ),
    Level.IMAGE: ("SOPClassUID", "SOPInstanceUID", "InstanceNumber", "NumberOfFrames", "Rows", "Columns"),
}  # fmt: skip
"""Attributes returned unasked, of those that the node keeps (PS3.18 tables 10.6.3-3 to 10.6.3-5)."""
SWITCHES: Final = frozenset({"fuzzymatching", "emptyvaluematching", "multiplevaluematching", "strict"})


@dataclass(slots=True)
class SearchRequest:
    """A search, as it was requested.

    Attributes
    ----------
    level
        Level of the results.
    values
        Texts of the keys by tag; an empty one is returned only.
    limit
        Number of results at most, None if the client does not say.
    offset
        Number of results to leave out.
    is_strict
        True to be refused rather than answered with a warning.
    ignored
        Why the answer is not quite the one that was requested: one sentence for each reason.
    """

    level: Level
    values: dict[BaseTag, str] = field(default_factory=dict)
    limit: int | None = None
    offset: int = 0
    is_strict: bool = False
    ignored: list[str] = field(default_factory=list)

    @property
    def is_by_example(self) -> bool:
        """True if an example is given."""
        return any(self.values.get(private(element)) for element in EXAMPLE_KINDS)

    def identifier(self) -> Dataset:
        """Return the identifier of a C-FIND request for the same, with every attribute that is to be returned.

        Raises
        ------
        Refusal
            A700, A900: it is too large, or a value cannot be written.
        """
        values = dict(self.values)
        values |= {tag_of("QueryRetrieveLevel"): str(self.level), tag_of("SpecificCharacterSet"): "ISO_IR 192"}
        if self.is_by_example:
            wanted = DEFAULT_MATCHES if self.limit is None else self.limit
            values[private(Element.MAXIMUM_MATCHES)] = str(self.offset + wanted)
            values |= {private(element): values.get(private(element), "") for element in Element}
        if any(tag.is_private for tag in values):
            values[Tag(GROUP, FIRST_BLOCK)] = CREATOR
        encoded = b"".join(_element(tag, values[tag]) for tag in sorted(values))
        return read_data_set(encoded, ImplicitVRLittleEndian)


def read_search(level: Level, parents: Mapping[Level, str], parameters: Iterable[tuple[str, str]]) -> SearchRequest:
    """Read the parameters of a search.

    Parameters
    ----------
    parents
        UIDs in the path, by level; results are of these only, and do not repeat what the client knows of them.
    parameters
        Names and values in the order of the query string.

    Raises
    ------
    Refusal
        A900: a parameter has a value that it cannot have.
    """
    request = SearchRequest(level)
    for each in (Level.STUDY, Level.SERIES, Level.IMAGE):
        if each in at_or_above(level) and (each == level or each not in parents):
            request.values |= dict.fromkeys(map(tag_of, DEFAULTS[each]), "")
    request.values |= {tag_of(UNIQUE[each]): "" for each in at_or_above(level)[1:]}
    given: dict[str, list[str]] = {}
    for name, value in parameters:
        given.setdefault(name, []).append(value)
    for name, values in given.items():
        _read_parameter(request, name, values)
    for each, uid in parents.items():
        tag = tag_of(UNIQUE[each])
        if request.values.get(tag) not in (None, "", uid):
            raise _refusal(f"{UNIQUE[each]} is given in the path and otherwise, too")
        request.values[tag] = uid
    return request


def private(element: Element) -> BaseTag:
    """Tag of one of our elements in the block that requests of ours use."""
    return Tag(GROUP, FIRST_BLOCK << 8 | element)


def _read_parameter(request: SearchRequest, name: str, values: Sequence[str]) -> None:
    if name == "accept":
        return
    if name == "includefield":
        for field_name in (part.strip() for value in values for part in value.split(",")):
            _include(request, field_name)
    elif name in ("limit", "offset"):
        setattr(request, name, _count(name, values))
    elif name in SWITCHES:
        _switch(request, name, values)
    elif (tag := _tag(name)) is not None:
        _add_key(request, name, tag, values)
    else:
        shown = name if SHOWABLE.fullmatch(name) else "a parameter"
        request.ignored.append(f"{shown} is not supported and was ignored")


def _include(request: SearchRequest, name: str) -> None:
    if name == "all":
        keywords = [k for each in at_or_above(request.level) for k in (*ATTRIBUTES[each], *COMPUTED[each])]
        for keyword in keywords:
            request.values.setdefault(tag_of(keyword), "")
        return
    tag = _tag(name)
    keyword = "" if tag is None else keyword_for_tag(tag)
    if keyword in LEVEL_OF and LEVEL_OF[keyword] in at_or_above(request.level):
        request.values.setdefault(tag_of(keyword), "")
    elif name:
        shown = name if SHOWABLE.fullmatch(name) else "an attribute"
        request.ignored.append(f"{shown} is not returned")


def _switch(request: SearchRequest, name: str, values: Sequence[str]) -> None:
    if set(values) - {"true", "false"}:
        raise _refusal(f"{name} takes true or false")
    if values[-1] == "false" or name == "emptyvaluematching":  # two quotation marks always match what has no value
        return
    if name == "strict":
        request.is_strict = True
    elif name == "fuzzymatching":
        request.ignored.append(
            "The fuzzymatching parameter is not supported. Only literal matching has been performed."
        )
    else:
        request.ignored.append(
            "The multiplevaluematching parameter is not supported. Multiple Value Matching has not been performed."
        )


def _add_key(request: SearchRequest, name: str, tag: BaseTag, values: Sequence[str]) -> None:
    if tag == private(Element.MAXIMUM_MATCHES):
        request.limit = _count(name, values)
        return
    vr = _vr(tag)
    if vr in LIST_VRS or (tag.is_private and vr == VR.IS):
        values = ["\\".join(value.replace(",", "\\") for value in values)]
    if len(values) > 1:
        raise _refusal(f"{name} is given twice")
    request.values[tag] = values[0]


def _count(name: str, values: Sequence[str]) -> int:
    if len(values) > 1 or not re.fullmatch(r"[0-9]{1,10}", values[0]) or int(values[0]) > MAX_COUNT:
        raise _refusal(f"{name} takes a whole number")
    return int(values[0])


def _tag(name: str) -> BaseTag | None:
    """Tag of an attribute given by keyword, by tag, or by a name of our own; None if it is none."""
    if name in OWN_NAMES:
        return private(OWN_NAMES[name])
    if TAG.fullmatch(name):
        tag = Tag(int(name, 16))
        known = keyword_for_tag(tag) or (tag.group == GROUP and tag.elem >> 8 == FIRST_BLOCK)
        return tag if known and FIRST_GROUP <= tag.group < LAST_GROUP else None
    found = Tag(tag_for_keyword(name) or 0)
    return found if FIRST_GROUP <= found.group < LAST_GROUP else None


def _vr(tag: BaseTag) -> VR:
    if not tag.is_private:
        return VR(dictionary_VR(tag).partition(" or ")[0])  # such as "US or SS"
    element = tag.elem & 0xFF
    return VR(DEFINITIONS[Element(element)].vr) if element in set(Element) else VR.LO


def _element(tag: BaseTag, text: str) -> bytes:
    """An element in Implicit VR Little Endian."""
    vr = _vr(tag)
    if vr == VR.US:
        parts = [part.strip() for part in text.split("\\") if part.strip()]
        if not all(part.isascii() and part.isdecimal() and int(part) <= 0xFFFF for part in parts):
            raise Refusal(Status.DATA_SET_MISMATCH, "the value of this key cannot be read", tag)
        value = b"".join(struct.pack("<H", int(part)) for part in parts)
    else:
        value = text.encode("utf-8", "replace")
        value += (b"\0" if vr == VR.UI else b" ") * (len(value) % 2)
    return struct.pack("<HHI", tag.group, tag.elem, len(value)) + value


def _refusal(comment: str) -> Refusal:
    return Refusal(Status.DATA_SET_MISMATCH, comment)


assert set(DEFAULTS) == set(LEVELS[1:])
