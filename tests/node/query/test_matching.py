"""Matching of C-FIND keys, against references written from the standard's words alone."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.dicom.hierarchy import tag_of
from node.errors import Refusal, Status
from node.query.matching import MAX_PATTERN_CHARACTERS, MAX_PATTERNS, read_key, wild_card
from storage.folding import MAX_STORED_CHARACTERS

MICROSECONDS = (3600_000_000, 60_000_000, 1_000_000)
TEXT = st.text("aB*?.+[(^ ", max_size=6)
DAYS = st.dates(date(1990, 1, 1), date(1990, 3, 31))


@st.composite
def times(draw: st.DrawFn) -> str:
    """Values of VR TM, of any precision."""
    parts = [draw(st.integers(0, most)) for most in (23, 59, 59)][: draw(st.integers(1, 3))]
    text = "".join(f"{part:02d}" for part in parts)
    fraction = draw(st.text("0159", min_size=1, max_size=6)) if len(parts) == 3 and draw(st.booleans()) else ""
    return f"{text}.{fraction}" if fraction else text


def matches(keyword: str, key: str, stored: str) -> bool:
    return read_key(keyword, key).matches(stored)


def wild(pattern: str, text: str) -> bool:
    """Whether a pattern matches, one character after the other (PS3.4 C.2.2.2.4)."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return wild(pattern[1:], text) or (text != "" and wild(pattern, text[1:]))
    return text != "" and pattern[0] in ("?", text[0]) and wild(pattern[1:], text[1:])


@given(
    pattern=st.lists(st.sampled_from(["a", "b", "?", "*", "ab", "a?", "**"]), max_size=7).map("".join),
    text=st.text("ab", max_size=9),
)
def test_wild_cards_match_what_trying_every_choice_matches(pattern: str, text: str) -> None:
    assert wild_card(pattern)(text) == wild(pattern, text)


@pytest.mark.parametrize("keyword", ["PatientName", "StudyDescription", "Modality", "AccessionNumber", "ImageType"])
@pytest.mark.parametrize(
    "key",
    [
        "*" * 40 + "x",
        "*a" * 500 + "x",
        "*a?" * 300 + "x",
        "*" + "a?" * 500 + "b",
        "\\".join(["*a?a?a?x"] * MAX_PATTERNS),
    ],
)
def test_no_pattern_takes_longer_than_its_length_times_that_of_what_is_stored(keyword: str, key: str) -> None:
    """With backtracking none of these would ever end."""
    assert not matches(keyword, key, "a" * (MAX_STORED_CHARACTERS - 1))


@pytest.mark.parametrize("keyword", ["PatientName", "StudyDescription", "StudyDate"])
def test_more_or_longer_patterns_than_are_tested_in_time_are_refused_and_the_key_named(keyword: str) -> None:
    pattern = "2020-" if keyword == "StudyDate" else "a*"

    for key in ("\\".join([pattern] * (MAX_PATTERNS + 1)), pattern * MAX_PATTERN_CHARACTERS):
        with pytest.raises(Refusal) as refused:
            read_key(keyword, key)
        assert (refused.value.status, refused.value.offending) == (Status.DATA_SET_MISMATCH, tag_of(keyword))


def test_a_long_list_of_uids_is_no_pattern() -> None:
    uids = [f"2.25.{number}" for number in range(20_000)]

    key = read_key("StudyInstanceUID", "\\".join(uids))

    assert key.exact == frozenset(uids)
    assert key.matches("2.25.19999")
    assert not key.matches("2.25.20000")


def span(text: str) -> tuple[int, int]:
    """First and last microsecond that a TM value stands for."""
    whole, _, fraction = text.partition(".")
    parts = [int(whole[at : at + 2]) for at in range(0, len(whole), 2)]
    start = sum(part * unit for part, unit in zip(parts, MICROSECONDS, strict=False))
    if fraction:
        return start + int(fraction.ljust(6, "0")), start + int(fraction.ljust(6, "9"))
    return start, start + MICROSECONDS[len(parts) - 1] - 1


@given(key=TEXT, stored=TEXT)
def test_text_matches_as_the_wild_cards_say_letter_by_letter(key: str, stored: str) -> None:
    expected = key.strip("* ") == "" or wild(key.strip(), stored.strip())

    assert matches("StudyDescription", key, stored) == expected


@given(
    key=TEXT.filter(lambda key: not read_key("ImageType", key).is_universal),
    stored=st.lists(TEXT, min_size=1, max_size=3),
)
def test_one_of_several_stored_values_is_enough(key: str, stored: list[str]) -> None:
    found = matches("ImageType", key, "\\".join(stored))

    assert found == any(matches("ImageType", key, one) for one in stored)


