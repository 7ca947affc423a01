"""The tree of patients, studies, series and instances, node by node as the database stores it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

ORDINAL: Final = Struct(">I")
"""Packs an ordinal into a key; big-endian, so that the order of keys is the order of numbers."""
READ: Final = json.JSONDecoder().raw_decode
"""Reads one value at an offset, in half the time of `json.loads`, which looks for spaces around it."""
NO_PARENT: Final = -1
"""Parent of a patient."""


@dataclass(frozen=True, slots=True)
class Node:
    """A patient, study, series or instance as stored.

    Attributes
    ----------
    uid
        Unique key of the entity at its level: a UID, or a patient key.
    parent
        Ordinal one level above, NO_PARENT for a patient.
    attributes
        Attributes of the entity's own level only.
    first_row, frames, content_digest, received_ns
        Of an instance; its rows follow each other in the order of `frames`.
    """

    uid: str
    parent: int
    attributes: Mapping[str, str]
    first_row: int = -1
    frames: tuple[int, ...] = ()
    content_digest: bytes = b""
    received_ns: int = 0

    @property
    def rows(self) -> NDArray[np.int64]:
        """(frames,) rows of an instance."""
        return np.arange(self.first_row, self.first_row + len(self.frames), dtype=np.int64)

    def to_bytes(self) -> bytes:
        """JSON in ASCII, so that even an ill-decoded text can be stored; the UID has a line of its own."""
        fields: list[object] = [self.parent, dict(self.attributes)]
        if self.first_row >= 0:
            fields += [self.first_row, self.frames, self.content_digest.hex(), self.received_ns]
        return f"{json.dumps(self.uid)}\n{json.dumps(fields, separators=(',', ':'))}".encode("ascii")

    @classmethod
    def from_bytes(cls, value: bytes | memoryview) -> "Node":
        """Undo `to_bytes`."""
        text = str(value, "ascii")
        uid, end = READ(text)
        (parent, attributes, *rest), _ = READ(text, end + 1)
        if not rest:
            return cls(uid, parent, attributes)
        first_row, frames, digest, received_ns = rest
        return cls(uid, parent, attributes, first_row, tuple(frames), bytes.fromhex(digest), received_ns)


def uid_of(value: bytes | memoryview) -> str:
    """Unique key of a stored node, without reading the rest of it."""
    uid: str = READ(str(value, "ascii"))[0]
    return uid
