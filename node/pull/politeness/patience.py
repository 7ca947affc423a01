"""How long to leave an archive alone that fails or has become slow."""

import math
import random
from collections.abc import Callable
from threading import Lock
from typing import Final

FIRST_PAUSE_S: Final = 1.0
LEARN: Final = 8
"""Responses after which the usual response time is known."""
RECENT: Final = 0.3
"""Weight of the latest response in the recent response time."""
DRIFT: Final = 0.02
"""Weight of a response in the usual response time, which follows an archive that is slow for good."""
NEGLIGIBLE_S: Final = 0.1
"""Response times below it are never slow."""


class Patience:
    """The pause before an archive is asked again: it doubles while the archive fails or is slow, with jitter.

    Parameters
    ----------
    slow_factor
        Ratio of the recent response time to the usual one above which the archive is slow.
    max_pause_s
        Longest pause.
    jitter
        Random number in [0, 1).

    Attributes
    ----------
    recent_s, usual_s
        Response times in seconds; NaN before there are any.
    """

    def __init__(self, slow_factor: float, max_pause_s: float, jitter: Callable[[], float] = random.random) -> None:
        self._slow_factor, self._max_pause_s, self._jitter = slow_factor, max_pause_s, jitter
        self.recent_s = self.usual_s = math.nan
        self._responses = self._failures = self._slow = 0
        self._lock = Lock()

    def responded(self, seconds: float) -> float:
        """Note a response time; return how long to pause now, 0 unless the archive has become slow."""
        with self._lock:
            self._responses += 1
            self._failures = 0
            if math.isnan(self.usual_s):
                self.recent_s = self.usual_s = seconds
            self.recent_s += RECENT * (seconds - self.recent_s)
            weight = 1 / self._responses if self._responses <= LEARN else DRIFT
            self.usual_s += weight * (min(seconds, self._slow_factor * self.usual_s) - self.usual_s)
            self._slow = self._slow + 1 if self.is_slow else 0
            return self._pause_s(self._slow)

    def failed(self) -> float:
        """Note that the archive could not be asked; return how long to pause now."""
        with self._lock:
            self._failures += 1
            return self._pause_s(self._failures)

    @property
    def is_slow(self) -> bool:
        """True if the archive takes much longer than usual."""
        if self._responses <= LEARN or self.recent_s < NEGLIGIBLE_S:
            return False
        return self.recent_s > self._slow_factor * self.usual_s

    def _pause_s(self, times: int) -> float:
        """Half to all of a pause that doubles each time, so that many callers do not come back together."""
        if not times:
            return 0.0
        whole = min(self._max_pause_s, FIRST_PAUSE_S * 2.0 ** min(times - 1, 40))
        return whole * (0.5 + self._jitter() / 2)
