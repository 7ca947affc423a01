"""What could not be indexed, each with a note that says why."""

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.durable import folder_names, sync_folder, write_durably

REASON: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
UID: Final = re.compile(r"[0-9.]{1,64}")  # PS3.5 9.1

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SetAside:
    """Why an instance was not indexed; holds no patient data.

    Attributes
    ----------
    name
        Of the spool entry it was.
    reason
        Short name to count by.
    uids
        SOPInstanceUID, SeriesInstanceUID, StudyInstanceUID, as far as known.
    path
        File that holds the bytes, None when they were not kept or somebody took them away.
    """

    name: str
    reason: str
    detail: str
    uids: Mapping[str, str]
    received_ns: int
    path: Path | None


class Aside:
    """Folder of notes and, where wanted, of the bytes they are about.

    The note is durable before the bytes move; `repair` finishes what a kill interrupted. A note's file name tells its
    reason and SOP Instance UID, so that counting and finding read only names.
    """

    def __init__(self, path: Path, incoming: Path, temporary: Path) -> None:
        self._path, self._incoming, self._temporary = path, incoming, temporary
        path.mkdir(exist_ok=True)

    def add(
        self, entry: Path, received_ns: int, reason: str, detail: str, uids: Mapping[str, str], *, keep: bool
    ) -> SetAside:
        """Note an entry, then move its bytes here or delete them."""
        if not REASON.fullmatch(reason):
            raise ValueError(f"reason {reason!r} cannot be counted by; use letters, digits and dashes")
        uid = uids.get("SOPInstanceUID", "")
        note = {"reason": reason, "detail": detail, "uids": dict(uids), "received_ns": received_ns, "keep": keep}
        name = f"{entry.stem}_{reason}_{uid if UID.fullmatch(uid) else ''}.json"
        write_durably([json.dumps(note).encode()], self._temporary / name, self._path / name)
        self._settle(entry, keep=keep)
        return self._read(name)

    def repair(self) -> None:
        """Finish what was interrupted between a note and its bytes."""
        waiting = {path.stem: path for path in self._incoming.iterdir()}
        for name in self._names():
            entry = waiting.get(_stem(name))
            if entry is not None:
                note = json.loads((self._path / name).read_bytes())
                self._settle(entry, keep=note["keep"])

    def notes(self) -> Iterator[SetAside]:
        """Yield every note, oldest first."""
        return (self._read(name) for name in self._names())

    def reasons(self) -> Counter[str]:
        """How many notes there are, by reason."""
        return Counter(name.rsplit("_", 2)[1] for name in self._names())

    def find(self, sop_instance_uid: str) -> SetAside | None:
        """Latest note on an instance."""
        if not UID.fullmatch(sop_instance_uid):
            return None
        found = [name for name in self._names() if name.endswith(f"_{sop_instance_uid}.json")]
        return self._read(found[-1]) if found else None

    def _settle(self, entry: Path, *, keep: bool) -> None:
        if not keep:
            entry.unlink(missing_ok=True)
            return
        kept = self._path / f"{entry.stem}.dcm"
        try:
            entry.rename(kept)
        except FileNotFoundError:
            if not kept.exists():  # where it does, another process, opening the spool, was quicker to repair
                logger.warning("%s was taken out of the spool by somebody else: only the note is kept", entry.name)
        sync_folder(self._path)

    def _read(self, name: str) -> SetAside:
        note = json.loads((self._path / name).read_bytes())
        stem = _stem(name)
        path = self._path / f"{stem}.dcm"
        kept = path if note["keep"] and path.exists() else None
        return SetAside(stem, note["reason"], note["detail"], note["uids"], note["received_ns"], kept)

    def _names(self) -> list[str]:
        return sorted(name for name in folder_names(self._path) if name.endswith(".json"))


def _stem(name: str) -> str:
    """Of the entry that a note is about: it may hold the mark that neither a reason nor a UID holds."""
    return name.rsplit("_", 2)[0]
