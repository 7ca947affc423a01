"""A job that brings in an archive's history, as it is stored."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from struct import Struct
from typing import Any, Final, Self

NUMBER: Final = Struct(">I")
"""Packs the number of a job into the start of a key."""

Definition = Mapping[str, Any]


class JobState(StrEnum):
    """What the role `pull` does with a job."""

    PLANNED = "planned"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETE = "complete"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is stored.

    Attributes
    ----------
    definition, walk
        What it brings in, and how far the archive is searched, as JSON; both belong to who writes them.
    notes
        Texts and numbers for people, as JSON: what the job waits for, what the last reconciliation found.
    """

    number: int
    name: str
    definition: Definition
    state: JobState
    walk: Definition
    created_ns: int
    notes: Definition

    @property
    def key(self) -> bytes:
        """Prefix of the keys of everything that belongs to the job."""
        return NUMBER.pack(self.number)

    def to_bytes(self) -> bytes:
        """Pack as JSON."""
        return json.dumps(asdict(self)).encode("ascii")

    @classmethod
    def from_bytes(cls, value: bytes) -> Self:
        """Undo `to_bytes`."""
        values = json.loads(value)
        return cls(**{**values, "state": JobState(values["state"])})
