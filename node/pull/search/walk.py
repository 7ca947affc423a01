"""The walk through an archive by ranges of study dates, newest first: which query comes next, and when one is halved.

An archive may cut a list of matches short and still say Success. So no count is believed before it is shown that the
archive returns as many: a window with more studies than ever shown is asked again in two halves. If the halves have
as many together, and neither alone has, the archive's limit is no lower; if they have more, the limit is known.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final, Self

from node.pull.search.windows import KeyRange, Window

SHOWN_AT_FIRST: Final = 21
"""No archive is known to return fewer matches of a larger number."""
MAX_STEP_DAYS: Final = 366
END_OF_TIME: Final = date(9999, 12, 31)


@dataclass(frozen=True, slots=True)
class Probe:
    """A window on the list of those to ask for.

    Attributes
    ----------
    whole, count
        The window whose count it verifies with its sibling, and that count; None if it verifies nothing.
    sibling
        Count of the later half and whether that was cut, once it is known.
    """

    window: Window
    whole: Window | None = None
    count: int = 0
    sibling: tuple[int, bool] | None = None

    def to_json(self) -> list[Any]:
        """Pack for JSON."""
        return [self.window.to_json(), self.whole and self.whole.to_json(), self.count, self.sibling]

    @classmethod
    def from_json(cls, value: list[Any]) -> Self:
        """Undo `to_json`."""
        whole, sibling = value[1] and Window.from_json(value[1]), value[3] and (value[3][0], value[3][1])
        return cls(Window.from_json(value[0]), whole or None, value[2], sibling or None)


@dataclass(frozen=True, slots=True)
class ArchiveWalk:
    """State of the search of an archive: `query` gives the next query, `after` the state once it is answered.

    Attributes
    ----------
    first
        Earliest date to search.
    newest
        Latest date that is neither searched nor on the list.
    step_days
        Size of the next window taken from there.
    probes
        Windows to ask for before that, the next one last.
    key_texts
        Ranges of Patient ID to ask for after all dates, as (text, is_whole), the next one last.
    shown
        Largest number of matches that the archive has been shown to return.
    limit
        Number of matches at which it is known to cut; None if it was never seen to.
    target
        Number of studies for which the size of windows is chosen.
    """

    first: date
    newest: date
    step_days: int = 1
    probes: tuple[Probe, ...] = ()
    key_texts: tuple[tuple[str, bool], ...] = ()
    shown: int = SHOWN_AT_FIRST
    limit: int | None = None
    target: int = 200

    @classmethod
    def of(cls, first: date, last: date | None, today: date, *, undated: bool, target: int = 200) -> Self:
        """Begin a walk.

        Parameters
        ----------
        last
            Latest date to search; None for no limit: dates in the future are searched, too.
        undated
            True to search by Patient ID, too, after all dates.
        """
        newest = today if last is None else last
        future = (Probe(Window(today + timedelta(days=1), END_OF_TIME)),) if last is None else ()
        texts = tuple((one.text, one.is_whole) for one in reversed(KeyRange("").parts())) if undated else ()
        return cls(first, newest, 1, future, texts, target=target)

    @property
    def query(self) -> Window | KeyRange | None:
        """What to ask for next; None at the end of the walk."""
        if self.probes:
            return self.probes[-1].window
        if self.newest >= self.first:
            days = min(self.step_days, (self.newest - self.first).days + 1)
            return Window(self.newest - timedelta(days=days - 1), self.newest)
        return KeyRange(*self.key_texts[-1]) if self.key_texts else None

    def after(self, count: int, *, is_cut: bool) -> "ArchiveWalk":
        """Return the walk after the answer to `query`.

        Parameters
        ----------
        count
            Number of matches.
        is_cut
            True if there are more for certain: the archive says so, or refused, or we stopped it.
        """
        asked = self.query
        if isinstance(asked, KeyRange):
            return self._after_keys(asked, count, is_cut)
        assert asked is not None, "the walk has not ended"
        if not self.probes:
            return self._stepped(asked, count, is_cut)._judged(asked, count, is_cut)
        probe, rest = self.probes[-1], replace(self, probes=self.probes[:-1])
        if probe.whole is None:
            return rest._judged(asked, count, is_cut)
        if probe.sibling is None:  # the later half: the earlier one is next
            earlier = replace(rest.probes[-1], sibling=(count, is_cut))
            return replace(rest, probes=(*rest.probes[:-1], earlier))
        return rest._verified(probe, count, is_cut)

    def _stepped(self, window: Window, count: int, is_cut: bool) -> "ArchiveWalk":
        """Go on before a window, with larger steps where studies are few."""
        step = self.step_days
        if is_cut or count > self.target:
            step = max(1, step // 2)
        elif count < self.target // 2:
            step = min(2 * step, MAX_STEP_DAYS)
        return replace(self, newest=window.first - timedelta(days=1), step_days=step)

    def _judged(self, window: Window, count: int, is_cut: bool) -> "ArchiveWalk":
        """Believe a count, or put the halves of its window on the list."""
        halves = window.halves()
        if halves is None or (count < self._believed and not is_cut):
            return self
        later, earlier = halves
        if is_cut or self.limit is not None:
            return replace(self, probes=(*self.probes, Probe(earlier), Probe(later)))
        verifying = Probe(earlier, window, count), Probe(later, window, count)
        return replace(self, probes=(*self.probes, *verifying))

    def _verified(self, earlier: Probe, count: int, is_cut: bool) -> "ArchiveWalk":
        """Compare two halves with their whole, and judge each half."""
        assert earlier.whole is not None
        assert earlier.sibling is not None
        later_count, later_cut = earlier.sibling
        total, walk = later_count + count, self
        if not (is_cut or later_cut) and total == earlier.count > max(later_count, count):
            return replace(self, shown=max(self.shown, total))
        if total > earlier.count >= self.shown:
            walk = replace(self, limit=min(self.limit or earlier.count, earlier.count))
        halves = earlier.whole.halves()
        assert halves is not None
        return walk._judged(earlier.window, count, is_cut)._judged(halves[0], later_count, later_cut)

    def _after_keys(self, asked: KeyRange, count: int, is_cut: bool) -> "ArchiveWalk":
        """Divide a range of keys whose count is not believed; there is nothing to verify it by but its parts."""
        parts = asked.parts() if is_cut or count >= self._believed else []
        texts = [(part.text, part.is_whole) for part in reversed(parts)]
        return replace(self, key_texts=(*self.key_texts[:-1], *texts))

    @property
    def _believed(self) -> int:
        """Number of matches below which a count is whole: the archive has returned as many."""
        return max(self.shown, self.limit or 0)

    def to_json(self) -> dict[str, Any]:
        """Pack for JSON."""
        values = {name: getattr(self, name) for name in self.__slots__}
        days = {"first": self.first.isoformat(), "newest": self.newest.isoformat()}
        return values | days | {"probes": [probe.to_json() for probe in self.probes]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Undo `to_json`."""
        return cls(**{
            **value,
            "first": date.fromisoformat(value["first"]),
            "newest": date.fromisoformat(value["newest"]),
            "probes": tuple(map(Probe.from_json, value["probes"])),
            "key_texts": tuple((text, bool(whole)) for text, whole in value["key_texts"]),
        })  # fmt: skip
