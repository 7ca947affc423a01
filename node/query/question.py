"""Queries by example, read from the private elements of an identifier."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydicom.tag import BaseTag, Tag

from hashing.ranking_scores import Ranking
from node.dicom.private import FIRST_BLOCK, GROUP, Element, PrivateBlock
from node.errors import Refusal, Status
from storage.record import Level
from storage.search.index import Aggregation

DEFAULT_MATCHES = 20
MAX_MATCHES = 500
MAX_EXAMPLES = 32
EXAMPLE_KINDS = {
    Element.EXAMPLE_SOP_INSTANCE_UID: Level.IMAGE,
    Element.EXAMPLE_SERIES_INSTANCE_UID: Level.SERIES,
    Element.EXAMPLE_STUDY_INSTANCE_UID: Level.STUDY,
}
KEYS = (*EXAMPLE_KINDS, *(element for element in Element if Element.EXAMPLE_FRAME_NUMBER <= element < 0x20))


class Exclusion(StrEnum):
    """Entities that an answer leaves out: the example, its series, study or patient, images with its pixels."""

    SELF = "SELF"
    SERIES = "SERIES"
    STUDY = "STUDY"
    PATIENT = "PATIENT"
    DUPLICATE = "DUPLICATE"


class Distinct(StrEnum):
    """The entities of which each gives at most one answer; NONE leaves every answer."""

    NONE = "NONE"
    SERIES = "SERIES"
    STUDY = "STUDY"
    PATIENT = "PATIENT"


@dataclass(frozen=True, slots=True)
class Question:
    """A query by example.

    Attributes
    ----------
    examples
        SOP, Series or Study Instance UIDs, of the level `example_level`.
    frames
        1-based frame numbers of the example, a single image; empty for all indexed frames.
    region
        Part of the example, a single image, to search for: first column, first row, last column, last row, 1-based and
        inclusive. None for all of it.
    maximum_matches, maximum_distance
        Number of matches, and Hamming distance in bits or None; both limits apply.
    exclusions
        Entities to leave out.
    aggregation
        How a series or study is scored from its images.
    model, snapshot
        Identifiers that must be those of the node and of the state of its index; "" for any.
    ranking
        Order of the matches; None for the order that the node is set to.
    distinct
        Entities that give at most one match each, with near-duplicates folded.
    block
        Private block of the request, for naming the element at fault.
    """

    examples: tuple[str, ...]
    example_level: Level = Level.IMAGE
    frames: tuple[int, ...] = ()
    region: tuple[int, int, int, int] | None = None
    maximum_matches: int = DEFAULT_MATCHES
    maximum_distance: int | None = None
    exclusions: frozenset[Exclusion] = frozenset({Exclusion.SELF})
    aggregation: Aggregation = Aggregation.BEST
    model: str = ""
    snapshot: str = ""
    ranking: Ranking | None = None
    distinct: Distinct = Distinct.NONE
    block: int = FIRST_BLOCK

    def indices_among(self, indexed: Sequence[int]) -> list[int]:
        """Indices of the question's frames among the indexed frames of its example, which are counted from 0.

        Raises
        ------
        Refusal
            C103: a frame is not indexed.
        """
        if not all(frame - 1 in indexed for frame in self.frames):
            comment = f"frames indexed: {','.join(str(frame + 1) for frame in indexed)}"
            offending = Tag(GROUP, self.block << 8 | Element.EXAMPLE_FRAME_NUMBER)
            raise Refusal(Status.EXAMPLE_NOT_HASHABLE, comment, offending)
        return [indexed.index(frame - 1) for frame in self.frames]


def read_question(block: PrivateBlock) -> Question | None:
    """The question in the private elements of an identifier, or None when they name no example.

    Raises
    ------
    Refusal
        A900 with the offending element: contradictory keys, or a value that cannot be used.
    """
    given = [element for element in EXAMPLE_KINDS if block.values(element)]
    if not given:
        _refuse_keys_without_example(block)
        return None
    if len(given) > 1:
        raise _refusal("give one kind of example: image, series or study", block, given[1])
    return _read(block, given[0])


def checked_region(corners: Sequence[int], offending: BaseTag | None = None) -> tuple[int, int, int, int]:
    """First column, first row, last column and last row, if these enclose something.

    Raises
    ------
    Refusal
        C106: they do not, or begin outside any image.
    """
    left, top, right, bottom = corners
    if not (1 <= left <= right and 1 <= top <= bottom):
        raise Refusal(Status.REGION_OUTSIDE, "region is empty or begins outside the image", offending)
    return left, top, right, bottom


def _read(block: PrivateBlock, kind: Element) -> Question:
    examples = block.values(kind)
    if len(examples) > (MAX_EXAMPLES if kind == Element.EXAMPLE_SOP_INSTANCE_UID else 1):
        raise _refusal(f"too many examples: at most {MAX_EXAMPLES} images or one series", block, kind)
    frames = tuple(
        _number(block, Element.EXAMPLE_FRAME_NUMBER, text, 1) for text in block.values(Element.EXAMPLE_FRAME_NUMBER)
    )
    if frames and (kind != Element.EXAMPLE_SOP_INSTANCE_UID or len(examples) > 1):
        raise _refusal("frame numbers need exactly one example image", block, Element.EXAMPLE_FRAME_NUMBER)
    matches = _single(block, Element.MAXIMUM_MATCHES, 1)
    return Question(
        examples=tuple(examples),
        example_level=EXAMPLE_KINDS[kind],
        frames=frames,
        region=_region(block, kind, len(examples), len(frames)),
        maximum_matches=DEFAULT_MATCHES if matches is None else _within_ceiling(block, matches),
        maximum_distance=_single(block, Element.MAXIMUM_DISTANCE, 0),
        exclusions=_exclusions(block),
        aggregation=_aggregation(block),
        model="".join(block.values(Element.MODEL_IDENTIFIER)),
        snapshot="".join(block.values(Element.INDEX_SNAPSHOT)),
        ranking=_ranking(block),
        distinct=_distinct(block),
        block=block.block or FIRST_BLOCK,
    )


def _refuse_keys_without_example(block: PrivateBlock) -> None:
    """Without an example, a limit or an exclusion would be a filter that is silently ignored."""
    for element in KEYS:
        if element in (Element.MODEL_IDENTIFIER, Element.INDEX_SNAPSHOT):
            continue
        if block.values(element):
            raise _refusal("this key needs an example UID beside it", block, element)


def _within_ceiling(block: PrivateBlock, matches: int) -> int:
    if matches > MAX_MATCHES:
        raise _refusal(f"at most {MAX_MATCHES} matches can be asked for", block, Element.MAXIMUM_MATCHES)
    return matches


def _single(block: PrivateBlock, element: Element, least: int) -> int | None:
    values = block.values(element)
    if len(values) > 1:
        raise _refusal("one value expected", block, element)
    return _number(block, element, values[0], least) if values else None


def _number(block: PrivateBlock, element: Element, text: str, least: int) -> int:
    if not re.fullmatch(r"\+?[0-9]{1,11}", text) or int(text) < least:  # VR IS (PS3.5 section 6.2)
        raise _refusal(f"a whole number of at least {least} expected", block, element)
    return int(text)


def _region(block: PrivateBlock, kind: Element, examples: int, frames: int) -> tuple[int, int, int, int] | None:
    texts = block.values(Element.EXAMPLE_REGION)
    if not texts:
        return None
    if len(texts) != 4 or not all(re.fullmatch(r"[+-]?[0-9]{1,11}", text) for text in texts):
        raise _refusal("four whole numbers expected: column, row, column, row", block, Element.EXAMPLE_REGION)
    if kind != Element.EXAMPLE_SOP_INSTANCE_UID or examples > 1 or frames > 1:
        raise _refusal("a region needs exactly one example image, or frame of it", block, Element.EXAMPLE_REGION)
    return checked_region([int(text) for text in texts], block.tag(Element.EXAMPLE_REGION))


def _exclusions(block: PrivateBlock) -> frozenset[Exclusion]:
    values = block.values(Element.EXCLUDE)
    unknown = set(values) - set(Exclusion)
    if unknown:
        raise _refusal(f"exclude takes {', '.join(Exclusion)}", block, Element.EXCLUDE)
    return frozenset(Exclusion(value) for value in values) or frozenset({Exclusion.SELF})


def _aggregation(block: PrivateBlock) -> Aggregation:
    values = block.values(Element.AGGREGATION) or [Aggregation.BEST]
    if len(values) > 1 or values[0] not in set(Aggregation):
        raise _refusal(f"aggregation takes {', '.join(Aggregation)}", block, Element.AGGREGATION)
    return Aggregation(values[0])


def _ranking(block: PrivateBlock) -> Ranking | None:
    values = block.values(Element.RANKING)
    if len(values) > 1 or not set(values) <= set(Ranking):
        raise _refusal(f"ranking takes {', '.join(Ranking)}", block, Element.RANKING)
    stage = Ranking(values[0]) if values else None
    if stage not in (None, Ranking.HAMMING) and _aggregation(block) != Aggregation.BEST:  # their scores are of an image
        raise _refusal(f"ranking {stage} goes by the BEST image, not by {_aggregation(block)}", block, Element.RANKING)
    return stage


def _distinct(block: PrivateBlock) -> Distinct:
    values = block.values(Element.DISTINCT) or [Distinct.NONE]
    if len(values) > 1 or values[0] not in set(Distinct):
        raise _refusal(f"distinct takes {', '.join(Distinct)}", block, Element.DISTINCT)
    return Distinct(values[0])


def _refusal(comment: str, block: PrivateBlock, element: Element) -> Refusal:
    return Refusal(Status.DATA_SET_MISMATCH, comment, block.tag(element))


def spread(items: Sequence[str], most: int) -> list[str]:
    """At most `most` items, evenly spaced, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]
