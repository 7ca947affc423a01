"""A question of the page, read from its query string: the query by example, and the conditions on the candidates."""

import re
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field

from node.access.disclosure import check_matchable
from node.errors import Refusal, Status
from node.options.access import Disclosure
from node.query.question import (
    DEFAULT_MATCHES,
    MAX_EXAMPLES,
    MAX_MATCHES,
    Distinct,
    Exclusion,
    Question,
    checked_region,
)
from storage.database.snapshot import Snapshot
from storage.record import Level, names_a_patient
from storage.search.index import Filter, Range

MAX_LEFT_OUT: Final = 64
"""Cases that a reader may leave out of one answer."""
Term = Annotated[str, Field(max_length=64)]
Uid = Annotated[str, Field(pattern=r"^[0-9.]{1,64}$")]
MATCHED: Final = {
    "Modality": "modality",
    "BodyPartExamined": "body_part",
    "Manufacturer": "manufacturer",
    "PatientSex": "sex",
    "PatientAge": "age",
    "StudyDate": "date",
}
"""Parameter that matches an attribute, by its keyword."""
RANGE: Final = re.compile(r"([0-9]*)-([0-9]*)")


class PageParameters(BaseModel):
    """Parameters of a question; each that is not given sets no condition.

    Attributes
    ----------
    modality, body_part, manufacturer
        Values as the database holds them; an empty string selects nothing.
    age, date
        Ranges as in "60-", "-40" or "20200101-20211231".
    without
        SOP Instance UIDs of cases to leave out, each with everything of its patient.
    also
        SOP Instance UIDs of further examples.
    region
        Part of the example: first column, first row, last column, last row, 1-based, with commas between.
    picture_modality
        Modality of a dropped picture; a DICOM object says its own.
    """

    frame: int | None = Field(None, ge=1)
    k: int = Field(DEFAULT_MATCHES, ge=1, le=MAX_MATCHES)
    level: Literal["IMAGE", "SERIES", "STUDY"] = "IMAGE"
    modality: list[Term] = Field(default_factory=list)
    body_part: list[Term] = Field(default_factory=list)
    manufacturer: list[Term] = Field(default_factory=list)
    sex: list[Literal["M", "F", "O"]] = Field(default_factory=list)
    age: str = Field("", pattern=r"^([0-9]{0,3}-[0-9]{0,3})?$")
    date: str = Field("", pattern=r"^(([0-9]{8})?-([0-9]{8})?)?$")
    exclude: str = "SELF,PATIENT"
    distinct: Distinct = Distinct.PATIENT
    without: list[Uid] = Field(default_factory=list, max_length=MAX_LEFT_OUT)
    also: list[Uid] = Field(default_factory=list, max_length=MAX_EXAMPLES - 1)
    region: str = Field("", pattern=r"^([0-9]{1,6}(,[0-9]{1,6}){3})?$")
    picture_modality: Term = ""


@dataclass(frozen=True, slots=True)
class PageQuestion:
    """A question of the page.

    Attributes
    ----------
    question
        Its examples are the image that is looked at, and those added to it.
    where
        Conditions on the candidates.
    left_out
        SOP Instance UIDs of the cases to leave out.
    """

    question: Question
    level: Level
    where: Filter
    left_out: tuple[str, ...]

    def candidates(self, snapshot: Snapshot) -> Filter:
        """The conditions, without the cases that are left out."""
        keys = {Level.PATIENT: set[str](), Level.STUDY: set[str]()}
        for uid in self.left_out:
            entity = snapshot.entity(Level.IMAGE, uid)
            if entity is not None:
                level = Level.PATIENT if names_a_patient(entity.uids[Level.PATIENT]) else Level.STUDY
                keys[level].add(entity.uids[level])
        patients, studies = (frozenset(keys[level]) for level in (Level.PATIENT, Level.STUDY))
        return replace(self.where, excluded_patients=patients, excluded_studies=studies)


def read_page_question(sop_instance_uid: str, parameters: PageParameters, disclosure: Disclosure) -> PageQuestion:
    """The question that the parameters make of an example.

    Raises
    ------
    Refusal
        A900: parameters that contradict each other, or a range without an end. C106: an empty region. 0124: the caller
        may not match by an attribute.
    """
    p = parameters
    region = checked_region([int(corner) for corner in p.region.split(",")]) if p.region else None
    for keyword, value in MATCHED.items():
        if getattr(p, value):
            check_matchable(disclosure, keyword)
    if region and p.also:
        raise _refusal("region: give one image with it")
    one = p.frame is not None and not p.also  # of several images each is an example with all its frames
    question = Question(
        examples=(sop_instance_uid, *p.also),
        frames=(p.frame,) if one and p.frame is not None else (),
        region=region,
        maximum_matches=p.k,
        exclusions=_exclusions(p.exclude),
        distinct=p.distinct,
    )
    where = Filter(
        modalities=_named(p.modality),
        body_parts=_named(p.body_part),
        manufacturers=_named(p.manufacturer),
        sexes=frozenset(p.sex) or None,
        ages=_range("age", p.age),
        study_dates=_range("date", p.date),
    )
    return PageQuestion(question, Level(p.level), where, tuple(p.without))


def _exclusions(text: str) -> frozenset[Exclusion]:
    names = [name for name in text.split(",") if name]
    if not set(names) <= set(Exclusion):
        raise _refusal(f"exclude takes {', '.join(Exclusion)}")
    return frozenset(Exclusion(name) for name in names)


def _named(terms: list[str]) -> frozenset[str] | None:
    return frozenset(term for term in terms if term) or None


def _range(name: str, text: str) -> Range | None:
    ends = RANGE.fullmatch(text)
    if ends is None or text == "-":
        return None
    first, last = (int(end) if end else None for end in ends.groups())
    if first is not None and last is not None and first > last:
        raise _refusal(f"{name}: the first is beyond the last")
    return first, last


def _refusal(comment: str) -> Refusal:
    return Refusal(Status.DATA_SET_MISMATCH, comment)
