"""How much of an answer a caller sees. Every face of the node passes what it answers through a `Discloser`.

What is not named here as harmless is left out, so that an attribute that is added later shows nobody's name by mistake.
Nothing in a masked answer links it to another one but, where UIDs are real, these.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Final

from pydicom.uid import generate_uid

from node.errors import Refusal, Status
from node.options.access import Disclosure

BANDS: Final = 8
"""Bands into which distances fall: of a code of 64 bits, eight bits each."""
OLDEST: Final = 90
CODE_STRING: Final = re.compile(r"[A-Z0-9_ ]{0,16}(\\[A-Z0-9_ ]{0,16})*")  # VR CS (PS3.5 6.2), several values
NUMBERS: Final = re.compile(r"[0-9.+\-eE\\ ]{0,200}")
UID_FORM: Final = re.compile(r"[0-9.]{0,64}(\\[0-9.]{0,64})*")

CODED: Final = frozenset({
    "BodyPartExamined", "BurnedInAnnotation", "ImageLaterality", "ImageType", "Laterality", "ModalitiesInStudy",
    "Modality", "PatientOrientation", "PatientSex", "QueryRetrieveLevel", "ViewPosition",
})  # fmt: skip
COUNTS: Final = frozenset({
    "Columns", "ImageOrientationPatient", "InstanceNumber", "NumberOfFrames", "NumberOfPatientRelatedInstances",
    "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedStudies", "NumberOfSeriesRelatedInstances",
    "NumberOfStudyRelatedInstances", "NumberOfStudyRelatedSeries", "Rows", "SeriesNumber",
})  # fmt: skip
SOP_CLASSES: Final = frozenset({"SOPClassUID", "SOPClassesInStudy"})
UIDS: Final = frozenset({"SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"})
DATES: Final = frozenset({"ContentDate", "SeriesDate", "StudyDate"})
MATCHABLE: Final = {
    Disclosure.MASKED: CODED | COUNTS | SOP_CLASSES | UIDS,
    Disclosure.BLIND: CODED | COUNTS | SOP_CLASSES,
}
"""Attributes that a caller may match by: by any other it could guess what it is not shown."""


class Discloser:
    """Masks what one answer says of patients. One answer, one discloser: what it replaces is different in the next.

    Parameters
    ----------
    code_length
        Bits of a code.
    """

    def __init__(self, disclosure: Disclosure, code_length: int) -> None:
        self.disclosure, self._code_length = disclosure, code_length
        self._uids: dict[str, str] = {}
        self._rules: dict[str, Callable[[str], str]] = {
            **dict.fromkeys(CODED, _matching(CODE_STRING)),
            **dict.fromkeys(COUNTS, _matching(NUMBERS)),
            **dict.fromkeys(SOP_CLASSES, _matching(UID_FORM)),
            **dict.fromkeys(UIDS, self.uid),
            **dict.fromkeys(DATES, year_only),
            "PatientAge": decade_only,
        }

    @property
    def is_full(self) -> bool:
        """True if nothing is masked."""
        return self.disclosure is Disclosure.FULL

    def attributes(self, values: Mapping[str, str]) -> dict[str, str]:
        """Attributes by keyword as the caller sees them; the value of what it does not see is empty."""
        if self.is_full:
            return dict(values)
        return {
            keyword: self._rules[keyword](text) if keyword in self._rules else "" for keyword, text in values.items()
        }

    def uid(self, uid: str) -> str:
        """A UID as the caller sees it: itself, or one that only this answer has."""
        if self.disclosure is Disclosure.BLIND and uid:
            return self._uids.setdefault(uid, str(generate_uid(prefix=None)))
        return uid

    def distance(self, distance: float) -> float:
        """A distance as the caller sees it: itself, or the upper end of its band."""
        if self.is_full:
            return distance
        width = self._code_length / BANDS
        return min(self._code_length, width * (math.floor(distance / width) + 1))

    def score(self, distance: float, score: float) -> float:
        """A similarity score as the caller sees it: itself, or that of the band of the distance."""
        return score if self.is_full else 1 - self.distance(distance) / self._code_length


def check_matchable(disclosure: Disclosure, keyword: str) -> None:
    """Raise a refusal (0124) if a caller may not match by an attribute."""
    if disclosure is not Disclosure.FULL and keyword not in MATCHABLE[disclosure]:
        raise Refusal(Status.NOT_AUTHORIZED, f"{keyword}: this caller may not match by it")


def year_only(date: str) -> str:
    """The first of January of a date's year; "" for what is no date (VR DA, PS3.5 6.2)."""
    return f"{date[:4]}0101" if re.fullmatch(r"[0-9]{8}", date) else ""


def decade_only(age: str) -> str:
    """The decade of an age, and 90 years for all that are older; "" for what is no age in years (VR AS)."""
    if not re.fullmatch(r"[0-9]{3}[DWMY]", age):
        return ""
    years = int(age[:3]) if age[3] == "Y" else 0
    return f"{min(years // 10 * 10, OLDEST):03d}Y"


def _matching(form: re.Pattern[str]) -> Callable[[str], str]:
    """Function that empties a value that has not the form of its VR: a name may stand in the wrong place."""
    return lambda text: text if form.fullmatch(text) else ""
