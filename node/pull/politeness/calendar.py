"""When an archive may be asked: spans of the week, and whole days, in one time zone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from node.options.pull import DAYS, OPEN_HOURS, PullJob

DAY_MINUTES: Final = 24 * 60
MAX_LOOK_AHEAD: Final = timedelta(days=8)


@dataclass(frozen=True, slots=True)
class Calendar:
    """Spans of the week in which the archive may be asked.

    Attributes
    ----------
    spans
        Weekday (0 is Monday), first minute and the minute after the last, which is in the next day where it is no
        later; none for always.
    holidays
        Dates on which it may be asked all day.
    """

    zone: ZoneInfo
    spans: tuple[tuple[int, int, int], ...] = ()
    holidays: frozenset[date] = frozenset()

    @classmethod
    def of(cls, job: PullJob) -> "Calendar":
        """Return the calendar of a job."""
        spans = tuple(span for text in job.open_hours for span in _spans(text))
        return cls(ZoneInfo(job.time_zone), spans, frozenset(job.holidays))

    def is_open(self, now: datetime) -> bool:
        """True if the archive may be asked.

        Parameters
        ----------
        now
            With a time zone.
        """
        here = now.astimezone(self.zone)
        if not self.spans or here.date() in self.holidays:
            return True
        minute, yesterday = here.hour * 60 + here.minute, (here.weekday() - 1) % 7
        return any(
            (day == here.weekday() and first <= minute < end) or (day == yesterday and minute + DAY_MINUTES < end)
            for day, first, end in self.spans
        )

    def opens_at(self, now: datetime) -> datetime | None:
        """When the archive may be asked next, to the minute; None if that is more than a week away."""
        moment = now.astimezone(self.zone).replace(second=0, microsecond=0)
        limit = now + MAX_LOOK_AHEAD
        while not self.is_open(moment):
            moment = (moment.astimezone(ZoneInfo("UTC")) + timedelta(minutes=1)).astimezone(self.zone)
            if moment > limit:
                return None
        return max(moment, now)

    def day(self, now: datetime) -> date:
        """Date in the time zone of the calendar."""
        return now.astimezone(self.zone).date()

    def at(self, day: date, clock: str) -> datetime:
        """Moment of a date at a time of day, written as HH:MM."""
        return datetime.combine(day, time.fromisoformat(clock), self.zone)


def _spans(text: str) -> Sequence[tuple[int, int, int]]:
    match = OPEN_HOURS.fullmatch(text)
    assert match is not None, "the settings were checked"
    first_day, last_day = DAYS.index(match[1]), DAYS.index(match[3] or match[1])
    days = [(first_day + further) % 7 for further in range((last_day - first_day) % 7 + 1)]
    first, end = int(match[4]) * 60 + int(match[5]), int(match[6]) * 60 + int(match[7])
    return [(day, first, end if end > first else end + DAY_MINUTES) for day in days]
