"""Instances that changed since an index elsewhere was last fed, kept in the transaction that changes them.

The table `meta` holds an entry for each such instance, so that nothing is lost when a process ends between its commit
and the feeding, and nothing has to be compared. While no index is fed, nothing is noted.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Final

import lmdb

from storage.record import Level

PREFIX: Final = b"changed:"
FED: Final = b"fed"


@dataclass(frozen=True, slots=True)
class Fed:
    """How far an index elsewhere is fed.

    Attributes
    ----------
    index
        Name of the index: where it is, and its collection.
    sequence
        Number of the state that it has of this database.
    next
        Number of the state that is being written, the same after a failure; 0 if none is.
    copied
        Ordinal of the first instance, of those stored when feeding began, that is not in the index; None if all are.
    """

    index: str
    sequence: int = 0
    next: int = 0
    copied: int | None = 0


class Changes:
    """The list of instances that changed since the index was fed, inside one transaction."""

    def __init__(self, transaction: lmdb.Transaction, meta: Any) -> None:
        self._transaction, self._meta = transaction, meta
        self._follows: bool | None = None

    @property
    def fed(self) -> Fed | None:
        """How far the index is fed; None if none is."""
        found = self._transaction.get(FED, db=self._meta)
        return None if found is None else Fed(**json.loads(bytes(found)))

    def set_fed(self, fed: Fed | None) -> None:
        """Store how far the index is fed; None ends the feeding, and forgets every change."""
        self._follows = fed is not None
        if fed is not None:
            self._transaction.put(FED, json.dumps(asdict(fed)).encode(), db=self._meta)
            return
        self._transaction.delete(FED, db=self._meta)
        self.forget([(key, value) for key, value, _ in self._entries()])

    def note(self, level: Level, uid: str) -> None:
        """Note that an instance came, went or changed, if an index is fed; an entity above it concerns no row."""
        if level != Level.IMAGE:
            return
        if self._follows is None:
            self._follows = self._transaction.get(FED, db=self._meta) is not None
        if self._follows:
            stamp = self._transaction.id().to_bytes(8, "big")
            text = uid.encode("utf-8", "surrogatepass")
            self._transaction.put(_key(text), stamp + text, db=self._meta)

    def count(self, most: int) -> int:
        """Return how many instances changed, counting at most so many."""
        return sum(1 for _, _ in zip(range(most), self._entries(), strict=False))

    def first(self, most: int) -> dict[str, tuple[bytes, bytes]]:
        """Return at most so many changed instances: by SOP Instance UID, what `forget` takes."""
        entries = (entry for _, entry in zip(range(most), self._entries(), strict=False))
        return {uid: (key, value) for key, value, uid in entries}

    def forget(self, entries: Collection[tuple[bytes, bytes]]) -> None:
        """Forget changes that are fed; of an instance that changed again meanwhile, the entry stays."""
        for key, value in entries:
            if self._transaction.get(key, db=self._meta) == value:
                self._transaction.delete(key, db=self._meta)

    def _entries(self) -> Iterator[tuple[bytes, bytes, str]]:
        cursor = self._transaction.cursor(db=self._meta)
        for key, value in cursor if cursor.set_range(PREFIX) else ():
            if not bytes(key).startswith(PREFIX):
                return
            yield bytes(key), bytes(value), bytes(value[8:]).decode("utf-8", "surrogatepass")


def _key(uid: bytes) -> bytes:
    return PREFIX + (uid if len(uid) <= 400 else sha256(uid).digest())
