"""Attribute matching of C-FIND (PS3.4 C.2.2.2)."""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.valuerep import VR

RANGE_VRS = frozenset({VR.DA, VR.TM, VR.DT})
WILD_CARD_VRS = frozenset({VR.AE, VR.CS, VR.LO, VR.LT, VR.PN, VR.SH, VR.ST, VR.UC, VR.UR, VR.UT, VR.AS})
NUMBER_VRS = frozenset({VR.IS, VR.DS})
LISTED_KEYWORDS = frozenset({"ModalitiesInStudy", "SOPClassesInStudy", "Modality", "BodyPartExamined"})
"""Keys that take several values, any of which may match, besides those of VR UI (multiple value matching)."""


def is_universal(value: str) -> bool:
    """Whether a key matches every entity: it is empty, or nothing but "*" (PS3.4 C.2.2.2.3, C.2.2.2.4)."""
    return value.strip("* ") == ""


def matches(keyword: str, key: str, stored: str) -> bool:
    r"""Whether a stored value matches a key.

    Parameters
    ----------
    keyword
        Of the attribute; its VR and the rules for it follow from the data dictionary.
    key, stored
        Unicode text, several values joined by a backslash. Any stored value that matches is enough.
    """
    if is_universal(key):
        return True
    matcher = _matcher(keyword, key)
    return any(matcher(value) for value in stored.split("\\"))


@lru_cache(maxsize=1024)
def _matcher(keyword: str, key: str) -> Callable[[str], bool]:
    vr = VR(dictionary_VR(tag_for_keyword(keyword) or 0))
    if vr == VR.UI or keyword in LISTED_KEYWORDS:
        alternatives = [_single(vr, one) for one in key.split("\\")]
        return lambda stored: any(alternative(stored) for alternative in alternatives)
    if vr in RANGE_VRS and "-" in key:
        return _range(vr, key)
    return _single(vr, key)


def _single(vr: VR, key: str) -> Callable[[str], bool]:
    if vr == VR.PN:
        return _person_name(key)
    if vr in NUMBER_VRS:
        wanted = _number(key)
        return lambda stored: _number(stored) == wanted
    if vr in RANGE_VRS:
        wanted_moment = _moment(vr, key)
        return lambda stored: stored != "" and _moment(vr, stored)[: len(wanted_moment)] == wanted_moment
    if vr in WILD_CARD_VRS and ("*" in key or "?" in key):
        pattern = _wild_card(key.strip())
        return lambda stored: pattern.fullmatch(stored.strip()) is not None
    return lambda stored: stored.strip() == key.strip()


def _range(vr: VR, key: str) -> Callable[[str], bool]:
    """Between the ends of a range, both included; an end may be open, or short and then means all of it (C.2.2.2.5)."""
    first, last = (_moment(vr, part) for part in key.split("-", 1))

    def within(stored: str) -> bool:
        moment = _moment(vr, stored)
        return moment != "" and moment >= first and (last == "" or moment[: len(last)] <= last)

    return within


def _moment(vr: VR, text: str) -> str:
    """Digits only; the old forms 2020.01.31 and 12:30:00 are read too, and "12." equals "12"."""
    digits = re.sub(r"[.:\s]", "", text)
    return digits if vr == VR.DA else digits.rstrip()


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.strip()


def _wild_card(key: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in key), re.DOTALL)


def _person_name(key: str) -> Callable[[str], bool]:
    """Without regard to case or accents; one component group of the key matches the same or, alone, any group."""
    wanted = [_plain(group) for group in key.split("=")]
    patterns = [_wild_card(group) if group.strip("*") else None for group in wanted]

    def match(stored: str) -> bool:
        groups = [_plain(group) for group in stored.split("=")]
        if len(patterns) == 1:
            return any(patterns[0] is None or patterns[0].fullmatch(group) for group in groups)
        padded = [*groups, *[""] * (len(patterns) - len(groups))]
        return all(
            pattern is None or pattern.fullmatch(group) for pattern, group in zip(patterns, padded, strict=False)
        )

    return match


def _plain(name: str) -> str:
    """Lower case, accents removed, trailing empty components dropped."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return re.sub(r"\s+", " ", bare).strip(" ^")
