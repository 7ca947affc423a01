"""A matcher of C-FIND written from PS3.4 C.2.2.2 and the conformance statement, over plain records: slow and obvious.

It shares no code with the node but the table of attributes.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest

from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword

from node.dicom.hierarchy import LEVEL_OF, REQUIRED, RETURN_ONLY
from node.query.rules import QueryRules
from storage.record import LEVELS, Level, Record

PAD = "\x01"
"""A delimiter that a name does not have: trailing ones say nothing (PS3.5 6.2.1.1)."""
WILD = {"AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"}
SEVERAL = {"AE", "AS", "AT", "CS", "LO", "PN", "SH", "UC"}
PRECISION = 20
COUNTED = {"Studies": Level.STUDY, "Series": Level.SERIES, "Instances": Level.IMAGE}


def found(records: Sequence[Record], level: Level, keys: Mapping[str, str], rules: QueryRules) -> dict[str, Record]:
    """Entities of a level that match, by unique key, each with one record of it."""
    entities = {record.uids[level]: record for record in records}
    return {uid: record for uid, record in entities.items() if is_match(records, record, keys, rules)}


def is_match(records: Sequence[Record], record: Record, keys: Mapping[str, str], rules: QueryRules) -> bool:
    """True if the entity of a record matches every key."""
    keys = {keyword: key for keyword, key in keys.items() if keyword not in RETURN_ONLY}
    together = [(d, t) for d, t in (("StudyDate", "StudyTime"), ("SeriesDate", "SeriesTime")) if is_one(keys, d, t)]
    if rules.combines_date_time:
        for date, time in together:
            stored = value(records, record, date), value(records, record, time)
            if stored[0] and not is_within(*stored, keys[date], keys[time]):
                return False
            keys = {keyword: key for keyword, key in keys.items() if keyword != time}
    return all(accepts(keyword, key, value(records, record, keyword), rules) for keyword, key in keys.items())


def value(records: Sequence[Record], record: Record, keyword: str) -> str:
    """Value of an attribute, stored or computed over all records."""
    level = LEVEL_OF[keyword]
    inside = [one for one in records if one.uids[level] == record.uids[level]]
    if keyword in ("ModalitiesInStudy", "SOPClassesInStudy"):
        source = "Modality" if keyword == "ModalitiesInStudy" else "SOPClassUID"
        return "\\".join(sorted({one.attributes[LEVEL_OF[source]].get(source, "") for one in inside} - {""}))
    if "Related" in keyword:
        return str(len({one.uids[COUNTED[keyword.partition("Related")[2]]] for one in inside}))
    return record.attributes[level].get(keyword, "")


def accepts(keyword: str, key: str, stored: str, rules: QueryRules) -> bool:
    """True if a stored value matches a key."""
    vr = dictionary_VR(tag_for_keyword(keyword) or 0)
    wanted = [text for part in key.split("\\") if (text := part.strip(" \0"))]
    if all(is_universal(vr, one) for one in wanted) or (rules.empty_matches and keyword in REQUIRED and not stored):
        return True
    several = vr in SEVERAL and dictionary_VM(tag_for_keyword(keyword) or 0) != "1"
    enough: Callable[..., bool] = all if rules.matches_all_values and several else any
    return enough(any(matches(vr, one, each) for each in stored.split("\\")) for one in wanted)


def is_universal(vr: str, text: str) -> bool:
    """True for a key without a condition."""
    if vr == "PN":
        return all(group.rstrip("^ ").strip("* ") == "" for group in text.split("="))
    return text.strip("* ") == ""


def matches(vr: str, key: str, stored: str) -> bool:
    """True if one stored value matches one value of a key."""
    stored = stored.strip(" \0")
    if vr == "PN":
        return is_named(key, stored)
    if key == '""':
        return stored == ""
    if vr in ("DA", "TM"):
        return is_at(key, plain(stored))
    if vr in ("IS", "US"):
        return stored == key or (is_number(stored) and is_number(key) and int(stored) == int(key))
    if vr == "CS" and key == key.upper():
        stored = stored.upper()
    return wild(key, stored) if vr in WILD else key == stored


def is_number(text: str) -> bool:
    """True for an IS."""
    return text.removeprefix("+").removeprefix("-").isdecimal() and text.isascii()


def plain(moment: str) -> str:
    """Date or time without the delimiters of ACR-NEMA."""
    return "".join(character for character in moment if character not in ".: ")


def is_at(key: str, stored: str) -> bool:
    """True if a date or time lies within a range, or begins with a single value."""
    first, dash, last = map(plain, key.partition("-"))
    if not dash:
        return first != "" and stored.startswith(first)
    low, high = stored.ljust(PRECISION, "0"), stored.ljust(PRECISION, "9")
    return stored.isdigit() and high >= first.ljust(PRECISION, "0") and (not last or low <= last.ljust(PRECISION, "9"))


def is_one(keys: Mapping[str, str], date: str, time: str) -> bool:
    """True if a date and a time have ranges of one form (C.2.2.2.5.3)."""
    days, times = (keys.get(keyword, "").split("-") for keyword in (date, time))
    if len(days) != 2 or len(times) != 2 or not any(map(plain, days)):
        return False
    pairs = [(plain(day), plain(moment)) for day, moment in zip(days, times, strict=True)]
    return all((not d and not t) or (len(d) == 8 and d.isdigit() and t.isdigit()) for d, t in pairs)


def is_within(dates: str, times: str, date_key: str, time_key: str) -> bool:
    """True if one stored moment lies within the range that both keys are."""
    ends = [plain(d) + plain(t) for d, t in zip(date_key.split("-"), time_key.split("-"), strict=True)]
    stored = [
        plain(date.strip(" \0")) + (plain(time.strip(" \0")) if len(plain(date.strip(" \0"))) == 8 else "")
        for date, time in zip_longest(dates.split("\\"), times.split("\\"), fillvalue="")
    ]
    return any(is_at("-".join(ends), moment) for moment in stored)


def wild(pattern: str, text: str) -> bool:
    """True if a pattern matches, one character after the other (C.2.2.2.4); a pad is matched by "^" and "*" alone."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return wild(pattern[1:], text) or (text != "" and wild(pattern, text[1:]))
    if not text:
        return False
    here = pattern[0] == text[0] or (pattern[0] == "?" and text[0] != PAD) or (pattern[0] == "^" and text[0] == PAD)
    return here and wild(pattern[1:], text[1:])


