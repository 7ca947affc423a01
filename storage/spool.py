"""The durable queue between receiving an instance and indexing it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """One received instance, waiting.

    Attributes
    ----------
    path
        File that holds the bytes as received.
    """

    path: Path
    received_ns: int


@dataclass(frozen=True, slots=True)
class SetAside:
    """Why an instance was not indexed; holds no patient data.

    Attributes
    ----------
    reason
        Short name to count by.
    uids
        SOPInstanceUID, SeriesInstanceUID, StudyInstanceUID, as far as known.
    path
        File that holds the bytes, or None when they were not kept.
    """

    name: str
    reason: str
    detail: str
    uids: Mapping[str, str]
    received_ns: int
    path: Path | None


class Spool:
    """Folder of instances, oldest first: several processes put, one takes."""

    def __init__(self, path: Path, capacity: int, free_bytes: int) -> None: ...

    def put(self, chunks: Iterable[bytes | memoryview]) -> Entry:
        """Keep an instance; it is durable when this returns. Raises SpoolFull."""
        raise NotImplementedError

    def take(self, limit: int) -> list[Entry]:
        """Oldest `limit` entries, without removing them."""
        raise NotImplementedError

    def remove(self, entries: Sequence[Entry]) -> None:
        """Forget entries that are indexed."""
        raise NotImplementedError

    def set_aside(self, entry: Entry, reason: str, detail: str, uids: Mapping[str, str], *, keep: bool) -> SetAside:
        """Take an entry out of the queue for good, with its reason; `keep` keeps the bytes."""
        raise NotImplementedError

    def depth(self) -> int:
        """How many wait."""
        raise NotImplementedError

    def __len__(self) -> int:
        """How many wait."""
        return self.depth()

    def __iter__(self) -> Iterator[Entry]:
        """Those waiting, oldest first."""
        raise NotImplementedError

    def set_aside_records(self) -> Iterator[SetAside]:
        """Everything set aside, oldest first."""
        raise NotImplementedError

    def reasons(self) -> Counter[str]:
        """How many were set aside, by reason."""
        raise NotImplementedError

    def is_set_aside(self, sop_instance_uid: str) -> SetAside | None:
        """Return the note on this instance, if it was set aside."""
        raise NotImplementedError
