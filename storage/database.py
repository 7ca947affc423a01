"""Codes and records in one LMDB environment: one process writes, many read."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.record import Entity, Level, Record


@dataclass(frozen=True, slots=True)
class Item:
    """One instance to append.

    Attributes
    ----------
    codes : (len(record.frames), words) uint64
    previews : (len(record.frames), size, size) uint8 or None
        The network's input, kept so that a new model can encode it.
    pixel_digest
        64 bits over the network's input: equal for duplicates under other UIDs.
    """

    record: Record
    codes: Codes
    previews: NDArray[np.uint8] | None
    pixel_digest: int


@dataclass(frozen=True, slots=True)
class Clash:
    """An item that was not stored because it contradicts what is kept.

    Attributes
    ----------
    level
        IMAGE: same SOP Instance UID, other content. SERIES: its series is kept under another study.
        STUDY: its study is kept under another patient.
    """

    record: Record
    level: Level


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a batch.

    Attributes
    ----------
    new, known
        Instances stored now; instances that were already there with the same content.
    clashing
        Instances not stored.
    conflicts
        Attributes of patients, studies and series that differed from the first seen, which was kept.
    """

    new: int
    known: int
    clashing: tuple[Clash, ...]
    conflicts: int


class Snapshot:
    """One unchanging state of the database; use in a `with` block, in one thread."""

    rows: int
    identifier: str
    code_length: int
    model: str

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...
    def count(self, level: Level) -> int: ...
    def ordinal(self, level: Level, uid: str) -> int | None: ...
    def uid(self, level: Level, ordinal: int) -> str: ...
    def entity(self, level: Level, uid: str) -> Entity | None: ...
    def entities(self, level: Level) -> Iterator[Entity]: ...
    def children(self, level: Level, uid: str) -> list[str]: ...  # unique keys one level below
    def record(self, sop_instance_uid: str) -> Record | None: ...
    def codes_of(self, sop_instance_uid: str) -> Codes: ...  # (frames, words), KeyError when not there
    def pixel_digest(self, sop_instance_uid: str) -> int: ...
    def preview(self, sop_instance_uid: str, frame: int) -> NDArray[np.uint8] | None: ...


class Database:
    """Durable codes and records."""

    @classmethod
    def create_or_open(cls, path: Path, code_length: int, model: str, map_size: int) -> Self: ...
    @classmethod
    def open(cls, path: Path, *, readonly: bool = True) -> Self: ...
    def append(self, items: Sequence[Item]) -> Appended: ...
    def remove(self, sop_instance_uids: Iterable[str]) -> int: ...
    def snapshot(self) -> Snapshot: ...
    def verify(self) -> list[str]: ...
    def close(self) -> None: ...
