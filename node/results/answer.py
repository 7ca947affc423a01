"""The answer to a question, as result objects tell it: the example, the look-alikes, and what they come from."""

import uuid
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from storage.record import Attributes


@dataclass(frozen=True, slots=True)
class ImageReference:
    """One image, or one frame of it.

    Attributes
    ----------
    modality
        "" if it is not known.
    frame
        1-based number of the frame; None for an image of one frame.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    modality: str = ""
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class EdgeLabels:
    """Letters for the directions of a picture's edges, such as L, R, A, P, H and F; "" where one is not known."""

    left: str = ""
    top: str = ""
    right: str = ""
    bottom: str = ""


@dataclass(frozen=True, slots=True)
class SimilarCase:
    """One look-alike, with nothing by which its patient could be named.

    Attributes
    ----------
    distance
        Hamming distance in bits.
    age_decade, sex, year
        As in "50-59", "F" and "2019"; "" where it is not known.
    laterality, view
        As in "L" and "MLO"; "" where it is not known.
    preview : (size, size) uint8
        The picture, letterboxed; None where none is kept.
    may_show_identity
        True if text that names the patient may be part of the picture.
    expectation
        Number of images that chance would put as near; None if it is not known.
    is_patient_known
        False if it has no Patient ID, or the example has none: then nothing tells that the patients differ.
    is_unusual
        True if the nearest image was as far for less than 1 of 100 images that the model was checked with.
    """

    rank: int
    distance: float
    score: float
    image: ImageReference
    age_decade: str = ""
    sex: str = ""
    year: str = ""
    laterality: str = ""
    view: str = ""
    edges: EdgeLabels = EdgeLabels()
    preview: NDArray[np.uint8] | None = None
    may_show_identity: bool = False
    expectation: float | None = None
    is_patient_known: bool = True
    is_unusual: bool = False

    @property
    def is_chance(self) -> bool:
        """True if chance would put an image as near: the case is no closer than that."""
        return self.expectation is not None and self.expectation >= 1


@dataclass(frozen=True, slots=True)
class Answer:
    """The content of the result objects of one question.

    Attributes
    ----------
    question
        Text that stands for the question: equal questions have equal texts.
    examples
        At least one image.
    study
        Patient and study attributes of the example by keyword: the results belong into its study.
    model, snapshot
        What the cases were found with: identifiers of the network and of the state of the index.
    candidates
        Number of images that were searched; None if they were not counted.
    answered
        When, with its time zone.
    regions
        Parts of the example that were searched for in place of the whole, and what pixels they were taken from.
    reason
        Why there are no cases; "" where there are some.
    note
        What else a reader must know, such as parts of the question that could not be used.
    """

    question: str
    examples: tuple[ImageReference, ...]
    study: Attributes
    cases: tuple[SimilarCase, ...]
    code_length: int
    model: str
    snapshot: str
    candidates: int | None
    answered: datetime
    regions: tuple[str, ...] = ()
    reason: str = ""
    note: str = ""

    @property
    def chance_note(self) -> str:
        """Sentence that names the cases that are no closer than chance, by their ranks; "" if there are none."""
        ranks = ", ".join(str(case.rank) for case in self.cases if case.is_chance)
        return f"No closer than chance would put some image: rank {ranks}." if ranks else ""

    @property
    def unusual_note(self) -> str:
        """Sentence for an example whose nearest case is unusually far; "" where it is not."""
        return UNUSUALLY_FAR if self.cases and all(case.is_unusual for case in self.cases) else ""

    def uid(self, kind: str, number: int = 1) -> str:
        """UID of a result: the same for the same question, snapshot, reason and chance: a repeat is no new object.

        Parameters
        ----------
        kind, number
            Which object or series of the answer.

        References
        ----------
        UUID-derived UIDs: PS3.5 annex B.2.
        """
        chance = [f"{case.rank}:{case.expectation}" for case in self.cases if case.expectation is not None]
        parts = (self.question, self.model, self.snapshot, self.reason, *chance, kind, str(number))
        return f"2.25.{uuid.uuid5(NAMESPACE, chr(0).join(parts)).int}"


UNUSUALLY_FAR = (
    "Even the nearest case is farther than usual: nothing here is like the example, or the model cannot judge it."
)
NAMESPACE = uuid.UUID("6e5f4f0c-8d3d-4a52-9a5e-1f0a2b7c4d11")
"""Namespace of the names that the UIDs of results are made from."""
