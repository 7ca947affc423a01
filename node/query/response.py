"""Response identifiers of C-FIND as bytes: what they hold, and in which character set (PS3.4 C.4.1.1.3.2)."""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from pydicom.charset import convert_encodings, custom_encoders, encode_string, python_encoding
from pydicom.datadict import dictionary_VR
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import VR

from node.access.disclosure import Discloser
from node.character_sets import ASCII_ONLY, CHARACTER_SET_VRS
from node.dicom.hierarchy import tag_of
from node.dicom.private import CREATOR, DEFINITIONS, GROUP, Element
from node.options.access import Disclosure
from node.query.identifier import COMMENTS, INSTANCE_AVAILABILITY, RETRIEVE_AE_TITLE, Query
from node.query.paging import RECORD_KEY
from node.query.question import EXAMPLE_KINDS, Question
from node.query.retriever import LookAlikes, Match, Retriever
from storage.corrections.announcing import is_settled
from storage.database.snapshot import Snapshot
from storage.progress.coverage import CoverageState
from storage.record import Level

UTF_8: Final = "ISO_IR 192"
WHOLE_UNICODE: Final = {UTF_8: "utf-8", "GB18030": "gb18030"}
"""Character sets without escape sequences that hold every character, and the names of Python's encoders."""
LENGTH_16, LENGTH_32 = struct.Struct("<H"), struct.Struct("<I")
MAX_SHORT: Final = 0xFFFF
"""Longest value of a 16-bit length field; a longer value is written as UN (PS3.5 section 6.2.2)."""
LEVEL: Final = "QueryRetrieveLevel"


Row = tuple[dict[str, str], str, dict[Element, str]]
"""The parts of one response: values by keyword, Retrieve AE Title, private elements."""

BEST_MATCHES: Final = (Element.BEST_MATCH_SOP_INSTANCE_UID, Element.BEST_MATCH_SERIES_INSTANCE_UID)
EXACT: Final = (Element.RANKING_SCORE, Element.CHANCE_EXPECTATION)
"""Elements from which the distance could be computed again."""


class Field(NamedTuple):
    """One element that a response may hold.

    Attributes
    ----------
    name
        Keyword, private element, or `CREATOR` for the element that reserves the private block.
    head
        Encoded tag, with the VR where it is explicit.
    """

    tag: BaseTag
    name: str | Element
    vr: VR
    head: bytes


def disclosed(rows: Iterable[Row], disclosure: Disclosure, code_length: int) -> Iterator[Row]:
    """Yield the rows of one answer, masked."""
    discloser = Discloser(disclosure, code_length)
    for values, retrieve_ae_title, similarity in rows:
        yield discloser.attributes(values), retrieve_ae_title, _similarity(discloser, similarity)


class ResponseEncoder:
    """Encodes the identifiers of the responses to one query, in Little Endian.

    pydicom spends a fifth of a millisecond on each, for it checks and converts what the node wrote itself; a hospital's
    worklist asks for hundreds.

    Parameters
    ----------
    implicit
        True for Implicit VR, False for Explicit VR.
    """

    def __init__(self, query: Query, *, implicit: bool) -> None:
        self._query, self._implicit = query, implicit
        self._fields = sorted(self._field(*element) for element in _elements(query))

    def encode(self, values: Mapping[str, str], retrieve_ae_title: str, similarity: Mapping[Element, str]) -> bytes:
        """Encode one identifier: the attributes of the query's keys, and no others but those that every response has.

        Parameters
        ----------
        values
            Values of the entity by keyword; a key that it lacks is returned with zero length.
        retrieve_ae_title
            Title of the archive that holds the images; left out if it is empty.
        similarity
            Values of private elements; only those that the request has are returned.
        """
        texts: dict[str | Element, str] = {LEVEL: self._query.level}
        texts.update(values)
        texts.update(similarity.items())
        if retrieve_ae_title:
            texts[RETRIEVE_AE_TITLE] = retrieve_ae_title
        if any(element in similarity for element in self._query.returned):
            texts[CREATOR] = CREATOR
        keys = self._query.keys
        character_set = _character_set(self._query.character_set, (values.get(keyword, "") for keyword in keys))
        encoded = bytearray()
        if character_set:
            encoded += self._element(self._character_set_field, character_set, "")
        for field in self._fields:
            text = texts.get(field.name)
            if text is not None or field.name in keys:
                encoded += self._element(field, text or "", character_set)
        return bytes(encoded)

    @property
    def _character_set_field(self) -> Field:
        return self._field(tag_of("SpecificCharacterSet"), "", VR.CS)

    def _field(self, tag: BaseTag, name: str | Element, vr: VR) -> Field:
        head = struct.pack("<HH", tag.group, tag.element)
        return Field(tag, name, vr, head if self._implicit else head + vr.encode("ascii"))

    def _element(self, field: Field, text: str, character_set: str) -> bytes:
        value = _value(field.vr, text, character_set)
        if self._implicit:
            return field.head + LENGTH_32.pack(len(value)) + value
        if field.vr == VR.OB:  # the record key, as bytes of Latin alphabet No. 1
            return field.head + b"\0\0" + LENGTH_32.pack(len(value)) + value
        if len(value) <= MAX_SHORT:
            return field.head + LENGTH_16.pack(len(value)) + value
        return field.head[:4] + b"UN\0\0" + LENGTH_32.pack(len(value)) + value


