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

MAX_ENTRIES: Final = 200
"""Pairs of reason and caller that are counted apart: callers can invent titles."""
OTHERS: Final = "(others)"
PATTERN: Final = "refused-*.json"


@dataclass(frozen=True, slots=True)
class Refused:
    """Number of refusals of one caller for one reason.

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
    """Counts the refusals of one receiver, in memory and now and then in a file, so that they outlive the process.

    A kill costs the counts since the last `write`. No method raises for the disk's sake: counting must not end a
    receiver that would go on when there is space again.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._path = folder / PATTERN.replace("*", str(number))
        self._counts = {(entry.reason, entry.calling_ae_title): entry for entry in _read(self._path)}
        self._lock, self._writing = Lock(), Lock()
        self._changed = False
        self._failed = False

    def add(self, reason: str, calling_ae_title: str) -> None:
        """Count a refusal.

        Parameters
        ----------
        reason
            Words of ours, out of a limited number: nothing that a peer sent.
        calling_ae_title
            The caller, "" if unknown.
        """
        with self._lock:
            known = (reason, calling_ae_title) in self._counts or len(self._counts) < MAX_ENTRIES
            key = (reason, calling_ae_title if known else OTHERS)
            before = self._counts[key].count if key in self._counts else 0
            self._counts[key] = Refused(*key, before + 1, time.time())
            self._changed = True

    def write(self) -> None:
        """Write the counts, if there are new ones; if that fails, the next call tries again.

        When this returns, all that was counted before the call is written, by this thread or by another.
        """
        with self._writing:
            self._write_changed()

    def _write_changed(self) -> None:
        with self._lock:
            if not self._changed:
                return
            self._changed = False
            entries = [asdict(entry) for entry in self._counts.values()]
        try:
            self._write(json.dumps(entries))
        except OSError as error:
            self._changed = True
            if not self._failed:
                logger.error("refusals are counted in memory only: %s", error)
            self._failed = True
        else:
            self._failed = False

    def _write(self, text: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(f".{os.getpid()}")
        try:
            temporary.write_text(text)
            temporary.replace(self._path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def read_refusals(folder: Path) -> list[Refused]:
    """What all receivers of a run folder refused, the latest first.

    Raises
    ------
    OSError
        The folder cannot be read.
    """
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
    except (OSError, ValueError, TypeError):  # left by a loss of power, or by another release
        logger.warning("%s cannot be read: its counts begin anew", path)
        return []
