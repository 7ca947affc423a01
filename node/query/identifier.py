"""Request identifiers of C-FIND, each read once into a `Query` (PS3.4 C.4.1)."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from node.dicom.hierarchy import ATTRIBUTES, COMPUTED, RETURN_ONLY, UNIQUE, at_or_above, tag_of
from node.dicom.private import FIRST_BLOCK, GROUP, Element, PrivateBlock
from node.errors import Refusal, Status
from node.options.access import Disclosure
from node.query.matching import Key, read_keys
from node.query.paging import PAGING, RECORD_KEY, RecordPage, read_page
from node.query.question import EXAMPLE_KINDS, KEYS, Question, read_question
from node.query.rules import STUDY_ROOT, QueryRules, permitted_question, permitted_texts
from storage.folding import PADDING
from storage.record import LEVELS, Level

logger = logging.getLogger(__name__)

CONTROL = frozenset({"SpecificCharacterSet", "QueryRetrieveLevel"})
"""Elements that say how a request is to be read; they are no keys."""
RETRIEVE_AE_TITLE = "RetrieveAETitle"
INSTANCE_AVAILABILITY = "InstanceAvailability"
"""Attributes of no level, returned and not matched; the second only where the node keeps objects to be retrieved."""

COMMENTS = "PatientComments"
"""Attribute in which look-alikes have their rank, for clients that drop private elements. The node keeps no value of
it, clients and gateways pass it on at every level, and people see it as a text."""

MAX_KEY_BYTES = 1 << 15
"""Longest value of a key that is no list of UIDs."""

KIND_OF = {level: element for element, level in EXAMPLE_KINDS.items()}
LISTS = frozenset(map(tag_of, UNIQUE.values())) - {tag_of(UNIQUE[Level.PATIENT])}


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
    page
        The page that is wanted of a Repository Query, None in any other.
    has_comments
        True if look-alikes are to say their rank in Patient Comments.
    returns_availability
        True if Instance Availability is returned.
    disclosure
        What the caller may see of patients.
    """

    level: Level
    keys: Mapping[str, Key]
    returned: tuple[Element, ...]
    question: Question | None
    unsupported: tuple[BaseTag, ...]
    character_set: str
    block: int
    page: RecordPage | None = None
    has_comments: bool = False
    returns_availability: bool = False
    disclosure: Disclosure = Disclosure.FULL


def read_query(identifier: Dataset, rules: QueryRules = STUDY_ROOT) -> Query:
    """The query in a request identifier.

    Parameters
    ----------
    identifier
        As `node.query.data_set.read_data_set` makes it: none of its values was decoded yet.
    rules
        What else is known of the request.

    Raises
    ------
    Refusal
        0124: the caller has no right to it, or would learn from it what it may not see. A900: level missing or not of
        this model, contradictory or missing keys, a value that cannot be read. By the rules also a query that needs
        relational queries, or has a key that is not supported.
    """
    block = _readable_block(identifier)
    level = _level(identifier, patient_root=rules.patient_root)
    question = permitted_question(read_question(block), block, rules)
    if question is None and rules.example_mandatory:
        raise _no_example(block)
    page = _page(identifier, question, block, rules)
    only_returned, levels = _only_returned(question, page, rules), at_or_above(level) if question is None else LEVELS
    texts, unsupported = _texts(identifier, levels, only_returned, page)
    _check_hierarchy(level, texts, rules)
    unsupported += _unsupported_private_keys(identifier, block, question)
    if unsupported and rules.refuses_unsupported:
        raise Refusal(Status.DATA_SET_MISMATCH, "this key is not matched or not returned here", unsupported[0])
    return Query(
        level=level,
        keys=read_keys(permitted_texts(texts, rules), rules),
        returned=tuple(element for element in Element if element in block) if question else (),
        question=question,
        unsupported=tuple(unsupported),
        character_set=_text(identifier.get("SpecificCharacterSet", "")),
        block=block.block or FIRST_BLOCK,
        page=page,
        has_comments=COMMENTS in only_returned and COMMENTS in identifier,
        returns_availability=INSTANCE_AVAILABILITY in only_returned and INSTANCE_AVAILABILITY in identifier,
        disclosure=rules.caller.disclosure,
    )


