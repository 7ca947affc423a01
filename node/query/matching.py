"""Matching keys of C-FIND: a key is read once, then tested against stored values (PS3.4 C.2.2.2).

No test backtracks: a stored value takes time proportional to its length, whatever a caller writes into a key. No cache
holds what callers send.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Final

from pydicom.datadict import dictionary_VM, dictionary_VR
from pydicom.valuerep import VR

from node.dicom.hierarchy import DATE_OF, REQUIRED, tag_of
from node.errors import Refusal, Status
from node.query.rules import STUDY_ROOT, QueryRules
from storage.folding import PADDING, digits, folded_group, folded_groups, stored_values

MULTIPLE_VALUE_VRS = frozenset({VR.AE, VR.AS, VR.AT, VR.CS, VR.LO, VR.PN, VR.SH, VR.UC})
"""VRs of multiple value matching (PS3.4 C.2.2.2.8)."""
RANGE_VRS = frozenset({VR.DA, VR.TM})
WILD_CARD_VRS = frozenset({VR.AE, VR.CS, VR.LO, VR.LT, VR.SH, VR.ST, VR.UC, VR.UR, VR.UT})
NUMBER_VRS = frozenset({VR.IS, VR.DS, VR.US})
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([Ee][+-]?\d+)?", re.ASCII)
DAY_DIGITS: Final = 8
EMPTY = '""'
"""Key that matches only what has no value (empty value matching)."""

MAX_PATTERNS: Final = 32
"""Most values of one key that are wild cards, ranges or names."""
MAX_PATTERN_CHARACTERS: Final = 1024
"""Longest value of that kind; VR LO allows 64 characters, and PN three times 64."""

Test = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Key:
    """A matching key, ready to be tested.

    Attributes
    ----------
    keyword
        Attribute that the key is for.
    text
        The key as it came, several values joined by a backslash.
    is_universal
        True if the key matches every entity (PS3.4 C.2.2.2.3).
    exact
        Values without their padding, where a stored value matches only if it is one of them letter by letter; else
        None.
    matches_empty
        True if an empty stored value matches, whatever the key (PS3.4 C.2.2.1.2).
    date_keyword
        Attribute that is matched together with this one, a time: `matches` then takes what `moments` makes of both.
    """

    keyword: str
    text: str
    is_universal: bool
    exact: frozenset[str] | None
    matches_empty: bool
    _tests: tuple[Test, ...]
    date_keyword: str = ""

    def matches(self, stored: str) -> bool:
        """True if the stored values, joined by a backslash, are those that the key wants."""
        if self.is_universal:
            return True
        values = stored_values(stored)
        return all(any(map(test, values)) for test in self._tests)


def read_keys(texts: Mapping[str, str], rules: QueryRules = STUDY_ROOT) -> dict[str, Key]:
    """Keys by keyword, from their texts; see `read_key`.

    Where `rules` say so, ranges of a date and of its time are one range of moments: the key of the date remains what
    it is, which is weaker, and that of the time becomes one of both.
    """
    keys = {keyword: read_key(keyword, text, rules) for keyword, text in texts.items()}
    for time, date in DATE_OF.items():
        both = _combined(texts.get(date, ""), texts.get(time, "")) if rules.combines_date_time else ""
        if both:
            keys[time] = replace(keys[time], date_keyword=date, _tests=(_moment_test(both),))
    return keys


def moments(dates: str, times: str) -> str:
    """Stored dates with their times, joined by a backslash; a date that is not a whole day has no time."""
    pairs = zip_longest(map(digits, stored_values(dates)), map(digits, stored_values(times)), fillvalue="")
    return "\\".join(date + time if len(date) == DAY_DIGITS else date for date, time in pairs)


def read_key(keyword: str, text: str, rules: QueryRules = STUDY_ROOT) -> Key:
    r"""Read a matching key.

    Parameters
    ----------
    keyword
        Of an attribute in the data dictionary: its VR says which kinds of matching apply.
    text
        Unicode text, several values joined by a backslash; it is enough that one of them matches. So lists of UIDs
        match (PS3.4 C.2.2.2.2), and modalities and whatever else comes with several values likewise.
    rules
        Say whether all values of some keys must match, and whether empty stored values do.

    Raises
    ------
    Refusal
        A900: the key has more or longer patterns than `MAX_PATTERNS` and `MAX_PATTERN_CHARACTERS` allow.
    """
    vr = VR(dictionary_VR(tag_of(keyword)))
    values = [value for part in text.split("\\") if (value := part.strip(PADDING))]
    is_universal = all(_is_universal(vr, value) for value in values)
    patterns = [value for value in values if _is_pattern(vr, value)]
    if len(patterns) > MAX_PATTERNS or any(len(pattern) > MAX_PATTERN_CHARACTERS for pattern in patterns):
        raise Refusal(Status.DATA_SET_MISMATCH, "too many or too long patterns in this key", tag_of(keyword))
    literal = not (is_universal or patterns or vr == VR.CS or vr in NUMBER_VRS)
    exact = frozenset("" if value == EMPTY else value for value in values) if literal else None
    matches_all = rules.matches_all_values and vr in MULTIPLE_VALUE_VRS and dictionary_VM(tag_of(keyword)) != "1"
    alternatives = [[value] for value in values] if matches_all else [values]
    tests = () if is_universal else tuple(_test(vr, each) for each in alternatives)
    return Key(keyword, text, is_universal, exact, rules.empty_matches and keyword in REQUIRED, tests)


def wild_card(pattern: str) -> Test:
    """Test of whole texts against a pattern, in which "*" is any run of characters and "?" any one (C.2.2.2.4).

    The pieces between the asterisks are found one after the other, each as far to the left as it occurs: no choice is
    ever taken back, so n characters take O(n m / 64) steps for a pattern of m.
    """
    head, *rest = pattern.split("*")
    if not rest:
        return lambda text: len(text) == len(head) and _is_at(head, text, 0)
    *middle, tail = rest
    searches = [_search(piece) for piece in middle if piece]

    def test(text: str) -> bool:
        start, end = len(head), len(text) - len(tail)
        if end < start or not _is_at(head, text, 0) or not _is_at(tail, text, end):
            return False
        for search in searches:
            start = search(text, start, end)
            if start < 0:
                return False
        return True

    return test


def _is_universal(vr: VR, value: str) -> bool:
    """True for a value that is empty but for asterisks; trailing delimiters of a name say nothing (PS3.5 6.2.1.1)."""
    if vr == VR.PN:
        return all(group.rstrip("^ ").strip("* ") == "" for group in value.split("="))
    return value.strip("* ") == ""


def _is_pattern(vr: VR, value: str) -> bool:
    """True for a value that takes more than one comparison to test."""
    return vr == VR.PN or vr in RANGE_VRS or (vr in WILD_CARD_VRS and not {*"*?"}.isdisjoint(value))


def _test(vr: VR, values: Sequence[str]) -> Test:
    if vr == VR.PN:
        return _name_test(values)
    if vr in RANGE_VRS:
        return _any([_moment_test(value) for value in values])
    if vr in NUMBER_VRS:
        numbers = {_number("" if value == EMPTY else value) for value in values}
        return lambda stored: _number(stored) in numbers
    if vr != VR.CS:
        return _text_test(vr, values)
    capitals = _text_test(vr, [value for value in values if value == value.upper()])
    mixed = _text_test(vr, [value for value in values if value != value.upper()])
    return lambda stored: capitals(stored.upper()) or mixed(stored)  # VR CS has capitals only (PS3.5 section 6.2)


def _any(tests: Sequence[Test]) -> Test:
    return lambda stored: any(test(stored) for test in tests)


def _text_test(vr: VR, values: Sequence[str]) -> Test:
    exact = {"" if value == EMPTY else value for value in values if not _is_pattern(vr, value)}
    patterns = [wild_card(value) for value in values if _is_pattern(vr, value)]

    def test(stored: str) -> bool:
        text = stored.strip(PADDING)
        return text in exact or any(pattern(text) for pattern in patterns)

    return test


def _moment_test(value: str) -> Test:
    """Test of dates or times: a range, both ends included and each may be open (C.2.2.2.5), or a single value.

    A short time stands for all of it, be it an end, a single value or stored: 10 is 10:00:00 to 10:59:59.
    """
    if value == EMPTY:
        return lambda stored: stored.strip(PADDING) == ""
    first, *rest = (digits(part) for part in value.split("-", 1))
    if not rest:
        return lambda stored: first != "" and digits(stored).startswith(first)
    last = rest[0]

    def within(stored: str) -> bool:
        moment = digits(stored)
        return moment.isdigit() and moment >= first[: len(moment)] and (last == "" or moment[: len(last)] <= last)

    return within


def _combined(date: str, time: str) -> str:
    """Range of moments from ranges of dates and times of the same form, "" if they are not (C.2.2.2.5.3)."""
    ends = [[digits(end) for end in text.split("-")] for text in (date, time)]
    (first_day, *last_days), (first_time, *last_times) = ends
    if len(last_days) != 1 or len(last_times) != 1:
        return ""
    pairs = [(first_day, first_time), (last_days[0], last_times[0])]
    if not any(day for day, _ in pairs) or not all(
        (day == "") == (time == "") and len(day) in (0, DAY_DIGITS) and (day + time).isdigit() == (day != "")
        for day, time in pairs
    ):
        return ""
    return "-".join(day + time for day, time in pairs)


def _number(text: str) -> float | str:
    """Value of an IS, DS or US, or the text itself where that is no number."""
    stripped = text.strip(PADDING)
    return float(stripped) if NUMBER.fullmatch(stripped) else stripped


def _name_test(values: Sequence[str]) -> Test:
    """Test of names, without regard to case or accents.

    One component group of the key matches the same group or, where it is the only one, any group.
    """
    keys = [[_group_test(group) for group in value.split("=")] for value in values if value != EMPTY]
    may_be_empty = EMPTY in values

    def test(stored: str) -> bool:
        groups = folded_groups(stored)
        return (may_be_empty and not any(groups)) or any(_is_named(key, groups) for key in keys)

    return test


def _is_named(key: Sequence[Test], groups: Sequence[str]) -> bool:
    if len(key) == 1:
        return any(map(key[0], groups))
    padded = [*groups, *[""] * (len(key) - len(groups))]
    return all(test(group) for test, group in zip(key, padded, strict=False))


def _group_test(key: str) -> Test:
    """Test of one component group, from which trailing delimiters are dropped as they are from the key.

    Trailing delimiters are insignificant on both sides, and "*" matches nothing too: SMITH^* is SMITH as well as
    SMITH^JOHN. So a trailing run of delimiters and asterisks may be left out, or be cut after its first asterisk.
    """
    plain = folded_group(key)
    if plain.strip("*") == "":
        return lambda _: True
    stem = plain.rstrip("^*")
    run = plain[len(stem) :]
    if "*" not in run:
        return wild_card(stem)
    longer = wild_card(stem + run[: run.index("*") + 1])
    return _any([longer, wild_card(stem)]) if "^" in run else longer


def _is_at(piece: str, text: str, start: int) -> bool:
    """True if a piece of a pattern, without asterisks, matches the text from `start` on."""
    if "?" not in piece:
        return text.startswith(piece, start)
    there = text[start : start + len(piece)]
    return len(there) == len(piece) and all(wanted in ("?", char) for wanted, char in zip(piece, there, strict=True))


def _search(piece: str) -> Callable[[str, int, int], int]:
    """Search for a piece of a pattern within text[start:end]: the index behind its first occurrence, or -1."""
    if "?" not in piece:
        return lambda text, start, end: found + len(piece) if (found := text.find(piece, start, end)) >= 0 else -1
    anywhere = sum(1 << index for index, char in enumerate(piece) if char == "?")
    at = {char: anywhere | sum(1 << i for i, c in enumerate(piece) if c == char) for char in set(piece)}
    last = 1 << (len(piece) - 1)

    def search(text: str, start: int, end: int) -> int:
        state = 0  # bit i: the piece up to its character i ends here (Baeza-Yates and Gonnet, CACM 1992)
        for index in range(start, end):
            state = (state << 1 | 1) & at.get(text[index], anywhere)
            if state & last:
                return index + 1
        return -1

    return search
