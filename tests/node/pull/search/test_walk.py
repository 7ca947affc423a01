"""The walk through an archive finds every study, whatever number of matches the archive cuts at."""

import json
import random
from dataclasses import dataclass
from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from node.pull.search.walk import ArchiveWalk
from node.pull.search.windows import KeyRange, Window

FIRST, LAST = date(2019, 12, 1), date(2021, 2, 3)


@dataclass(frozen=True)
class Filed:
    """A study of an archive: seconds are None if it has a date only, and the day if it has none at all."""

    number: int
    day: date | None
    second: int | None
    patient_id: str

    def is_in(self, asked: Window | KeyRange) -> bool:
        if isinstance(asked, KeyRange):
            return self.patient_id == asked.text if asked.is_whole else self.patient_id.startswith(asked.text)
        if self.day is None or not asked.first <= self.day <= asked.last:
            return False
        if "StudyTime" not in asked.keys:
            return True
        return self.second is not None and asked.first_s <= self.second <= asked.last_s


def answer(archive: list[Filed], asked: Window | KeyRange, limit: int, says_so: bool) -> tuple[list[Filed], bool]:
    """What the archive returns of its matches, and whether it says that it cut."""
    matches = [one for one in archive if one.is_in(asked)]
    return matches[:limit], says_so and len(matches) > limit


def find_all(
    archive: list[Filed], limit: int, *, undated: bool, says_so: bool = False
) -> tuple[set[int], int, ArchiveWalk]:
    """Numbers of the studies that a walk finds, how many queries it took, and the walk at its end."""
    walk = ArchiveWalk.of(FIRST, None, LAST, undated=undated)
    found, queries = set(), 0
    while (asked := walk.query) is not None:
        matches, is_cut = answer(archive, asked, limit, says_so)
        found |= {one.number for one in matches}
        walk = walk.after(len(matches), is_cut=is_cut)
        queries += 1
        if queries % 32 == 0:  # as after a restart
            walk = ArchiveWalk.from_json(json.loads(json.dumps(walk.to_json())))
    return found, queries, walk


days = st.dates(FIRST, LAST) | st.sampled_from([date(2020, 5, 5), date(2020, 5, 6), date(2031, 1, 1)])
seconds = st.integers(0, 86_399)


@given(st.lists(st.tuples(days, seconds, st.integers(1, 40)), max_size=12), st.integers(22, 60), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_dated_study_is_found_in_an_archive_that_cuts_silently(
    groups: list[tuple[date, int, int]], limit: int, says_so: bool
) -> None:
    spread = ((day, (second + 7 * further) % 86_400) for day, second, size in groups for further in range(size))
    archive = [Filed(number, day, second, f"P{number}") for number, (day, second) in enumerate(spread)]

    found, _, _ = find_all(archive, limit, undated=False, says_so=says_so)

    assert found == {one.number for one in archive}


@given(st.lists(st.tuples(st.none() | days, st.none() | seconds), min_size=1, max_size=150), st.integers(22, 60))
@settings(max_examples=12, deadline=None)
def test_studies_without_a_date_or_time_are_found_by_patient_id(
    when: list[tuple[date | None, int | None]], limit: int
) -> None:
    archive = [Filed(number, *one, f"{number * 7919 % 1000:04d}") for number, one in enumerate(when)]

    found, _, _ = find_all(archive, limit, undated=True)

    assert found == {one.number for one in archive}


def test_an_archive_that_does_not_cut_costs_few_queries() -> None:
    choose = random.Random(1)
    archive = [Filed(number, LAST - timedelta(days=choose.randrange(400)), number, "P") for number in range(10_000)]

    _, queries, walk = find_all(archive, limit=10**9, undated=False)

    assert walk.limit is None
    assert walk.shown >= 100
    assert queries < 200


def test_the_newest_studies_are_found_first() -> None:
    walk, asked_for = ArchiveWalk.of(FIRST, LAST, LAST, undated=False), []
    while isinstance(asked := walk.query, Window):
        asked_for.append(asked)
        walk = walk.after(0, is_cut=False)

    assert asked_for[0] == Window(LAST, LAST)
    assert [window.last for window in asked_for] == sorted((window.last for window in asked_for), reverse=True)
    assert asked_for[-1].first == FIRST
