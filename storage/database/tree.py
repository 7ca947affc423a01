"""The tree of patients, studies, series and instances, node by node as the database stores it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from storage.record import Level
from storage.vault import CLEAR, Vault

ORDINAL: Final = Struct(">I")
"""Packs an ordinal into a key; big-endian, so that the order of keys is the order of numbers."""
READ: Final = json.JSONDecoder().raw_decode
"""Reads one value at an offset, in half the time of `json.loads`, which looks for spaces around it."""
NO_PARENT: Final = -1
"""Parent of a patient."""
MAX_KEY_BYTES: Final = 511  # of LMDB
MAX_PREFIX_BYTES: Final = 400
"""Bytes of a longer key that stand before its hash."""


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


def key_bytes(uid: str) -> bytes:
    """LMDB key of a unique text: its UTF-8, or the start of it and a hash if it is too long for a key."""
    key = uid.encode("utf-8", "surrogatepass")
    return key if len(key) <= MAX_KEY_BYTES else key[:MAX_PREFIX_BYTES] + sha256(key).hexdigest().encode()


def unique_key(level: Level, uid: str, vault: Vault = CLEAR) -> bytes:
    """Key by which an entity lies in its table: that of `key_bytes`; a vault puts marks in the place of a patient's."""
    if not vault or level is not Level.PATIENT:
        return key_bytes(uid)
    end = uid.find("\\") + 1
    return first_of_key(uid[:end], vault) + vault.mark(uid[end:].encode("utf-8", "surrogatepass"))


def first_of_key(start: str, vault: Vault = CLEAR) -> bytes:
    """What the keys of all patients begin with whose patient keys begin with an ID and its backslash."""
    first = start.encode("utf-8", "surrogatepass")
    return vault.mark(first) if vault else first[:MAX_PREFIX_BYTES]
