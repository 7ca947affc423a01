"""Attribute matching of C-FIND (PS3.4 C.2.2.2)."""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.valuerep import VR

RANGE_VRS = frozenset({VR.DA, VR.TM})
WILD_CARD_VRS = frozenset({VR.AE, VR.CS, VR.LO, VR.LT, VR.PN, VR.SH, VR.ST, VR.UC, VR.UR, VR.UT})
NUMBER_VRS = frozenset({VR.IS, VR.DS, VR.US})
EMPTY = '""'
"""Key that matches only what has no value (empty value matching)."""

Matcher = Callable[[str], bool]


def is_universal(key: str) -> bool:
    """Whether a key matches every entity: it has no value, or nothing but "*" (PS3.4 C.2.2.2.3, C.2.2.2.4)."""
    return key.strip("* \\") == ""


def matches(keyword: str, key: str, stored: str) -> bool:
    r"""Whether a stored value matches a key.

    Parameters
    ----------
    keyword
        Of the attribute; its VR and the rules for it follow from the data dictionary.
    key, stored
        Unicode text, several values joined by a backslash. It is enough that one stored value matches one value of the
        key: so lists of UIDs match (C.2.2.2.2), and modalities and whatever else comes with several values likewise.
    """
    if is_universal(key):
        return True
    matcher = _matcher(keyword, key)
    return any(matcher(value) for value in stored.split("\\"))


@lru_cache(maxsize=1024)
def _matcher(keyword: str, key: str) -> Matcher:
    vr = VR(dictionary_VR(tag_for_keyword(keyword) or 0))
    alternatives = [_alternative(vr, one) for one in key.split("\\") if one.strip()]
    return lambda stored: any(matcher(stored) for matcher in alternatives)


def _alternative(vr: VR, key: str) -> Matcher:
    if key.strip() == EMPTY:
        return lambda stored: stored.strip() == ""
    if vr == VR.PN:
        return _person_name(key)
    if vr in RANGE_VRS:
        return _range(key) if "-" in key else _moment(key)
    if vr in NUMBER_VRS:
        wanted = _number(key)
        return lambda stored: _number(stored) == wanted
    if vr in WILD_CARD_VRS and ("*" in key or "?" in key):
        pattern = _wild_card(key.strip())
        return lambda stored: pattern.fullmatch(stored.strip()) is not None
    return lambda stored: stored.strip() == key.strip()


def _range(key: str) -> Matcher:
    """Between the ends of a range, both included; an end may be open (C.2.2.2.5).

    A short time stands for all of it, be it an end or stored: 10 is 10:00:00 to 10:59:59.
    """
    first, last = (_digits(part) for part in key.split("-", 1))

    def within(stored: str) -> bool:
        moment = _digits(stored)
        return moment.isdigit() and moment >= first[: len(moment)] and (last == "" or moment[: len(last)] <= last)

    return within


def _moment(key: str) -> Matcher:
    """A date, or a time to the precision of the key."""
    wanted = _digits(key)
    return lambda stored: wanted != "" and _digits(stored).startswith(wanted)


def _digits(text: str) -> str:
    """Digits only: the old forms 2020.01.31 and 12:30:00 are read too, and the fraction of a second follows it."""
    return re.sub(r"[.:\s]", "", text)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.strip()


def _wild_card(key: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in key), re.DOTALL)


def _person_name(key: str) -> Matcher:
    """Without regard to case or accents; one component group of the key matches the same or, alone, any group."""
    groups = [_plain(group) for group in key.split("=")]
    patterns = [_wild_card(group) if group.strip("*") else None for group in groups]

    def match(stored: str) -> bool:
        names = [_plain(group) for group in stored.split("=")]
        if len(patterns) == 1:
            return any(patterns[0] is None or patterns[0].fullmatch(name) for name in names)
        names += [""] * (len(patterns) - len(names))
        return all(pattern is None or pattern.fullmatch(name) for pattern, name in zip(patterns, names, strict=False))

    return match


def _plain(name: str) -> str:
    """Lower case, accents and needless spaces removed, trailing empty components dropped."""
    bare = "".join(char for char in unicodedata.normalize("NFKD", name) if not unicodedata.combining(char))
    composed = unicodedata.normalize("NFC", bare).casefold()  # a syllable of Hangul is one character again
    components = (" ".join(component.split()) for component in composed.split("^"))
    return "^".join(components).rstrip("^")
