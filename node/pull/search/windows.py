"""Ranges of studies that one C-FIND asks for: by date and time, or by the start of a key."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, Self

LAST_SECOND: Final = 86_399
ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_./ :+#^=@$&()!,;<>[]{}|~%'\"`"
"""Characters that an identifier may go on with; `*`, `?` and the backslash have a meaning in a key."""


@dataclass(frozen=True, slots=True)
class Window:
    """Studies between two dates, both included, or between two times of one date.

    Attributes
    ----------
    first_s, last_s
        Seconds since midnight, both included; other than the whole day only where both dates are the same.
    """

    first: date
    last: date
    first_s: int = 0
    last_s: int = LAST_SECOND

    @property
    def days(self) -> int:
        """Number of dates."""
        return (self.last - self.first).days + 1

    @property
    def keys(self) -> dict[str, str]:
        """Matching keys of a C-FIND, by keyword (PS3.4 C.2.2.2.5)."""
        first, last = f"{self.first:%Y%m%d}".zfill(8), f"{self.last:%Y%m%d}".zfill(8)
        keys = {"StudyDate": first if first == last else f"{first}-{last}"}
        if (self.first_s, self.last_s) != (0, LAST_SECOND):
            keys["StudyTime"] = f"{_clock(self.first_s)}-{_clock(self.last_s)}.999999"
        return keys

    def halves(self) -> tuple["Window", "Window"] | None:
        """The later and the earlier half, None if it is a single second."""
        if self.days > 1:
            middle = self.first + timedelta(days=(self.days - 1) // 2)
            return Window(middle + timedelta(days=1), self.last), Window(self.first, middle)
        if self.first_s == self.last_s:
            return None
        second = (self.first_s + self.last_s) // 2
        later = Window(self.first, self.last, second + 1, self.last_s)
        return later, Window(self.first, self.last, self.first_s, second)

    def to_json(self) -> list[Any]:
        """Pack for JSON."""
        return [self.first.isoformat(), self.last.isoformat(), self.first_s, self.last_s]

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> Self:
        """Undo `to_json`."""
        return cls(date.fromisoformat(value[0]), date.fromisoformat(value[1]), *value[2:])


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Studies whose key begins with a text, or is that text.

    Attributes
    ----------
    is_whole
        True if the key must be the text.
    """

    text: str
    is_whole: bool = False
    keyword: str = "PatientID"

    @property
    def keys(self) -> dict[str, str]:
        """Matching keys of a C-FIND, by keyword (PS3.4 C.2.2.2.4)."""
        return {self.keyword: self.text if self.is_whole else f"{self.text}*"}

    def parts(self) -> list["KeyRange"]:
        """Ranges that have the same studies together; none if it cannot be divided."""
        if self.is_whole:
            return []
        whole = [KeyRange(self.text, True, self.keyword)] if self.text.strip() else []
        further = ALPHABET if self.text else ALPHABET.replace(" ", "")  # leading spaces are not significant
        return [*whole, *(KeyRange(self.text + character, False, self.keyword) for character in further)]


def _clock(second: int) -> str:
    return f"{second // 3600:02d}{second // 60 % 60:02d}{second % 60:02d}"
