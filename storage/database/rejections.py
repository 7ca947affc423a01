"""What the archive says of instances: which are rejected, what is kept of these, and which are announced."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

import lmdb

from storage.item import Item
from storage.vault import CLEAR, Vault

REJECTED, WITHHELD = "rejected", "withheld"
EXPECTED: Final = b"expected:"
AWAITED: Final = b"awaited:"
"""Prefixes of keys in the table `meta`, before a Study Instance UID."""
TABLES: Final = (REJECTED, WITHHELD)
"""Tables by SOP Instance UID: rejections, and what is kept of instances that are hidden."""


class Title(StrEnum):
    """Why an instance is rejected: the title of a note, a DCM code (PS3.16 CID 7011; IHE RAD TF-3 4.66), or its loss.

    UNAVAILABLE is Instance Availability of a notification (PS3.4 annex R).
    """

    QUALITY = "113001"
    PATIENT_SAFETY = "113037"
    WORKLIST_ENTRY = "113038"
    RETENTION_EXPIRED = "113039"
    UNAVAILABLE = "UNAVAILABLE"

    @property
    def hides(self) -> bool:
        """True if rejected instances are kept, and can be restored."""
        return self in (Title.QUALITY, Title.PATIENT_SAFETY, Title.UNAVAILABLE)

    @property
    def rejects_later_copies(self) -> bool:
        """True if also a copy is rejected that arrives later."""
        return self not in (Title.RETENTION_EXPIRED, Title.UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class RejectedInstance:
    """Why one instance is in no answer.

    Attributes
    ----------
    study_instance_uid
        Study of the instance, as the first note says.
    notes
        Title and time of arrival (nanoseconds since the epoch) of each note that rejects it, by the SOP Instance UID
        of the note.
    """

    study_instance_uid: str
    notes: Mapping[str, tuple[Title, int]] = field(default_factory=dict)

    @property
    def hides(self) -> bool:
        """True if every note lets the instance be restored."""
        return all(title.hides for title, _ in self.notes.values())

    def holds(self, received_ns: int) -> bool:
        """True if an instance that arrived at this time is rejected.

        What is not retained or not available says nothing of a copy that arrives after it; all others reject it too.
        """
        return any(title.rejects_later_copies or received_ns < noted_ns for title, noted_ns in self.notes.values())

    def with_note(self, note_uid: str, title: Title, received_ns: int) -> "RejectedInstance":
        """Return the rejection with one more note; a note that is known changes nothing."""
        return replace(self, notes={note_uid: (title, received_ns), **self.notes})

    def to_bytes(self) -> bytes:
        """Pack as JSON."""
        return json.dumps([self.study_instance_uid, self.notes]).encode("ascii")

    @classmethod
    def from_bytes(cls, value: bytes) -> "RejectedInstance":
        """Undo `to_bytes`."""
        study, notes = json.loads(value)
        return cls(study, {uid: (Title(title), received_ns) for uid, (title, received_ns) in notes.items()})


class Rejections:
    """The tables of rejected instances, seen through one transaction."""

    def __init__(self, transaction: lmdb.Transaction, handles: Mapping[str, Any], vault: Vault = CLEAR) -> None:
        self._transaction, self._handles, self._vault = transaction, handles, vault

    def find(self, sop_instance_uid: str) -> RejectedInstance | None:
        """RejectedInstance of an instance, None if no note names it."""
        found = self._get(REJECTED, sop_instance_uid)
        return None if found is None else RejectedInstance.from_bytes(found)

    def rejects(self, sop_instance_uid: str, received_ns: int) -> bool:
        """True if an instance that arrived at this time must be in no answer."""
        rejection = self.find(sop_instance_uid)
        return rejection is not None and rejection.holds(received_ns)

    def put(self, sop_instance_uid: str, rejection: RejectedInstance) -> None:
        """Store a rejection; what is kept of the instance goes where it cannot be restored."""
        self._put(REJECTED, sop_instance_uid, rejection.to_bytes())
        if not rejection.hides:
            self._delete(WITHHELD, sop_instance_uid)

    def withhold(self, item: Item, *, replaces: bool = False) -> None:
        """Keep a rejected instance out of the answers, for as long as it may be restored; the first stays.

        Parameters
        ----------
        replaces
            True if it takes the place of one that is kept already.
        """
        uid = item.record.sop_instance_uid
        rejection = self.find(uid)
        if rejection is not None and rejection.hides and (replaces or self._get(WITHHELD, uid) is None):
            self._put(WITHHELD, uid, self._vault.seal(WITHHELD, uid.encode(), item.to_bytes()))

    def is_withheld(self, sop_instance_uid: str) -> bool:
        """True if something is kept of a hidden instance, so that it can be restored."""
        return self._get(WITHHELD, sop_instance_uid) is not None

    def withheld(self, sop_instance_uid: str) -> Item | None:
        """Return the item that is kept of a hidden instance, so that it can be restored; None if none is kept."""
        found = self._get(WITHHELD, sop_instance_uid)
        if found is None:
            return None
        return Item.from_bytes(bytes(self._vault.unseal(WITHHELD, sop_instance_uid.encode(), found)))

    def delete(self, sop_instance_uid: str) -> None:
        """Delete the rejection of an instance, and what is kept of it."""
        for table in TABLES:
            self._delete(table, sop_instance_uid)

    def all(self) -> Iterator[tuple[str, RejectedInstance]]:
        """Yield (SOP Instance UID, rejection) of every rejected instance."""
        for key, value in self._transaction.cursor(db=self._handles[REJECTED]):
            yield bytes(key).decode(), RejectedInstance.from_bytes(bytes(value))

    def all_withheld(self) -> Iterator[str]:
        """Yield the SOP Instance UID of every instance that can be restored."""
        for key in self._transaction.cursor(db=self._handles[WITHHELD]).iternext(values=False):
            yield bytes(key).decode()

    def expected(self, study_instance_uid: str) -> list[str]:
        """SOP Instance UIDs that the archive announced of a study."""
        return self._list(EXPECTED, study_instance_uid)

    def expect(self, study_instance_uid: str, sop_instance_uids: Sequence[str]) -> None:
        """Store what the archive announced of a study; only an empty list takes the study off the list.

        All of it is awaited until `arrived` says otherwise.
        """
        for prefix in (EXPECTED, AWAITED):
            self._put_list(prefix, study_instance_uid, sop_instance_uids)

    def arrived(self, study_instance_uid: str, is_stored: Callable[[str], bool]) -> None:
        """Await no more what is stored of a study."""
        awaited = self._list(AWAITED, study_instance_uid)
        left = [uid for uid in awaited if not is_stored(uid)]
        if len(left) < len(awaited):
            self._put_list(AWAITED, study_instance_uid, left)

    def all_awaited(self) -> Iterator[str]:
        """Yield the SOP Instance UIDs that are awaited, and maybe some that came under another study."""
        for _, uids in self._lists(AWAITED):
            yield from uids

    def all_expected(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each study that the archive announced, with the SOP Instance UIDs."""
        return self._lists(EXPECTED)

    def count(self) -> tuple[int, int]:
        """Count the rejected instances, and those among them that can be restored."""
        rejected, withheld = (int(self._transaction.stat(self._handles[table])["entries"]) for table in TABLES)
        return rejected, withheld

    def _list(self, prefix: bytes, study_instance_uid: str) -> list[str]:
        found = self._transaction.get(prefix + study_instance_uid.encode(), db=self._handles["meta"])
        return [] if found is None else list(json.loads(bytes(found)))

    def _put_list(self, prefix: bytes, study_instance_uid: str, uids: Sequence[str]) -> None:
        key = prefix + study_instance_uid.encode()
        if uids:
            self._transaction.put(key, json.dumps(uids).encode("ascii"), db=self._handles["meta"])
        else:
            self._transaction.delete(key, db=self._handles["meta"])

    def _lists(self, prefix: bytes) -> Iterator[tuple[str, list[str]]]:
        cursor = self._transaction.cursor(db=self._handles["meta"])
        for key, value in cursor if cursor.set_range(prefix) else ():
            if not bytes(key).startswith(prefix):
                return
            yield bytes(key)[len(prefix) :].decode(), json.loads(bytes(value))

    def _get(self, table: str, uid: str) -> bytes | None:
        found = self._transaction.get(uid.encode(), db=self._handles[table]) if uid else None
        return None if found is None else bytes(found)

    def _put(self, table: str, uid: str, value: bytes) -> None:
        self._transaction.put(uid.encode(), value, db=self._handles[table])

    def _delete(self, table: str, uid: str) -> None:
        self._transaction.delete(uid.encode(), db=self._handles[table])
