"""The calendar of a job: nights that end the next morning, weekends, holidays, and the clock's own jumps."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from node.options.pull import PullJob
from node.pull.politeness.calendar import Calendar

BERLIN = ZoneInfo("Europe/Berlin")
NIGHTS = Calendar.of(
    PullJob(
        source="PACS",
        open_hours=("Mon-Fri 19:00-06:00", "Sat-Sun 00:00-24:00"),
        holidays=(date(2026, 12, 24),),
        time_zone="Europe/Berlin",
    )
)


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-30 18:59", False),
        ("2026-11-30 19:00", True),
        ("2026-12-01 05:59", True),
        ("2026-12-01 06:00", False),
        ("2026-12-05 12:00", True),
        ("2026-12-07 00:30", False),  # the night before was that of a Sunday, which ends at midnight
        ("2026-12-24 12:00", True),
        ("2026-12-25 12:00", False),
    ],
)
def test_the_archive_is_asked_at_night_at_weekends_and_on_holidays(moment: str, is_open: bool) -> None:
    assert NIGHTS.is_open(datetime.fromisoformat(moment).replace(tzinfo=BERLIN)) is is_open


def test_the_next_opening_is_told_to_the_minute_and_a_calendar_without_hours_is_always_open() -> None:
    noon = datetime(2026, 12, 1, 12, tzinfo=BERLIN)

    assert NIGHTS.opens_at(noon) == datetime(2026, 12, 1, 19, tzinfo=BERLIN)
    assert Calendar.of(PullJob(source="PACS")).is_open(noon)


def test_every_minute_of_the_night_when_clocks_change_has_an_answer() -> None:
    start = datetime(2026, 10, 23, 22, tzinfo=UTC)  # a Saturday in Berlin, and the night in which an hour comes twice
    minutes = [start + timedelta(minutes=minute) for minute in range(60 * 60)]

    closed = [moment.astimezone(BERLIN) for moment in minutes if not NIGHTS.is_open(moment)]

    assert {moment.date().isoformat() for moment in closed} == {"2026-10-26"}
    assert {moment.hour for moment in closed} == set(range(11))


@pytest.mark.parametrize("hours", ["19:00-06:00", "Mon 19-06", "Funday 10:00-11:00"])
def test_hours_that_cannot_be_read_are_refused_with_an_example(hours: str) -> None:
    with pytest.raises(ValidationError, match="write one as Mon-Fri"):
        PullJob(source="PACS", open_hours=(hours,))
