"""Look-alikes as result objects show them, from the matches and the database; nothing here names a patient."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from node.query.retriever import Match
from node.results.answer import EdgeLabels, ImageReference, SimilarCase
from node.results.orientation import edge_letters
from storage.database import columns
from storage.database.snapshot import Snapshot
from storage.record import Attributes, Entity, Level, names_a_patient

RISKY_MODALITIES: Final = frozenset({"US", "SC", "XA", "OT"})
"""Modalities whose pictures often show a name, unless Burned In Annotation denies it."""
RISKY_CLASSES: Final = ("1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.6.", "1.2.840.10008.5.1.4.1.1.12.1")
"""The same by SOP class: Secondary Capture and its successors, ultrasound, X-ray angiography."""
DIGITS: Final = frozenset("0123456789")


def similar_cases(
    snapshot: Snapshot,
    matches: Sequence[Match],
    example_patients: Collection[str],
    expected: Callable[[float], float | None] = lambda _distance: None,
) -> Iterator[SimilarCase]:
    """Yield each match as a case.

    Parameters
    ----------
    example_patients
        Patient keys of the example.
    expected
        Number of candidates that chance would put within a distance; None where that is not known.
    """
    example_known = all(map(names_a_patient, example_patients))
    for match in matches:
        image, attributes = match.image, match.image.attributes
        age, day = columns.age_years(attributes), columns.study_date(attributes)
        yield SimilarCase(
            rank=match.rank,
            distance=match.distance,
            score=match.score,
            image=reference(image, match.frame),
            age_decade=age_decade(age),
            sex=columns.SEXES[columns.sex(attributes)],
            year=str(day // 10_000) if day else "",
            laterality=_laterality(attributes),
            view=attributes.get("ViewPosition", "")[:16],
            edges=EdgeLabels(*edge_letters(*(attributes.get(name, "") for name in ORIENTATIONS))),
            preview=snapshot.preview(image.uid, match.frame),
            may_show_identity=may_show_identity(attributes),
            expectation=expected(match.distance),
            is_patient_known=example_known and names_a_patient(image.uids[Level.PATIENT]),
            is_unusual=match.is_unusual,
        )


ORIENTATIONS: Final = ("PatientOrientation", "ImageOrientationPatient")


def reference(image: Entity, frame: int) -> ImageReference:
    """Name an indexed image; its frame, counted from 0, is named if it has several."""
    attributes, frames = image.attributes, image.attributes.get("NumberOfFrames", "")
    several = set(frames) <= DIGITS and int(frames or 1) > 1
    return ImageReference(
        sop_class_uid=attributes.get("SOPClassUID", ""),
        sop_instance_uid=image.uid,
        series_instance_uid=image.uids[Level.SERIES],
        study_instance_uid=image.uids[Level.STUDY],
        modality=columns.modality(attributes),
        frame=frame + 1 if several else None,
    )


def age_decade(years: int) -> str:
    """Ten years that hold an age, as in "50-59"; from 90 on "90+", for the very old are few; "" where it is unknown."""
    if years < 0:
        return ""
    return "90+" if years >= 90 else f"{years // 10 * 10}-{years // 10 * 10 + 9}"


def may_show_identity(attributes: Attributes) -> bool:
    """Whether text that names a patient may be part of the picture (PS3.3 C.7.6.1.1.5)."""
    stated = attributes.get("BurnedInAnnotation", "").upper()
    if stated:
        return stated != "NO"
    is_risky_class = attributes.get("SOPClassUID", "").startswith(RISKY_CLASSES)
    return is_risky_class or columns.modality(attributes) in RISKY_MODALITIES


def _laterality(attributes: Attributes) -> str:
    """Side of a paired part of the body: that of the image, or else that of its series."""
    value = attributes.get("ImageLaterality", "") or attributes.get("Laterality", "")
    return value if value in ("L", "R", "B", "U") else ""
