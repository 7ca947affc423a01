"""Cases as JSON values for the page; they hold no name, no ID and no full date of a patient."""

from collections.abc import Callable
from enum import StrEnum

from node.access.disclosure import Discloser
from node.query.question import Question
from node.query.retriever import LookAlikes, Match
from storage.database import columns
from storage.database.snapshot import Snapshot
from storage.record import LEVELS, Entity, Level, Record, may_be_one_patient, names_a_patient

SHOWN = {
    "laterality": "Laterality",
    "view": "ViewPosition",
    "study_description": "StudyDescription",
    "series_description": "SeriesDescription",
}
"""Keywords of the attributes that the page shows unchanged, by their names in JSON."""
SIDES = {"rows": "Rows", "columns": "Columns"}


class Patient(StrEnum):
    """Relation of a match's patient to the patient of the example; UNKNOWN where a Patient ID is missing."""

    SAME = "SAME"
    OTHER = "OTHER"
    UNKNOWN = "UNKNOWN"


def case(image: Entity, frame: int, discloser: Discloser) -> dict[str, object]:
    """JSON value of one frame of an image; `frame` counts from 1."""
    attributes = discloser.attributes(image.attributes)
    age, day = columns.age_years(attributes), columns.study_date(attributes)
    return {
        "uid": discloser.uid(image.uid),
        "frame": frame,
        "series_uid": discloser.uid(image.uids[Level.SERIES]),
        "study_uid": discloser.uid(image.uids[Level.STUDY]),
        "modality": columns.modality(attributes),
        "body_part": columns.body_part(attributes),
        "sex": columns.SEXES[columns.sex(attributes)],
        "age": None if age < 0 else age,
        "year": day // 10_000 or None,
        **{name: whole_number(attributes.get(keyword, "")) or None for name, keyword in SIDES.items()},
        **{name: attributes.get(keyword, "") for name, keyword in SHOWN.items()},
    }


def answer_value(
    snapshot: Snapshot,
    question: Question,
    example: dict[str, object],
    look_alikes: LookAlikes,
    match_value: Callable[[Match], dict[str, object]],
) -> dict[str, object]:
    """JSON value of the look-alikes of one image.

    Parameters
    ----------
    example
        JSON value of the image, as `case` makes it.
    match_value
        Gives the JSON value of a match.
    """
    return {
        "example": example,
        "candidates": look_alikes.candidates,
        "code_length": snapshot.code_length,
        "model": snapshot.model,
        "snapshot": snapshot.identifier,
        "ranking": look_alikes.ranking,
        "distinct": question.distinct,
        "region": question.region,
        "region_source": look_alikes.region_source or None,
        "matches": [match_value(match) for match in look_alikes.matches],
    }


def match_value(example: Entity, match: Match, expectation: float | None, discloser: Discloser) -> dict[str, object]:
    """JSON value of one look-alike.

    Parameters
    ----------
    expectation
        Number of candidates that chance would put as near; None where that is not known.
    """
    score, exact = (match.ranking_score, expectation) if discloser.is_full else (None, None)
    return {
        **case(match.image, match.frame + 1, discloser),
        "rank": match.rank,
        "distance": discloser.distance(match.distance),
        "score": round(discloser.score(match.distance, match.score), 6),
        "ranking_score": None if score is None else round(score, 6),
        "duplicates": match.duplicates,
        "expectation": None if exact is None else float(f"{exact:.3g}"),
        "no_closer_than_chance": expectation is not None and expectation >= 1,
        "unusually_far": match.is_unusual,
        "patient": patient(example, match.image),
    }


def posted_entity(record: Record, modality: str = "") -> Entity:
    """An image that is not indexed, as if it were.

    Parameters
    ----------
    modality
        Modality of an image that states none.
    """
    stated = {keyword: text for level in LEVELS for keyword, text in record.attributes[level].items()}
    return Entity(Level.IMAGE, 0, record.uids, {"Modality": modality} | stated)


def patient(example: Entity, other: Entity) -> Patient:
    """Relation of the patients of two images, by Patient ID and its issuer."""
    keys = example.uids[Level.PATIENT], other.uids[Level.PATIENT]
    if keys[0] == keys[1]:
        return Patient.SAME
    if not all(names_a_patient(key) for key in keys):
        return Patient.UNKNOWN
    # they may be one patient, if a sender left the issuer out
    return Patient.UNKNOWN if may_be_one_patient(*keys) else Patient.OTHER


def whole_number(text: str) -> int:
    """Value of an IS (PS3.5 6.2), 0 where there is none."""
    digits = text.strip().removeprefix("+")
    return int(digits) if digits.removeprefix("-").isdecimal() else 0
