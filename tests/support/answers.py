"""Answers with planted identities, as the tests of result objects need them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from node.results.answer import Answer, EdgeLabels, ImageReference, SimilarCase

CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY = {
    "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "PatientID": "EXAMPLE-ID",
    "PatientBirthDate": "19500102",
    "PatientSex": "M",
    "StudyDate": "20200102",
    "StudyTime": "101112",
    "AccessionNumber": "EXAMPLE-ACC",
    "StudyID": "S1",
}


def similar_case(number: int, **changes: Any) -> SimilarCase:
    """The case of rank `number`, with a preview of random grey."""
    image = ImageReference(CT, f"2.25.9{number}", f"2.25.8{number}", f"2.25.7{number}", "CT")
    grey = np.random.default_rng(number).integers(0, 256, (224, 224), np.uint8)
    case = SimilarCase(
        number, 3.0 * number, 1 - 3 * number / 64, image, "50-59", "F", "2019", "L", "AP",
        EdgeLabels("R", "A", "L", "P"), grey,
    )  # fmt: skip
    return replace(case, **changes)


def answer(n_cases: int = 3, **changes: Any) -> Answer:
    """An answer to one image of study 2.25.3."""
    made = Answer(
        question="question",
        examples=(ImageReference(CT, "2.25.1", "2.25.2", "2.25.3", "CT"),),
        study=STUDY,
        cases=tuple(similar_case(number) for number in range(1, n_cases + 1)),
        code_length=64,
        model="model 1a2b",
        snapshot="database.7.100",
        candidates=100,
        answered=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )
    return replace(made, **changes)
