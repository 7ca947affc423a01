"""Request identifiers of C-FIND, each read once into a `Query` (PS3.4 C.4.1)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from node.dicom.hierarchy import ATTRIBUTES, COMPUTED, UNIQUE, at_or_above, tag_of
from node.dicom.private import FIRST_BLOCK, GROUP, Element, PrivateBlock
from node.errors import Refusal, Status
from node.query.matching import Key, read_keys
from node.query.question import KEYS, Question, read_question
from storage.folding import PADDING
from storage.record import LEVELS, Level

CONTROL = frozenset({"SpecificCharacterSet", "QueryRetrieveLevel"})
"""Elements that say how a request is to be read; they are no keys."""
RETURNED_ONLY = "RetrieveAETitle"
"""Key that is answered and not matched. Instance Availability is neither: the node holds no objects to be retrieved."""

MAX_KEY_BYTES = 1 << 15
"""Longest value of a key that is no list of UIDs."""

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
    unsupported
        Tags of the keys that are not matched or not returned: every response says so (FF01, PS3.4 C.4.1.1.4).
    character_set
        Specific Character Set of the request, several values joined by a backslash.
    block
        Number of the private block that the caller used.
    """

    level: Level
    keys: Mapping[str, Key]
    returned: tuple[Element, ...]
    question: Question | None
    unsupported: tuple[BaseTag, ...]
    character_set: str
    block: int

    @property
    def has_unsupported_keys(self) -> bool:
        """True if a key is not matched or not returned."""
        return bool(self.unsupported)


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
    texts, unsupported = _texts(identifier, supported)
    return Query(
        level=level,
        keys=read_keys(texts),
        returned=tuple(element for element in Element if element in block) if question else (),
        question=question,
        unsupported=(*unsupported, *_unsupported_private_keys(identifier, block, question)),
        character_set=_text(identifier.get("SpecificCharacterSet", "")),
        block=block.block or FIRST_BLOCK,
    )


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


def _texts(identifier: Dataset, supported: set[str]) -> tuple[dict[str, str], list[BaseTag]]:
    """Texts of the supported keys, and the standard keys that are not matched or not returned."""
    texts, unsupported = {}, []
    for tag in list(identifier.keys()):
        if tag.is_private or tag.element == 0 or (keyword := keyword_for_tag(tag)) in CONTROL:
            continue
        text = "" if keyword not in {*supported, RETURNED_ONLY} else _text(identifier[tag].value)
        if keyword in supported:
            texts[keyword] = text
        elif keyword != RETURNED_ONLY or text.strip("* "):
            unsupported.append(tag)
    return texts, unsupported


def _unsupported_private_keys(identifier: Dataset, block: PrivateBlock, question: Question | None) -> Iterator[BaseTag]:
    """Elements of our block that are unknown, or are to be matched or returned and cannot be.

    Without an example none can be returned. What is only returned has no value to match; private elements of other
    creators are ignored without a word (PS3.4 C.4.1.1.3.2, note 4).
    """
    if block.block is None:
        return
    ours = [tag for tag in identifier.keys() if not block.foreign(tag) and not tag.is_private_creator]  # noqa: SIM118
    known = {block.tag(element): element for element in Element}
    for tag in ours:
        if question is None or tag not in known or (known[tag] not in KEYS and block.values(known[tag])):
            yield tag


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, MultiValue | list):
        return "\\".join(map(str, value))
    return str(value)