def is_named(key: str, stored: str) -> bool:
    """True if a name matches by component groups, without regard to case and accents."""
    groups = [bare(group) for group in stored.split("=")]
    if key == '""':
        return not any(groups)
    wanted = [bare(group) for group in key.split("=")]
    if len(wanted) == 1:
        return any(is_group(wanted[0], group) for group in groups)
    groups += [""] * (len(wanted) - len(groups))
    return all(is_group(one, group) for one, group in zip(wanted, groups, strict=False))


def is_group(key: str, stored: str) -> bool:
    """True if a component group matches, with as many trailing delimiters as the key may want."""
    return key.strip("*") == "" or any(wild(key, stored + PAD * more) for more in range(7))


def bare(group: str) -> str:
    """Component group in small letters, without accents, needless spaces and trailing delimiters."""
    letters = unicodedata.normalize("NFKD", group)
    letters = unicodedata.normalize("NFC", "".join(one for one in letters if not unicodedata.combining(one)))
    return "^".join(" ".join(part.split()) for part in letters.casefold().split("^")).rstrip("^")


def returned(level: Level, keywords: Sequence[str]) -> set[str]:
    """Keywords of the attributes that a response holds."""
    return {keyword for keyword in keywords if LEVELS.index(LEVEL_OF[keyword]) <= LEVELS.index(level)}
