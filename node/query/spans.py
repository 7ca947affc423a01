"""Ranges of the database's index in which all values lie that a matching key matches."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from node.query.matching import EMPTY, Key
from storage.database.lookup import Span
from storage.folding import PADDING, code_string, digits, folded_group, stripped

INDEX_OF: Final[Mapping[str, str]] = {
    "PatientID": "PatientID",
    "PatientName": "PatientName",
    "AccessionNumber": "AccessionNumber",
    "StudyDate": "StudyDate",
    "Modality": "Modality",
    "ModalitiesInStudy": "Modality",
}
"""Attribute whose index leads to the entities that match a key, by the keyword of the key."""
NO_VALUE: Final = Span("", is_single=True)
MAX_DIGITS: Final = 16
"""Number of digits at the start of a range of dates by which the index is searched; the comparison checks the rest."""


def spans(key: Key) -> tuple[Span, ...] | None:
    """Ranges that hold an entry of every entity that matches a key, and maybe of others.

    None if there is no index for the key, or if the key matches everything.
    """
    if key.keyword not in INDEX_OF or key.is_universal:
        return None
    values = [value for part in key.text.split("\\") if (value := part.strip(PADDING))]
    read = SPANS[INDEX_OF[key.keyword]]
    ranges = {span for value in values for span in ([NO_VALUE] if value == EMPTY else read(value))}
    if key.matches_empty:  # their empty value matches anything (PS3.4 C.2.2.1.2)
        ranges.add(NO_VALUE)
    return tuple(sorted(ranges, key=lambda span: (span.first, span.last)))


def _text(normal: Callable[[str], str]) -> Callable[[str], Iterator[Span]]:
    def read(value: str) -> Iterator[Span]:
        yield _beginning(normal(value))

    return read


def _name(value: str) -> Iterator[Span]:
    """Range of the first component group that says something: a stored name has it as one of its groups."""
    stems = [(folded, folded.rstrip("^*")) for folded in map(folded_group, value.split("="))]
    for folded, stem in stems:
        if stem:
            yield _beginning(stem if "*" not in folded[len(stem) :] else f"{stem}*")
            return
    yield Span("")


def _dates(value: str) -> Iterator[Span]:
    """Range of a date or of a range of dates; a stored date that is short stands for all of its days."""
    first, *rest = (digits(part) for part in value.split("-", 1))
    if not rest:
        yield Span(first, first)
        return
    start = first[:MAX_DIGITS]
    yield Span(start, rest[0])
    for length in range(1, len(start)):
        yield Span(start[:length], is_single=True)


def _beginning(pattern: str) -> Span:
    """Range of the texts that begin as a pattern does before its first wild card, or that have its longest piece."""
    prefix, *pieces = re.split(r"[*?]", pattern)
    if not pieces:
        return Span(prefix, is_single=True)
    return Span(prefix, prefix, piece="" if prefix else max(pieces, key=len))


SPANS: Final[Mapping[str, Callable[[str], Iterator[Span]]]] = {
    "PatientID": _text(stripped),
    "PatientName": _name,
    "AccessionNumber": _text(stripped),
    "StudyDate": _dates,
    "Modality": _text(code_string),
}
