"""Cases as JSON values for the page; they hold no name, no ID and no full date of a patient."""

from collections.abc import Callable, Collection
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from node.access.disclosure import Discloser
from node.query.question import Question
from node.query.retriever import LookAlikes, Match
from storage.database import columns
from storage.database.snapshot import Snapshot
from storage.record import Entity, Level, may_be_one_patient, names_a_patient

SHOWN = {
    "laterality": "Laterality",
    "view": "ViewPosition",
    "study_description": "StudyDescription",
    "series_description": "SeriesDescription",
}
"""Keywords of the attributes that the page shows unchanged, by their names in JSON."""


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
        "modality": columns.modality(attributes),
        "body_part": columns.body_part(attributes),
        "sex": columns.SEXES[columns.sex(attributes)],
        "age": None if age < 0 else age,
        "year": day // 10_000 or None,
        **{name: attributes.get(keyword, "") for name, keyword in SHOWN.items()},
    }


def list_cases(
    snapshot: Snapshot,
    modalities: Collection[str],
    offset: int,
    limit: int,
    discloser: Discloser,
    among: NDArray[np.int64] | None = None,
) -> dict[str, object]:
    """JSON value of one page of cases, latest first; each series is represented by its middle image.

    Parameters
    ----------
    among
        Ordinals of the series to list; None for all.
    """
    series = series_by_modality(snapshot)
    chosen = [ordinals for modality, ordinals in series.items() if not modalities or modality in modalities]
    ordinals = np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))[::-1]
    if among is not None:
        ordinals = ordinals[np.isin(ordinals, among)]
    page = ordinals[offset : offset + limit].tolist()
    return {
        "total": ordinals.size,
        "offset": offset,
        "cases": [_series_case(snapshot, ordinal, discloser) for ordinal in page],
    }


def series_by_modality(snapshot: Snapshot) -> dict[str, NDArray[np.int64]]:
    """Ordinals of the indexed series, ascending, by modality."""
    numbers = np.full(snapshot.ordinal_bound(Level.SERIES), -1, np.int32)
    for block in snapshot.blocks():
        live = block.live()
        rows = slice(None) if live is None else live
        numbers[block.column("series")[rows]] = block.column("modality")[rows]
    series = {}
    for number in np.unique(numbers[numbers >= 0]):
        ordinals = np.flatnonzero(numbers == number)
        first = snapshot.entity(Level.SERIES, snapshot.uid(Level.SERIES, int(ordinals[0])))
        assert first is not None
        series[columns.modality(first.attributes)] = ordinals
    return dict(sorted(series.items()))


def series_images(snapshot: Snapshot, series_instance_uid: str, discloser: Discloser) -> list[dict[str, object]]:
    """JSON values of every indexed frame of a series, in the order of Instance Number."""
    records = [snapshot.record(uid) for uid in snapshot.children(Level.SERIES, series_instance_uid)]
    numbered = sorted(
        ((_number(record.instance.get("InstanceNumber", "")), record) for record in records if record is not None),
        key=lambda pair: pair[0],
    )
    return [
        {"uid": discloser.uid(record.sop_instance_uid), "frame": frame + 1}
        for _, record in numbered
        for frame in record.frames
    ]


def answer_value(
    snapshot: Snapshot,
    question: Question,
    look_alikes: LookAlikes,
    expected: Callable[[float], float | None],
    discloser: Discloser,
) -> dict[str, object]:
    """JSON value of the look-alikes of one indexed image.

    Parameters
    ----------
    expected
        Number of candidates that chance would put within a distance; None where that is not known.
    """
    example = snapshot.entity(Level.IMAGE, question.examples[0])
    record = snapshot.record(question.examples[0])
    assert example is not None
    assert record is not None, "it has look-alikes"
    frame = question.frames[0] if question.frames else record.frames[0] + 1
    return {
        "example": case(example, frame, discloser),
        "candidates": look_alikes.candidates,
        "code_length": snapshot.code_length,
        "model": snapshot.model,
        "snapshot": snapshot.identifier,
        "ranking": look_alikes.ranking,
        "distinct": question.distinct,
        "region": question.region,
        "region_source": look_alikes.region_source or None,
        "matches": [_match(example, match, expected(match.distance), discloser) for match in look_alikes.matches],
    }


def patient(example: Entity, other: Entity) -> Patient:
    """Relation of the patients of two images, by Patient ID and its issuer."""
    keys = example.uids[Level.PATIENT], other.uids[Level.PATIENT]
    if keys[0] == keys[1]:
        return Patient.SAME
    if not all(names_a_patient(key) for key in keys):
        return Patient.UNKNOWN
    # they may be one patient, if a sender left the issuer out
    return Patient.UNKNOWN if may_be_one_patient(*keys) else Patient.OTHER


def _match(example: Entity, match: Match, expectation: float | None, discloser: Discloser) -> dict[str, object]:
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
        "patient": patient(example, match.image),
    }


def _series_case(snapshot: Snapshot, ordinal: int, discloser: Discloser) -> dict[str, object]:
    uids = snapshot.children(Level.SERIES, snapshot.uid(Level.SERIES, ordinal))
    uid = uids[len(uids) // 2]
    image, record = snapshot.entity(Level.IMAGE, uid), snapshot.record(uid)
    assert image is not None
    assert record is not None
    frame = record.frames[len(record.frames) // 2] + 1 if record.frames else 1
    return {**case(image, frame, discloser), "images": len(uids)}


def _number(text: str) -> int:
    """Value of an IS (PS3.5 6.2), 0 where there is none."""
    digits = text.strip().removeprefix("+")
    return int(digits) if digits.removeprefix("-").isdecimal() else 0
