"""What was refused to whom and why: counted by the receivers, shown by `lookalike status`."""

import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Final

logger = logging.getLogger(__name__)

MOST_CALLERS: Final = 200
OTHERS: Final = "(others)"
PATTERN: Final = "refused-*.json"


@dataclass(frozen=True, slots=True)
class Refused:
    """How often one caller was refused for one reason.

    Attributes
    ----------
    last_s
        When it happened last, seconds since the epoch.
    """

    reason: str
    calling_ae_title: str
    count: int
    last_s: float


class Refusals:
    """Counts refusals of one receiver and keeps them in a file, so that they outlive the process.

    They are written when `write` is called, now and then: a kill costs the counts since.
    """

    def __init__(self, folder: Path, number: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / PATTERN.replace("*", str(number))
        self._counts = {(entry.reason, entry.calling_ae_title): entry for entry in _read(self._path)}
        self._lock = Lock()
        self._changed = False

    def add(self, reason: str, calling_ae_title: str) -> None:
        """Count one."""
        with self._lock:
            known = (reason, calling_ae_title) in self._counts or len(self._counts) < MOST_CALLERS
            key = (reason, calling_ae_title if known else OTHERS)
            before = self._counts[key].count if key in self._counts else 0
            self._counts[key] = Refused(*key, before + 1, time.time())
            self._changed = True

    def write(self) -> None:
        """Write the counts, if there are new ones."""
        with self._lock:
            if not self._changed:
                return
            self._changed = False
            entries = [asdict(entry) for entry in self._counts.values()]
        temporary = self._path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(entries))
        temporary.replace(self._path)


def read_refusals(folder: Path) -> list[Refused]:
    """What all receivers refused, the latest first."""
    merged: dict[tuple[str, str], Refused] = {}
    for path in folder.glob(PATTERN):
        for entry in _read(path):
            key = (entry.reason, entry.calling_ae_title)
            other = merged.get(key, Refused(*key, 0, 0.0))
            merged[key] = Refused(*key, entry.count + other.count, max(entry.last_s, other.last_s))
    return sorted(merged.values(), key=lambda entry: -entry.last_s)


def _read(path: Path) -> list[Refused]:
    try:
        entries: list[Mapping[str, object]] = json.loads(path.read_bytes())
        return [Refused(**entry) for entry in entries]  # type: ignore[arg-type]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError):  # left by a loss of power, or by another release
        logger.warning("%s cannot be read: its counts begin anew", path)
        return []
