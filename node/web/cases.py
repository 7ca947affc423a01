"""What the page shows of cases, as JSON values: no name, no ID and no full date of a patient leaves through here."""

from collections.abc import Collection
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

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
"""Attributes shown as they are, by their name in JSON."""


class Patient(StrEnum):
    """Whose case a match is, seen from the example; two cases without a Patient ID leave it unknown."""

    SAME = "SAME"
    OTHER = "OTHER"
    UNKNOWN = "UNKNOWN"


def case(image: Entity, frame: int) -> dict[str, object]:
    """One image as the page shows it; `frame` counts from 1."""
    attributes = image.attributes
    age, day = columns.age_years(attributes), columns.study_date(attributes)
    return {
        "uid": image.uid,
        "frame": frame,
        "series_uid": image.uids[Level.SERIES],
        "modality": columns.modality(attributes),
        "body_part": columns.body_part(attributes),
        "sex": columns.SEXES[columns.sex(attributes)],
        "age": None if age < 0 else age,
        "year": day // 10_000 or None,
        **{name: attributes.get(keyword, "") for name, keyword in SHOWN.items()},
    }


def list_cases(snapshot: Snapshot, modalities: Collection[str], offset: int, limit: int) -> dict[str, object]:
    """A page of cases to choose from, latest first: of each series its middle image."""
    series = series_by_modality(snapshot)
    chosen = [ordinals for modality, ordinals in series.items() if not modalities or modality in modalities]
    ordinals = np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))[::-1]
    page = ordinals[offset : offset + limit].tolist()
    return {"total": ordinals.size, "offset": offset, "cases": [_of_series(snapshot, one) for one in page]}


def series_by_modality(snapshot: Snapshot) -> dict[str, NDArray[np.int64]]:
    """Ordinals of the series that can be asked about, ascending, by modality."""
    numbers = np.full(snapshot.ordinal_bound(Level.SERIES), -1, np.int32)
    for block in snapshot.blocks():
        kept = block.live()
        here = slice(None) if kept is None else kept
        numbers[block.column("series")[here]] = block.column("modality")[here]
    found = {}
    for number in np.unique(numbers[numbers >= 0]):
        ordinals = np.flatnonzero(numbers == number)
        first = snapshot.entity(Level.SERIES, snapshot.uid(Level.SERIES, int(ordinals[0])))
        assert first is not None
        found[columns.modality(first.attributes)] = ordinals
    return dict(sorted(found.items()))


def series_images(snapshot: Snapshot, series_instance_uid: str) -> list[dict[str, object]]:
    """Every indexed frame of a series, in the order of Instance Number."""
    records = [snapshot.record(uid) for uid in snapshot.children(Level.SERIES, series_instance_uid)]
    numbered = sorted(
        ((_number(record.instance.get("InstanceNumber", "")), record) for record in records if record is not None),
        key=lambda pair: pair[0],
    )
    return [{"uid": record.sop_instance_uid, "frame": frame + 1} for _, record in numbered for frame in record.frames]


def answer_value(snapshot: Snapshot, question: Question, found: LookAlikes) -> dict[str, object]:
    """Look-alikes of one indexed image, as JSON."""
    example = snapshot.entity(Level.IMAGE, question.examples[0])
    record = snapshot.record(question.examples[0])
    assert example is not None
    assert record is not None, "it has look-alikes"
    frame = question.frames[0] if question.frames else record.frames[0] + 1
    return {
        "example": case(example, frame),
        "candidates": found.candidates,
        "code_length": snapshot.code_length,
        "model": snapshot.model,
        "snapshot": snapshot.identifier,
        "ranking": found.ranking,
        "matches": [_match(example, match) for match in found.matches],
    }


def patient(example: Entity, other: Entity) -> Patient:
    """Say if two images are of one patient, as far as their Patient IDs and issuers tell."""
    keys = example.uids[Level.PATIENT], other.uids[Level.PATIENT]
    if keys[0] == keys[1]:
        return Patient.SAME
    if not all(names_a_patient(key) for key in keys):
        return Patient.UNKNOWN
    # Perhaps one patient, if a sender left the issuer out
    return Patient.UNKNOWN if may_be_one_patient(*keys) else Patient.OTHER


def _match(example: Entity, match: Match) -> dict[str, object]:
    return {
        **case(match.image, match.frame + 1),
        "rank": match.rank,
        "distance": match.distance,
        "score": round(match.score, 6),
        "ranking_score": None if match.ranking_score is None else round(match.ranking_score, 6),
        "patient": patient(example, match.image),
    }


def _of_series(snapshot: Snapshot, ordinal: int) -> dict[str, object]:
    uids = snapshot.children(Level.SERIES, snapshot.uid(Level.SERIES, ordinal))
    uid = uids[len(uids) // 2]
    image, record = snapshot.entity(Level.IMAGE, uid), snapshot.record(uid)
    assert image is not None
    assert record is not None
    frame = record.frames[len(record.frames) // 2] + 1 if record.frames else 1
    return {**case(image, frame), "images": len(uids)}


def _number(text: str) -> int:
    """Value of an IS (PS3.5 6.2), 0 where there is none."""
    digits = text.strip().removeprefix("+")
    return int(digits) if digits.removeprefix("-").isdecimal() else 0
