"""Entities by the value of an attribute that is not their unique key: Patient ID, Accession Number."""

from collections.abc import Mapping
from struct import Struct
from typing import Any, Final

import lmdb

from storage.record import Attributes, Level

TABLE: Final = "lookup"
KEYWORDS: Final[Mapping[Level, str]] = {Level.PATIENT: "PatientID", Level.STUDY: "AccessionNumber"}
"""The attribute by which the entities of a level can be looked up."""

ORDINAL: Final = Struct(">I")
MAX_KEY_BYTES: Final = 511  # of LMDB
PADDING: Final = " \0\t\n\r\f\v"
"""Characters around a value that say nothing (PS3.5 section 6.2)."""


class Lookup:
    """The table of values, seen through one transaction that was opened with `buffers=True`.

    A key holds a keyword and the start of a value, so the entities that it leads to are still to be compared with the
    whole value. The data are the ordinals of the entities. An entity without a value lies under the empty value.
    """

    def __init__(self, transaction: lmdb.Transaction, handle: Any) -> None:
        self._transaction, self._handle = transaction, handle

    def ordinals(self, level: Level, value: str) -> list[int]:
        """Ordinals of the entities that have a value which begins as `value` does, ascending."""
        cursor = self._transaction.cursor(db=self._handle)
        if not cursor.set_key(_key(KEYWORDS[level], value)):
            return []
        return [ORDINAL.unpack(ordinal)[0] for ordinal in cursor.iternext_dup()]

    def replace(self, level: Level, ordinal: int, old: Attributes | None, new: Attributes | None) -> None:
        """Find an entity by its new attributes instead of its old ones; None before it is there, and afterwards."""
        before, after = lookup_keys(level, old), lookup_keys(level, new)
        for key in before - after:
            self._transaction.delete(key, ORDINAL.pack(ordinal), db=self._handle)
        for key in after - before:
            self._transaction.put(key, ORDINAL.pack(ordinal), db=self._handle)

    def has(self, key: bytes, ordinal: int) -> bool:
        """True if an entity can be found by this key of `lookup_keys`."""
        return bool(self._transaction.cursor(db=self._handle).set_key_dup(key, ORDINAL.pack(ordinal)))


def lookup_keys(level: Level, attributes: Attributes | None) -> frozenset[bytes]:
    """Keys of an entity with these attributes; none at the levels without a lookup."""
    if attributes is None or level not in KEYWORDS:
        return frozenset()
    keyword = KEYWORDS[level]
    return frozenset(_key(keyword, value) for value in attributes.get(keyword, "").split("\\"))


def _key(keyword: str, value: str) -> bytes:
    return f"{keyword}\0{value.strip(PADDING)}".encode("utf-8", "surrogatepass")[:MAX_KEY_BYTES]