@given(
    keys=st.lists(st.sampled_from(["1.2", "1.2.3", "1.20", "2.25.7"]), min_size=1, max_size=4),
    stored=st.sampled_from(["1.2", "1.2.3", "1.2.30", "2.25.7"]),
)
def test_a_list_of_uids_matches_each_of_them_and_no_other(keys: list[str], stored: str) -> None:
    assert matches("SeriesInstanceUID", "\\".join(keys), stored) == (stored in keys)


@given(stored=DAYS, ends=st.tuples(st.none() | DAYS, st.none() | DAYS).filter(any))
def test_dates_match_between_the_ends_of_a_range_both_included(
    stored: date, ends: tuple[date | None, date | None]
) -> None:
    first, last = ends
    key = "-".join(f"{end:%Y%m%d}" if end else "" for end in ends)

    found = matches("StudyDate", key, f"{stored:%Y%m%d}")

    assert found == ((first or stored) <= stored <= (last or stored))


@given(stored=times(), ends=st.tuples(st.just("") | times(), st.just("") | times()).filter(any))
def test_times_match_a_range_if_what_they_stand_for_touches_it(stored: str, ends: tuple[str, str]) -> None:
    first = span(ends[0])[0] if ends[0] else 0
    last = span(ends[1])[1] if ends[1] else 24 * MICROSECONDS[0]

    found = matches("StudyTime", "-".join(ends), stored)

    assert found == (span(stored)[0] <= last and span(stored)[1] >= first)


@given(stored=times(), key=times())
def test_a_single_time_matches_what_lies_within_its_precision(stored: str, key: str) -> None:
    within = span(key)[0] <= span(stored)[0] and span(stored)[1] <= span(key)[1]

    assert matches("StudyTime", key, stored) == within


@given(number=st.integers(0, 10**6), zeros=st.integers(0, 3), other=st.integers(0, 10**6))
def test_numbers_match_by_value_however_they_are_written(number: int, zeros: int, other: int) -> None:
    assert matches("SeriesNumber", f" +{'0' * zeros}{number} ", f"{number}")
    assert matches("Rows", f"{number}", f"{other}") == (number == other)


@given(
    family=st.text("abcéüñ", min_size=1, max_size=5),
    given_name=st.text("abcéüñ", min_size=1, max_size=5),
    change=st.sampled_from([str.upper, str.title, lambda name: name.translate(str.maketrans("éüñ", "eun"))]),
)
def test_names_match_without_regard_to_case_and_accents(family: str, given_name: str, change: object) -> None:
    assert callable(change)

    assert matches("PatientName", change(f"{family}^{given_name}"), f"{family}^{given_name}")
    assert not matches("PatientName", change(f"{family}^{given_name}"), f"{family}x^{given_name}")


@pytest.mark.parametrize("key", ["^", "^^^^", "=", "*=^", "^\\*"])
@pytest.mark.parametrize("stored", ["", "Doe^Jane", "Yamada^Tarou=山田^太郎"])
def test_a_name_of_delimiters_alone_is_no_name_and_matches_everything(key: str, stored: str) -> None:
    assert read_key("PatientName", key).is_universal
    assert matches("PatientName", key, stored)


@pytest.mark.parametrize("key", ["", " ", "*", "**", "* ", "\\", "*\\*"])
@pytest.mark.parametrize(
    "keyword", ["PatientName", "StudyDate", "StudyInstanceUID", "Modality", "SeriesNumber", "Rows"]
)
@pytest.mark.parametrize("stored", ["", "20200131", "any\\thing"])
def test_a_key_without_value_matches_everything(keyword: str, key: str, stored: str) -> None:
    assert matches(keyword, key, stored)


@pytest.mark.parametrize("keyword", ["PatientName", "StudyDate", "StudyTime", "AccessionNumber", "PatientAge"])
def test_two_quotation_marks_match_only_what_has_no_value(keyword: str) -> None:
    assert matches(keyword, '""', "")
    assert not matches(keyword, '""', "20200131")


