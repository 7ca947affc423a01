"""How many requests a caller may begin in a minute, counted for all processes of the node together."""

import fcntl
import os
import struct
import time
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import Final

ENTRY: Final = struct.Struct("<dd")  # requests left, and when that was so (monotonic clock)
MINUTE_S: Final = 60.0


class RateLimits:
    """Allowances that fill up evenly, each to its limit of a minute (token buckets).

    Parameters
    ----------
    path
        File that the processes of the node share; it is made here.
    limits
        Requests a minute, by the name of the caller.

    Raises
    ------
    OSError
        The file cannot be made.
    """

    def __init__(self, path: Path, limits: Mapping[str, int]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._limits = path, dict(limits)
        self._slots = {name: number * ENTRY.size for number, name in enumerate(sorted(limits))}
        self._lock = Lock()  # a lock of the file belongs to the process
        with self._opened():
            return

    def take(self, name: str) -> bool:
        """Take one request; False if none is left.

        Raises
        ------
        OSError
            They cannot be counted.
        """
        limit, offset, now = self._limits[name], self._slots[name], time.monotonic()
        with self._lock, self._opened() as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            entry = os.pread(file.fileno(), ENTRY.size, offset)
            left, since = ENTRY.unpack(entry) if len(entry) == ENTRY.size else (0.0, 0.0)
            elapsed_s = now - since if 0 < since <= now else MINUTE_S  # new, or from before the machine started
            left = min(float(limit), left + limit * elapsed_s / MINUTE_S)
            if left < 1:
                return False
            os.pwrite(file.fileno(), ENTRY.pack(left - 1, now), offset)
            return True

    def _opened(self) -> FileIO:
        return FileIO(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
