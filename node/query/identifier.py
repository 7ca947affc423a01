"""Identifiers of C-FIND: a request is read into a `Query`, and an entity is written as a response (PS3.4 C.4.1)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom import config as pydicom_config
from pydicom.charset import custom_encoders, python_encoding
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.valuerep import VR, PersonName

from node.dicom.hierarchy import COMPUTED, KEPT, at_or_above, tag_of
from node.dicom.private import FIRST_BLOCK, GROUP, Element, PrivateBlock, add_block
from node.errors import Refusal, Status
from node.query.question import Question, read_question
from storage.record import LEVELS, Level

ALWAYS_UNDERSTOOD = frozenset({"SpecificCharacterSet", "QueryRetrieveLevel", "RetrieveAETitle", "InstanceAvailability"})
UTF_8 = "ISO_IR 192"
ASCII_ONLY = frozenset({"", "ISO_IR 6", "ISO 2022 IR 6"})
"""The default character repertoire, which pydicom reads leniently as Latin alphabet No. 1."""


@dataclass(frozen=True, slots=True)
class Query:
    """A C-FIND request, understood.

    Attributes
    ----------
    level
        What the responses are.
    keys
        Keyword to value of every supported key that was sent, empty ones too: they are returned.
    returned
        Private elements asked to be returned.
    question
        The query by example, or None in an ordinary query.
    has_unsupported_keys
        Something was asked that is neither matched nor returned: responses say so (FF01).
    character_set
        Of the request.
    block
        Private block the caller used.
    """

    level: Level
    keys: Mapping[str, str]
    returned: tuple[Element, ...]
    question: Question | None
    has_unsupported_keys: bool
    character_set: str
    block: int


def read_query(identifier: Dataset, *, patient_root: bool, example_mandatory: bool = False) -> Query:
    """The query in a request identifier.

    Parameters
    ----------
    patient_root
        Whether the information model has a PATIENT level.
    example_mandatory
        Whether the SOP class is our own, in which a query has an example.

    Raises
    ------
    Refusal
        A900: level missing or not of this model, contradictory or missing keys, a value that cannot be read.
    """
    block = _readable_block(identifier)
    level = _level(identifier, patient_root=patient_root)
    question = read_question(identifier)
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
    supported = {keyword for one in levels for keyword in (*KEPT[one], *COMPUTED[one])}
    keys, unsupported = _keys(identifier, supported)
    return Query(
        level=level,
        keys=keys,
        returned=tuple(element for element in Element if element in block),
        question=question,
        has_unsupported_keys=unsupported,
        character_set=_text(identifier.get("SpecificCharacterSet", "")),
        block=block.block or FIRST_BLOCK,
    )


def write_response(
    query: Query, values: Mapping[str, str], retrieve_ae_title: str, similarity: Mapping[Element, str]
) -> Dataset:
    """One response: the attributes that were asked for, and no others but those every response has.

    Parameters
    ----------
    values
        Keyword to text of the entity; a key the entity lacks is returned with zero length.
    similarity
        Private return elements; those not asked for are left out.
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
    asked = [(element, similarity[element]) for element in query.returned if element in similarity]
    add_block(response, asked, query.block)
    return response


def _readable_block(identifier: Dataset) -> PrivateBlock:
    """Our block in an identifier of which every value can be read, but for those that other creators own."""
    tags = list(identifier.keys())
    _decode(identifier, [tag for tag in tags if not tag.is_private or (tag.group == GROUP and tag.is_private_creator)])
    block = PrivateBlock(identifier)
    _decode(identifier, [tag for tag in tags if not block.foreign(tag)])
    return block


def _decode(identifier: Dataset, tags: Iterable[BaseTag]) -> None:
    """Decode values here, for it is done on first access only."""
    for tag in tags:
        try:
            _ = identifier[tag]
        except Exception as error:  # whatever the reader of a value representation raises
            raise Refusal(Status.DATA_SET_MISMATCH, "the value of this key cannot be read", tag) from error


def _level(identifier: Dataset, *, patient_root: bool) -> Level:
    text = _text(identifier.get("QueryRetrieveLevel", ""))
    if text not in set(Level) or (text == Level.PATIENT and not patient_root):
        choices = ", ".join(LEVELS if patient_root else LEVELS[1:])
        raise Refusal(Status.DATA_SET_MISMATCH, f"level must be one of {choices}", tag_of("QueryRetrieveLevel"))
    return Level(text)


def _keys(identifier: Dataset, supported: set[str]) -> tuple[dict[str, str], bool]:
    """Supported keys as text, and whether there were others; private elements of other creators do not count."""
    keys, unsupported = {}, False
    for tag in list(identifier.keys()):
        if tag.is_private or tag.element == 0 or (keyword := keyword_for_tag(tag)) in ALWAYS_UNDERSTOOD:
            continue
        if keyword in supported:
            keys[keyword] = _text(identifier[tag].value)
        else:
            unsupported = True
    return keys, unsupported


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, MultiValue | list):
        return "\\".join(str(one) for one in value)
    return str(value)


def _element(keyword: str, text: str) -> DataElement:
    """As stored: a value that its VR does not allow came so, and must spoil neither the answer nor, quoted, the log."""
    tag = tag_of(keyword)
    vr = dictionary_VR(tag)
    parts: list[Any] = text.split("\\") if text else []
    if vr == VR.US:
        parts = [int(part) for part in parts if part.isdecimal() and int(part) < 1 << 16]
    if vr == VR.PN:
        parts = [PersonName(part, validation_mode=pydicom_config.IGNORE) for part in parts]
    return DataElement(tag, vr, parts[0] if len(parts) == 1 else parts or None, already_converted=True)


def _character_set(requested: str, texts: Iterable[str]) -> str:
    """The request's character set if every value fits, else UTF-8; none if all is ASCII (PS3.4 C.4.1.1.3.2)."""
    characters = {character for text in texts for character in text if not character.isascii()}
    if not characters:
        return ""
    names = requested.split("\\")
    extended = all(name == "" or name.startswith("ISO 2022 ") for name in names)  # what may come with others
    if not all(name in python_encoding for name in names) or (len(names) > 1 and not extended):
        return UTF_8
    encodings = [python_encoding[name] for name in names if name not in ASCII_ONLY]
    return requested if all(any(_fits(one, code) for code in encodings) for one in characters) else UTF_8


def _fits(character: str, encoding: str) -> bool:
    encode = custom_encoders.get(encoding, lambda text: text.encode(encoding))
    try:
        return encode(character) != b"\\"  # in JIS X 0201 the yen sign is what separates values
    except UnicodeError:
        return False