@pytest.mark.parametrize(
    ("keyword", "key", "stored", "expected"),
    [
        ("Modality", "CT", "CT", True),
        ("Modality", "ct", "CT", False),
        ("Modality", "CT", "ct", True),
        ("Modality", "ct", "ct", True),
        ("Modality", "C*\\mr", "ct", True),
        ("Modality", " CT", "CT", True),
        ("Modality", "CT", " CT ", True),
        ("ModalitiesInStudy", "CT", "PT\\ ct", True),
        ("PatientSex", "F", " f", True),
        ("BodyPartExamined", "?HEST", " CHEST\0", True),
        ("AccessionNumber", "A1", " A1\0", True),
        ("StudyID", " 7 ", "7", True),
        ("InstanceNumber", "7", "1_0", False),
        ("InstanceNumber", "10", "1_0", False),
        ("SeriesNumber", "nan", "nan", True),
        ("StudyDate", "20200131 ", " 20200131\0", True),
        ("Modality", "CT\\MR", "MR", True),
        ("Modality", "CT\\MR", "US", False),
        ("ModalitiesInStudy", "CT", "CT\\PT", True),
        ("ModalitiesInStudy", "MR\\PT", "CT\\PT", True),
        ("ModalitiesInStudy", "MR\\US", "CT\\PT", False),
        ("ModalitiesInStudy", "C?", "PT\\CT", True),
        ("StudyDescription", "chest", "CHEST", False),
        ("StudyDescription", "CH*T", "CHEST\nAP\nT", True),
        ("AccessionNumber", "A1 ", "A1", True),
        ("AccessionNumber", "A.1", "A11", False),
        ("PatientAge", "0?5Y", "045Y", False),
        ("StudyInstanceUID", "1.2.*", "1.2.3", False),
        ("StudyInstanceUID", "1.2.3 ", "1.2.3", True),
        ("InstanceNumber", "1*", "12", False),
        ("StudyDate", "20200131", "2020.01.31", True),
        ("StudyDate", "20200101-20201231", "2020.01.31", True),
        ("StudyDate", "20200101 - 20201231", "20201231", True),
        ("StudyDate", "2020", "20200131", True),
        ("StudyDate", "20200131", "", False),
        ("StudyDate", "20200101-", "", False),
        ("StudyDate", "20200101-", "UNKNOWN", False),
        ("StudyDate", "-", "20200101", True),
        ("StudyTime", "10:15-11:00", "101530.250000", True),
        ("StudyTime", "101530", "101530.25", True),
        ("StudyTime", "101530.25", "101530", False),
        ("StudyTime", "09-10", "105959.999999", True),
        ("StudyTime", "09-10", "110000", False),
    ],
)
def test_single_values_lists_and_ranges_match_as_in_these_cases(
    keyword: str, key: str, stored: str, expected: bool
) -> None:
    assert matches(keyword, key, stored) == expected


@pytest.mark.parametrize(
    ("key", "stored", "expected"),
    [
        ("Doe^J*", "DOE^JANE", True),
        ("DOE", "Doe^Jane", False),
        ("doe^jane", "Doe^Jane^^Dr", False),
        ("doe^jane^^^", "Doe^Jane", True),
        ("doe^*", "Doe", True),
        ("doe^*", "Doe^^^^", True),
        ("doe^*", "Doe^Jane", True),
        ("doe^*", "Doeson^Jane", False),
        ("doe^^*", "Doe", True),
        ("doe^^*", "Doe^^Maria", True),
        ("doe^^*", "Doe^Jane", False),
        ("doe^*^*", "Doe^Jane^Maria", True),
        ("doe*^", "Doeson^Jane", True),
        ("doe^?", "Doe", False),
        ("doe^?*", "Doe^J", True),
        ("d?e^*=*", "Doe=山田", True),
        ("^*", "", True),
        ("^*", "^Jane", True),
        ("^*", "Doe", False),
        ("doe^jane", " Doe ^  Jane ^^", True),
        ("Jane", "^Jane", False),
        ("^Jane", "^Jane", True),
        ("O'Br?en^*", "o'brien^pat", True),
        ("STRASSE", "Straße", True),
        ("山田^太郎", "Yamada^Tarou=山田^太郎=やまだ^たろう", True),
        ("Yamada*", "Yamada^Tarou=山田^太郎=やまだ^たろう", True),
        ("=山田*", "Yamada^Tarou=山田^太郎", True),
        ("Yamada*=佐藤*", "Yamada^Tarou=山田^太郎", False),
        ("Yamada*=山田*=*", "Yamada^Tarou=山田^太郎", True),
        ("Yamada*=山田*=やまだ*", "Yamada^Tarou=山田^太郎", False),
        ("*=", "Yamada^Tarou=山田^太郎", True),
        ("김?수", "김희수", True),
        ("Doe^J*\\Roe^*", "Roe^Ann", True),
        ("Doe", "", False),
    ],
)
def test_names_match_by_component_group_as_in_these_cases(key: str, stored: str, expected: bool) -> None:
    assert matches("PatientName", key, stored) == expected


def test_days_around_a_leap_day_keep_their_order() -> None:
    days = [f"{date(2020, 2, 27) + timedelta(days=n):%Y%m%d}" for n in range(5)]

    assert [matches("StudyDate", f"{days[1]}-{days[3]}", day) for day in days] == [False, True, True, True, False]
