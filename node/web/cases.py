"""Cases as JSON values for the page; they hold no name, no ID and no full date of a patient."""

from collections.abc import Callable
from enum import StrEnum

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


def case(image: Entity, frame: int) -> dict[str, object]:
    """JSON value of one frame of an image; `frame` counts from 1."""
    attributes = image.attributes
    age, day = columns.age_years(attributes), columns.study_date(attributes)
    return {
        "uid": image.uid,
        "frame": frame,
        "series_uid": image.uids[Level.SERIES],
        "study_uid": image.uids[Level.STUDY],
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
    example: Entity,
    frame: int,
    look_alikes: LookAlikes,
    expectation: Callable[[float], float | None],
) -> dict[str, object]:
    """JSON value of the look-alikes of one image.

    Parameters
    ----------
    frame
        The frame that is shown of the example, counted from 1.
    expectation
        Number of candidates that chance puts within a distance; None where it is not known.
    """
    return {
        "example": case(example, frame),
        "candidates": look_alikes.candidates,
        "code_length": snapshot.code_length,
        "model": snapshot.model,
        "snapshot": snapshot.identifier,
        "ranking": look_alikes.ranking,
        "matches": [
            {**_match(example, match), "chance": _rounded(expectation(match.distance))} for match in look_alikes.matches
        ],
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


def _match(example: Entity, match: Match) -> dict[str, object]:
    return {
        **case(match.image, match.frame + 1),
        "rank": match.rank,
        "distance": match.distance,
        "score": round(match.score, 6),
        "ranking_score": _rounded(match.ranking_score),
        "duplicates": match.duplicates,
        "patient": patient(example, match.image),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
