"""The columns that a search filters by: one small number for each row, derived from the attributes of its instance."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import DTypeLike

from storage.record import Attributes, Level

COLUMNS: Final[Mapping[str, DTypeLike]] = {
    "modality": np.uint16,  # number of the term, 0 = none
    "body_part": np.uint16,  # number of the term, 0 = none
    "manufacturer": np.uint16,  # number of the term, 0 = none
    "study_date": np.int32,  # yyyymmdd, 0 = none
    "sex": np.uint8,  # index in SEXES
    "age_years": np.int16,  # whole years, -1 = none
    "patient": np.uint32,  # ordinals
    "study": np.uint32,
    "series": np.uint32,
    "instance": np.uint32,
    "pixel_digest": np.uint64,
    "frame": np.int32,  # from 0
    "flags": np.uint8,  # DELETED, FIRST
}
LEVEL_COLUMN: Final = {
    Level.PATIENT: "patient",
    Level.STUDY: "study",
    Level.SERIES: "series",
    Level.IMAGE: "instance",
}
DELETED: Final = 1
FIRST: Final = 2
"""Flag of the first row of an instance: counting these rows counts instances."""

SEXES: Final = ("", "M", "F", "O")
"""Values of Patient's Sex (PS3.3 C.7.1.1); the column holds the index of one."""

DAYS_PER: Final = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}


def modality(attributes: Attributes) -> str:
    """Modality (PS3.3 C.7.3.1.1.1), "" when absent."""
    return _term(attributes, "Modality")


def body_part(attributes: Attributes) -> str:
    """Body Part Examined (PS3.3 C.7.3.1), "" when absent."""
    return _term(attributes, "BodyPartExamined")


def manufacturer(attributes: Attributes) -> str:
    """Manufacturer (PS3.3 C.7.5.1) as received, because a key tells upper from lower case; "" when absent."""
    return attributes.get("Manufacturer", "")


def study_date(attributes: Attributes) -> int:
    """Study Date (PS3.3 C.7.2.1) as yyyymmdd, 0 when it is absent or no date."""
    day = _date(attributes.get("StudyDate", ""))
    return day.year * 10_000 + day.month * 100 + day.day if day else 0


def sex(attributes: Attributes) -> int:
    """Index of Patient's Sex in SEXES, 0 when it is absent or not among them."""
    value = _term(attributes, "PatientSex")
    return SEXES.index(value) if value in SEXES else 0


def age_years(attributes: Attributes) -> int:
    """Age at the study in whole years: Patient's Age, or else from birth date to study date; -1 when unknown."""
    stated = _stated_age(attributes.get("PatientAge", "").strip())
    return stated if stated >= 0 else _lived(attributes)


TERMS: Final[Mapping[str, Callable[[Attributes], str]]] = {
    "modality": modality,
    "body_part": body_part,
    "manufacturer": manufacturer,
}
NUMBERS: Final[Mapping[str, Callable[[Attributes], int]]] = {
    "study_date": study_date,
    "sex": sex,
    "age_years": age_years,
}
SOURCES: Final = frozenset({
    "Modality", "BodyPartExamined", "Manufacturer", "StudyDate", "PatientSex", "PatientAge", "PatientBirthDate",
})  # fmt: skip
"""Keywords that the derived columns depend on."""


def _term(attributes: Attributes, keyword: str) -> str:
    return attributes.get(keyword, "").strip().upper()


def _date(text: str) -> date | None:
    """Read a DA value (PS3.5 6.2), also with the dots of ACR-NEMA."""
    digits = text.strip().replace(".", "")
    if len(digits) != 8 or not (digits.isascii() and digits.isdigit()):
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:  # such as a 30th of February: no date
        return None


def _stated_age(text: str) -> int:
    """Read an AS value (PS3.5 6.2): three digits and D, W, M or Y."""
    number, unit = text[:-1], text[-1:].upper()
    if unit not in DAYS_PER or not (number.isascii() and number.isdigit()) or len(number) > 3:
        return -1
    return int(number) if unit == "Y" else int(int(number) * DAYS_PER[unit] / DAYS_PER["Y"])


def _lived(attributes: Attributes) -> int:
    born, studied = _date(attributes.get("PatientBirthDate", "")), _date(attributes.get("StudyDate", ""))
    if born is None or studied is None or studied < born:
        return -1
    return studied.year - born.year - ((studied.month, studied.day) < (born.month, born.day))
