"""Identifiers of C-FIND: a request is read into a `Query`, and an entity is written as a response (PS3.4 C.4.1)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom import config as pydicom_config
from pydicom.charset import custom_encoders, python_encoding
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.valuerep import VR, PersonName

from node.dicom.hierarchy import ATTRIBUTES, COMPUTED, UNIQUE, at_or_above, tag_of
from node.dicom.private import FIRST_BLOCK, GROUP, Element, PrivateBlock, add_block
from node.errors import Refusal, Status
from node.query.matching import PADDING, Key, read_keys
from node.query.question import KEYS, Question, read_question
from storage.record import LEVELS, Level

CONTROL = frozenset({"SpecificCharacterSet", "QueryRetrieveLevel"})
"""Elements that say how a request is to be read; they are no keys."""
RETURNED_ONLY = "RetrieveAETitle"
"""Key that is answered and not matched. Instance Availability is neither: the node holds no objects to be retrieved."""

MAX_KEY_BYTES = 1 << 15
"""Longest value of a key that is no list of UIDs."""

UTF_8 = "ISO_IR 192"
LISTS = frozenset(map(tag_of, UNIQUE.values())) - {tag_of(UNIQUE[Level.PATIENT])}
ASCII_ONLY = frozenset({"", "ISO_IR 6", "ISO 2022 IR 6"})
"""The default character repertoire, which pydicom reads leniently as Latin alphabet No. 1."""


@dataclass(frozen=True, slots=True)
class Query:
    """A C-FIND request, read once: the work that follows needs nothing else of it.

    Attributes
    ----------
    level
        Level of the entities to find.
    keys
        Every supported key of the request by its keyword, empty ones too: all are returned.
    returned
        Private elements to return.
    question
        The query by example, or None in an ordinary query.
    has_unsupported_keys
        True if a key is not matched or not returned: every response says so (FF01, PS3.4 C.4.1.1.4).
    character_set
        Specific Character Set of the request, several values joined by a backslash.
    block
        Number of the private block that the caller used.
    """

    level: Level
    keys: Mapping[str, Key]
    returned: tuple[Element, ...]
    question: Question | None
    has_unsupported_keys: bool
    character_set: str
    block: int


def read_query(identifier: Dataset, *, patient_root: bool, example_mandatory: bool = False) -> Query:
    """The query in a request identifier.

    Parameters
    ----------
    identifier
        As `node.query.data_set.read_data_set` makes it: none of its values was decoded yet.
    patient_root
        True if the information model has a PATIENT level.
    example_mandatory
        True for our own SOP class, in which a query has an example.

    Raises
    ------
    Refusal
        A900: level missing or not of this model, contradictory or missing keys, a value that cannot be read.
    """
    block = _readable_block(identifier)
    level = _level(identifier, patient_root=patient_root)
    question = read_question(block)
    if question is None and example_mandatory:
        raise Refusal(
            Status.DATA_SET_MISMATCH,
            "this SOP class needs an example UID",
            block.tag(Element.EXAMPLE_SOP_INSTANCE_UID),
        )
    if question is not None and level == Level.PATIENT:
        raise Refusal(
            Status.DATA_SET_MISMATCH, "ask for look-alikes at STUDY, SERIES or IMAGE", tag_of("QueryRetrieveLevel")
        )
    levels = LEVELS if question is not None else at_or_above(level)
    supported = {keyword for its_level in levels for keyword in (*ATTRIBUTES[its_level], *COMPUTED[its_level])}
    texts, has_unsupported = _texts(identifier, supported)
    return Query(
        level=level,
        keys=read_keys(texts),
        returned=tuple(element for element in Element if element in block) if question else (),
        question=question,
        has_unsupported_keys=has_unsupported or _has_unsupported_private_keys(identifier, block, question),
        character_set=_text(identifier.get("SpecificCharacterSet", "")),
        block=block.block or FIRST_BLOCK,
    )


def write_response(
    query: Query, values: Mapping[str, str], retrieve_ae_title: str, similarity: Mapping[Element, str]
) -> Dataset:
    """One response: the attributes of the request's keys, and no others but those that every response has.

    Parameters
    ----------
    values
        Values of the entity by keyword; a key that it lacks is returned with zero length.
    retrieve_ae_title
        AE titles from which the entity can be retrieved, joined by backslashes; "" for none: then it is left out.
    similarity
        Values of private elements; only those that the request has are returned.
    """
    response = Dataset()
    wanted = {keyword: values.get(keyword, "") for keyword in query.keys}
    character_set = _character_set(query.character_set, wanted.values())
    if character_set:
        response.SpecificCharacterSet = character_set
    response.QueryRetrieveLevel = str(query.level)
    if retrieve_ae_title:
        response.RetrieveAETitle = retrieve_ae_title
    for keyword, text in wanted.items():
        response.add(_element(keyword, text))
    returned = [(element, similarity[element]) for element in query.returned if element in similarity]
    add_block(response, returned, query.block)
    return response


def _readable_block(identifier: Dataset) -> PrivateBlock:
    """Our block in an identifier, all of whose values can be read but for those of other creators."""
    tags = list(identifier.keys())
    _decode(identifier, [tag for tag in tags if tag.group == GROUP and tag.is_private_creator])
    block = PrivateBlock(identifier)
    _decode(identifier, [tag for tag in tags if not block.foreign(tag) or keyword_for_tag(tag)])
    return block


def _decode(identifier: Dataset, tags: Iterable[BaseTag]) -> None:
    """Decode values here, for it is done on first access only."""
    for tag in tags:
        raw: Any = identifier.get_item(tag)
        if isinstance(raw, RawDataElement) and len(raw.value or b"") > MAX_KEY_BYTES and tag not in LISTS:
            raise Refusal(Status.DATA_SET_MISMATCH, f"the value is longer than {MAX_KEY_BYTES} bytes", tag)
        try:
            _ = identifier[tag]
        except Exception as error:  # whatever the reader of a value representation raises
            raise Refusal(Status.DATA_SET_MISMATCH, "the value of this key cannot be read", tag) from error


def _level(identifier: Dataset, *, patient_root: bool) -> Level:
    text = _text(identifier.get("QueryRetrieveLevel", "")).strip(PADDING)
    if text not in set(Level) or (text == Level.PATIENT and not patient_root):
        choices = ", ".join(LEVELS if patient_root else LEVELS[1:])
        raise Refusal(Status.DATA_SET_MISMATCH, f"level must be one of {choices}", tag_of("QueryRetrieveLevel"))
    return Level(text)


def _texts(identifier: Dataset, supported: set[str]) -> tuple[dict[str, str], bool]:
    """Texts of the supported keys, and whether there are standard keys that are not matched or not returned."""
    texts, has_unsupported = {}, False
    for tag in list(identifier.keys()):
        if tag.is_private or tag.element == 0 or (keyword := keyword_for_tag(tag)) in CONTROL:
            continue
        text = "" if keyword not in {*supported, RETURNED_ONLY} else _text(identifier[tag].value)
        if keyword in supported:
            texts[keyword] = text
        else:
            has_unsupported |= keyword != RETURNED_ONLY or text.strip("* ") != ""
    return texts, has_unsupported


def _has_unsupported_private_keys(identifier: Dataset, block: PrivateBlock, question: Question | None) -> bool:
    """True if an element of our block is unknown, or is to be matched or returned and cannot be.

    Without an example none can be returned. What is only returned has no value to match; private elements of other
    creators are ignored without a word (PS3.4 C.4.1.1.3.2, note 4).
    """
    if block.block is None:
        return False
    ours = [tag for tag in identifier.keys() if not block.foreign(tag) and not tag.is_private_creator]  # noqa: SIM118
    known = {block.tag(element): element for element in Element}
    return any(
        question is None or tag not in known or (known[tag] not in KEYS and block.values(known[tag])) for tag in ours
    )


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, MultiValue | list):
        return "\\".join(map(str, value))
    return str(value)


def _element(keyword: str, text: str) -> DataElement:
    """As stored: a value that its VR does not allow must spoil neither the response nor, quoted, the log."""
    tag = tag_of(keyword)
    vr = dictionary_VR(tag)
    parts: list[Any] = text.split("\\") if text else []
    if vr == VR.US:
        parts = [int(part) for part in parts if len(part) <= 5 and part.isdecimal() and int(part) < 1 << 16]
    if vr == VR.PN:
        parts = [PersonName(part, validation_mode=pydicom_config.IGNORE) for part in parts]
    return DataElement(tag, vr, parts[0] if len(parts) == 1 else parts or None, already_converted=True)


def _character_set(requested: str, texts: Iterable[str]) -> str:
    """The request's character set if every value fits, else UTF-8; none if all is ASCII (PS3.4 C.4.1.1.3.2)."""
    characters = {character for text in texts for character in text if not character.isascii()}
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