def comment(match: Match, code_length: int, expectation: float | None) -> str:
    """A look-alike's rank and distance as a text for people, which sorts by rank; `expectation` is that of chance."""
    chance = " No closer than chance." if expectation is not None and expectation >= 1 else ""
    apart = f"{match.distance:g} of {code_length} bits apart{', unusually far' if match.is_unusual else ''}"
    return f"Look-alike {match.rank:03d}, {apart}: not the examination asked about.{chance}"


def common_elements(
    snapshot: Snapshot, query: Query, question: Question, found: LookAlikes, retriever: Retriever
) -> dict[Element, str]:
    """Elements that are the same in every response: the question as understood, and the state of the index."""
    distance = question.maximum_distance
    examples = {
        element: "\\".join(question.examples) if level == question.example_level else ""
        for element, level in EXAMPLE_KINDS.items()
    }
    return examples | {
        Element.EXAMPLE_FRAME_NUMBER: "\\".join(map(str, question.frames)),
        Element.EXAMPLE_REGION: "\\".join(map(str, question.region or ())),
        Element.REGION_SOURCE: found.region_source,
        Element.MAXIMUM_MATCHES: str(question.maximum_matches),
        Element.MAXIMUM_DISTANCE: "" if distance is None else str(distance),
        Element.EXCLUDE: "\\".join(sorted(question.exclusions)),
        Element.AGGREGATION: str(question.aggregation),
        Element.MODEL_IDENTIFIER: retriever.model,
        Element.INDEX_SNAPSHOT: snapshot.identifier,
        Element.RANKING: str(found.ranking),
        Element.DISTINCT: str(question.distinct),
        Element.CODE_LENGTH: str(snapshot.code_length),
        Element.COVERAGE: _coverage(snapshot, retriever) if Element.COVERAGE in query.returned else "",
        Element.INDEXED_INSTANCES: "" if found.candidates is None else str(found.candidates),
    }


def _coverage(snapshot: Snapshot, retriever: Retriever) -> str:
    """COMPLETE if all that was received, announced, or listed by archives is indexed; this looks through the spool."""
    spool = retriever.spool
    if spool.depth() or not is_settled(snapshot, lambda uid: spool.is_set_aside(uid) is not None):
        return CoverageState.BACKFILLING
    return retriever.coverage.state() if retriever.coverage else CoverageState.COMPLETE


def similarity_elements(level: Level, match: Match) -> dict[Element, str]:
    """Private elements that tell of one look-alike, in a response of a level."""
    best = {
        Element.BEST_MATCH_SOP_INSTANCE_UID: match.image.uids[Level.IMAGE],
        Element.BEST_MATCH_SERIES_INSTANCE_UID: match.image.uids[Level.SERIES],
    }
    return {
        Element.SIMILARITY_RANK: str(match.rank),
        Element.SIMILARITY_SCORE: _decimal(match.score),
        Element.RANKING_SCORE: "" if match.ranking_score is None else _decimal(match.ranking_score),
        Element.HAMMING_DISTANCE: str(round(match.distance)),
        Element.DUPLICATES: "" if match.duplicates is None else str(match.duplicates),
        Element.BEST_MATCH_FRAME_NUMBER: str(match.frame + 1),
        **(best if level != Level.IMAGE else {}),
    }


