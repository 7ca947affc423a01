"""Rows of answers as their caller may see them."""

from collections.abc import Iterable, Iterator
from typing import Final

from node.access.disclosure import Discloser, check_matchable
from node.access_settings import Disclosure
from node.dicom.hierarchy import tag_of
from node.dicom.private import Element, PrivateBlock
from node.errors import Refusal, Status
from node.query.question import Question
from node.query.rules import QueryRules

Row = tuple[dict[str, str], str, dict[Element, str]]
"""The parts of one response: values by keyword, Retrieve AE Title, private elements."""

BEST_MATCHES: Final = (Element.BEST_MATCH_SOP_INSTANCE_UID, Element.BEST_MATCH_SERIES_INSTANCE_UID)
EXACT: Final = (Element.RANKING_SCORE, Element.CHANCE_EXPECTATION)
"""Elements from which the distance could be computed again."""


def disclosed(rows: Iterable[Row], disclosure: Disclosure, code_length: int) -> Iterator[Row]:
    """Yield the rows of one answer, masked."""
    discloser = Discloser(disclosure, code_length)
    for values, retrieve_ae_title, similarity in rows:
        yield discloser.attributes(values), retrieve_ae_title, _similarity(discloser, similarity)


def check_query(rules: QueryRules, question: Question | None, block: PrivateBlock) -> None:
    """Raise a refusal (0124) for a query whose answers, masked as they are, would tell what they mask."""
    if rules.caller.disclosure is Disclosure.FULL:
        return
    if rules.has_record_keys:
        raise Refusal(Status.NOT_AUTHORIZED, "record keys name patients: not for this caller")
    if question is not None and question.maximum_distance is not None:
        tag = block.tag(Element.MAXIMUM_DISTANCE)
        raise Refusal(Status.NOT_AUTHORIZED, "distances are not shown to this caller: no maximum", tag)


def check_key(disclosure: Disclosure, keyword: str) -> None:
    """Raise a refusal (0124), which names the element, if a caller may not match by it."""
    try:
        check_matchable(disclosure, keyword)
    except Refusal as refusal:
        raise Refusal(refusal.status, refusal.comment, tag_of(keyword)) from refusal


def _similarity(discloser: Discloser, elements: dict[Element, str]) -> dict[Element, str]:
    if discloser.is_full or not elements:
        return elements
    masked = elements | dict.fromkeys(EXACT, "")
    masked |= {element: discloser.uid(elements[element]) for element in BEST_MATCHES if element in elements}
    distance = float(elements[Element.HAMMING_DISTANCE])
    masked[Element.HAMMING_DISTANCE] = str(round(discloser.distance(distance)))
    masked[Element.SIMILARITY_SCORE] = f"{discloser.score(distance, 0):g}"
    return masked
