"""Rates that are not exceeded: bytes a second, and studies an hour."""

import time
from collections.abc import Callable
from threading import Lock
from typing import Final

BURST_S: Final = 0.5
"""Seconds of the rate that may pass at once: a twentieth of any ten seconds."""
NAP_S: Final = 0.5
"""Longest sleep before whoever waits looks whether to stop."""

Check = Callable[[], object]


class Budget:
    """A rate shared by threads; what exceeds it waits.

    Parameters
    ----------
    rate
        Units a second; 0 for no limit.
    burst
        Units that may pass at once.
    clock, sleep
        Of this process, or of a test.
    """

    def __init__(
        self,
        rate: float,
        burst: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.rate, self._burst, self._clock, self._sleep = rate, burst, clock, sleep
        self._free_at_s = clock() - (burst / rate if rate else 0)
        self._lock = Lock()

    @classmethod
    def of_bytes(cls, megabytes_per_s: float) -> "Budget":
        """Return the budget of a transfer, in units of bytes."""
        rate = megabytes_per_s * 1e6
        return cls(rate, rate * BURST_S)

    @classmethod
    def of_studies(cls, studies_per_hour: float) -> "Budget":
        """Return the budget of studies: one at once."""
        return cls(studies_per_hour / 3600, 1)

    def take(self, units: float, check: Check = bool) -> None:
        """Wait until units may pass.

        Parameters
        ----------
        check
            Called while waiting; what it raises ends the wait, and the units count as passed.
        """
        if not self.rate:
            return
        with self._lock:
            now = self._clock()
            start = max(self._free_at_s, now - self._burst / self.rate)
            self._free_at_s = start + units / self.rate
            due = self._free_at_s
        while (wait_s := due - self._clock()) > 0:
            check()
            self._sleep(min(wait_s, NAP_S))

    def wait_s(self) -> float:
        """Seconds until a unit may pass; 0 if it may now."""
        return max(0.0, self._free_at_s + 1 / self.rate - self._clock()) if self.rate else 0.0