def _elements(query: Query) -> Iterable[tuple[BaseTag, str | Element, VR]]:
    """Tag, name and VR of each element that responses to a query may hold."""
    record_key = (RECORD_KEY,) if query.page is not None and query.page.returns_keys else ()
    comments = (COMMENTS,) if query.has_comments else ()
    availability = (INSTANCE_AVAILABILITY,) if query.returns_availability else ()
    for keyword in (*query.keys, LEVEL, RETRIEVE_AE_TITLE, *record_key, *availability, *comments):
        yield tag_of(keyword), keyword, VR(dictionary_VR(tag_of(keyword)))
    yield Tag(GROUP, query.block), CREATOR, VR.LO
    for element in query.returned:
        yield Tag(GROUP, query.block << 8 | element), element, VR(DEFINITIONS[element].vr)


def _value(vr: VR, text: str, character_set: str) -> bytes:
    """Value as stored, padded to even length (PS3.5 section 6.2), whether its VR allows it or not."""
    if vr == VR.US:
        numbers = [int(part) for part in text.split("\\") if len(part) <= 5 and part.isascii() and part.isdecimal()]
        return b"".join(LENGTH_16.pack(number) for number in numbers if number <= MAX_SHORT)
    if vr == VR.OB:
        return text.encode("latin-1")
    if vr == VR.PN and "=" in text:
        text = "\\".join(name.rstrip("=") for name in text.split("\\"))  # empty component groups at the end
    if text.isascii():
        value = text.encode("ascii")
    elif vr in CHARACTER_SET_VRS:
        value = _encoded(vr, text, character_set)
    else:
        value = text.encode("latin-1", "replace")  # such values were read as Latin alphabet No. 1
    return value + (b"\0" if vr == VR.UI else b" ") if len(value) % 2 else value


def _encoded(vr: VR, text: str, character_set: str) -> bytes:
    """Text in a character set; code extensions are off again at each delimiter (PS3.5 section 6.1.2.5.3)."""
    if character_set in WHOLE_UNICODE:
        return text.encode(WHOLE_UNICODE[character_set], "replace")
    encodings = convert_encodings(character_set.split("\\"))
    return _joined(text, "\\=^" if vr == VR.PN else "\\", encodings)


def _joined(text: str, delimiters: str, encodings: Sequence[str]) -> bytes:
    if not delimiters:
        return encode_string(text, encodings)
    delimiter, inner = delimiters[0], delimiters[1:]
    return delimiter.encode("ascii").join(_joined(part, inner, encodings) for part in text.split(delimiter))


def _character_set(requested: str, texts: Iterable[str]) -> str:
    """The request's character set if every value fits, else UTF-8; none if all is ASCII (PS3.4 C.4.1.1.3.2)."""
    characters = {character for text in texts if not text.isascii() for character in text if not character.isascii()}
    if not characters:
        return ""
    names = requested.split("\\")
    extended = all(name == "" or name.startswith("ISO 2022 ") for name in names)  # code extensions combine
    if not all(name in python_encoding for name in names) or (len(names) > 1 and not extended):
        return UTF_8
    encodings = [python_encoding[name] for name in names if name not in ASCII_ONLY]
    return requested if all(any(_fits(character, code) for code in encodings) for character in characters) else UTF_8


def _fits(character: str, encoding: str) -> bool:
    encode = custom_encoders.get(encoding, lambda text: text.encode(encoding))
    try:
        return encode(character) != b"\\"  # in JIS X 0201 the yen sign has the code that separates values
    except UnicodeError:
        return False


def _decimal(score: float) -> str:
    """VR DS (PS3.5 section 6.2)."""
    return f"{score:.6f}".rstrip("0").rstrip(".")


def _similarity(discloser: Discloser, elements: dict[Element, str]) -> dict[Element, str]:
    if discloser.is_full or not elements:
        return elements
    masked = elements | dict.fromkeys(EXACT, "")
    masked |= {element: discloser.uid(elements[element]) for element in BEST_MATCHES if element in elements}
    distance = float(elements[Element.HAMMING_DISTANCE])
    masked[Element.HAMMING_DISTANCE] = str(round(discloser.distance(distance)))
    masked[Element.SIMILARITY_SCORE] = f"{discloser.score(distance, 0):g}"
    return masked