def _no_example(block: PrivateBlock) -> Refusal:
    example = block.tag(Element.EXAMPLE_SOP_INSTANCE_UID)
    return Refusal(Status.DATA_SET_MISMATCH, "this SOP class needs an example UID", example)


def _only_returned(question: Question | None, page: RecordPage | None, rules: QueryRules) -> set[str]:
    """Keywords of no level, which are returned in answer to this request and never matched."""
    return {
        RETRIEVE_AE_TITLE,
        *((RECORD_KEY,) if page is not None else ()),
        *((COMMENTS,) if question is not None or rules.is_view else ()),
        *((INSTANCE_AVAILABILITY,) if rules.returns_availability else ()),
    }


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


def _page(identifier: Dataset, question: Question | None, block: PrivateBlock, rules: QueryRules) -> RecordPage | None:
    if not rules.has_record_keys:
        return None
    if question is not None:
        example = block.tag(KIND_OF[question.example_level])
        raise Refusal(Status.DATA_SET_MISMATCH, "records come in the order of their keys: give no example", example)
    return read_page(identifier)


def _check_hierarchy(level: Level, texts: Mapping[str, str], rules: QueryRules) -> None:
    """Without relational queries each level above is named by one value of its unique key (PS3.4 C.4.1.2.1)."""
    if rules.relational:
        return
    above = at_or_above(level)[0 if rules.patient_root else 1 : -1]
    unnamed = [UNIQUE[upper] for upper in above if not _names_one(texts.get(UNIQUE[upper], ""))]
    if unnamed and rules.refuses_relational:
        comment = "one value needed here: relational queries are not negotiated"
        raise Refusal(Status.DATA_SET_MISMATCH, comment, tag_of(unnamed[0]))
    if unnamed:
        logger.info("a %s query without %s is answered, though not negotiated", level, ", ".join(unnamed))


def _names_one(text: str) -> bool:
    return text.strip(PADDING) != "" and {*"*?\\"}.isdisjoint(text)


def _texts(
    identifier: Dataset, levels: Iterable[Level], only_returned: set[str], page: RecordPage | None
) -> tuple[dict[str, str], list[BaseTag]]:
    """Texts of the supported keys, and tags of the standard keys that are not matched or not returned.

    What is only returned has no text: it is no condition. A sequence is never looked into, for none is kept.
    """
    ignored = CONTROL if page is None else CONTROL | PAGING
    supported = {keyword for level in levels for keyword in (*ATTRIBUTES[level], *COMPUTED[level])}
    returned, texts, unsupported = supported | only_returned, {}, []
    for tag in list(identifier.keys()):
        if tag.is_private or tag.element == 0 or (keyword := keyword_for_tag(tag)) in ignored:
            continue
        is_returned = keyword in returned
        text = _text(identifier[tag].value) if is_returned else ""
        is_matched = keyword in supported and keyword not in RETURN_ONLY
        if keyword in supported:
            texts[keyword] = text if is_matched else ""
        if not is_returned or (not is_matched and text.strip("* ")):
            unsupported.append(tag)
    return texts, unsupported


def _unsupported_private_keys(identifier: Dataset, block: PrivateBlock, question: Question | None) -> list[BaseTag]:
    """Tags of the elements of our block that are unknown, or are to be matched or returned and cannot be.

    Without an example none can be returned. What is only returned has no value to match; private elements of other
    creators are ignored without a word (PS3.4 C.4.1.1.3.2, note 4).
    """
    if block.block is None:
        return []
    ours = [tag for tag in identifier.keys() if not block.foreign(tag) and not tag.is_private_creator]  # noqa: SIM118
    known = {block.tag(element): element for element in Element}
    return [
        tag
        for tag in ours
        if question is None or tag not in known or (known[tag] not in KEYS and block.values(known[tag]))
    ]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, MultiValue | list):
        return "\\".join(map(str, value))
    return str(value)
