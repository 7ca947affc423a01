"""Back-pressure: first responses are delayed, then new associations that would store are rejected, then comes A700."""

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.settings import Settings
from storage.spool.queue import Spool

LEVEL_AGE_S: Final = 0.02
"""How long a measured level is used: several associations ask for it with each object."""
STATM: Final = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class Fullness:
    """How full the fullest resource is.

    Attributes
    ----------
    resource
        "objects" (instances waiting in the spool), "disk" or "memory".
    share
        Used part of the resource's limit; 1 is full.
    """

    resource: str
    share: float


class Pressure:
    """Says how much senders are to be slowed down; at the limits themselves the receiver refuses.

    Parameters
    ----------
    settings
        Limits of the resources, and the shares of them from which on responses wait and associations are rejected.
    """

    def __init__(self, spool: Spool, settings: Settings) -> None:
        self._spool, self._settings = spool, settings
        self._level, self._level_until_s = Fullness("objects", 0.0), -math.inf

    def level(self) -> Fullness:
        """The fullest resource of all, at most `LEVEL_AGE_S` old."""
        now = time.monotonic()
        if now >= self._level_until_s:
            memory = Fullness("memory", own_bytes() / self._settings.receiver_memory_bytes)
            self._level = max(memory, self.spool_level(), key=lambda level: level.share)
            self._level_until_s = now + LEVEL_AGE_S
        return self._level

    def spool_level(self) -> Fullness:
        """The fullest of the resources that all receivers share: objects and disk."""
        objects = self._spool.depth() / self._spool.capacity if self._spool.capacity else 1.0
        disk = self._spool.free_bytes / max(1, self._spool.disk_free_bytes())
        return max(Fullness("objects", objects), Fullness("disk", disk), key=lambda level: level.share)

    def delay_s(self) -> float:
        """Time that a response waits: none up to `busy_share`, from there on longer, `longest_delay_s` when full."""
        busy = self._settings.busy_share
        over = (self.level().share - busy) / (1 - busy)
        return self._settings.longest_delay_s * min(1.0, max(0.0, over))

    def rejects(self) -> Fullness | None:
        """The resource for which new associations that store are rejected; None if they are admitted."""
        level = self.level()
        return level if level.share >= self._settings.closed_share else None

    def is_out_of_memory(self) -> bool:
        """True if this process is at its memory limit."""
        level = self.level()
        return level.resource == "memory" and level.share >= 1


def own_bytes() -> int:
    """Resident memory of this process, bytes, without mapped files such as the database: the system can drop those."""
    resident, of_files = map(int, STATM.read_bytes().split()[1:3])
    return (resident - of_files) * os.sysconf("SC_PAGE_SIZE")
