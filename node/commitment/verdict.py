"""Which instances the node commits itself to keep, and the report of it (PS3.4 J.3.3)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from node.commitment.request import CommitmentRequest
from storage.database.database import Database
from storage.objects.object_store import ObjectStore
from storage.record import Level
from storage.spool.queue import Spool


class Reason(IntEnum):
    """Failure Reason of an instance (PS3.3 C.14.1.1)."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_INSTANCE = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the instances of a request.

    Attributes
    ----------
    committed
        SOP Class UID by SOP Instance UID of those that are indexed, with their objects durable here.
    failed
        Why the node does not commit itself, by SOP Instance UID.
    undecided
        SOP Instance UIDs of those that wait to be indexed.
    """

    committed: Mapping[str, str]
    failed: Mapping[str, Reason]
    undecided: frozenset[str]

    def given_up(self) -> "Verdict":
        """The same, with what is undecided failed."""
        failed = dict(self.failed) | dict.fromkeys(self.undecided, Reason.PROCESSING_FAILURE)
        return replace(self, failed=failed, undecided=frozenset())


class Judge:
    """Decides by what the node holds."""

    def __init__(self, database: Database, objects: ObjectStore, spool: Spool) -> None:
        self._database, self._objects, self._spool = database, objects, spool

    def judge(self, request: CommitmentRequest) -> Verdict:
        """Return the verdict of the moment."""
        waiting = {entry.sop_instance_uid for entry in self._spool}  # first: they leave when they are kept
        kept, committed = self._objects.kept(request.references), {}
        failed: dict[str, Reason] = {}
        with self._database.snapshot() as snapshot:
            for uid, sop_class in request.references.items():
                entity = snapshot.entity(Level.IMAGE, uid)
                if entity is not None and entity.attributes.get("SOPClassUID", sop_class) != sop_class:
                    failed[uid] = Reason.CLASS_INSTANCE_CONFLICT
                elif entity is not None and uid in kept:
                    committed[uid] = sop_class
                elif uid not in waiting:
                    failed[uid] = self._reason(uid)
        undecided = request.references.keys() - committed.keys() - failed.keys()
        return Verdict(committed, failed, frozenset(undecided))

    def _reason(self, uid: str) -> Reason:
        return Reason.NO_SUCH_INSTANCE if self._spool.is_set_aside(uid) is None else Reason.PROCESSING_FAILURE


def report(request: CommitmentRequest, verdict: Verdict, retrieve_ae_title: str) -> tuple[int, Dataset]:
    """Event Type ID and event information of an N-EVENT-REPORT: 1 if all is committed, 2 if something failed."""
    information = Dataset()
    information.TransactionUID = request.transaction_uid
    information.RetrieveAETitle = retrieve_ae_title
    if verdict.committed:
        information.ReferencedSOPSequence = Sequence(_item(uid, cls) for uid, cls in verdict.committed.items())
    if verdict.failed:
        failed = [_item(uid, request.references[uid]) for uid in verdict.failed]
        for item, reason in zip(failed, verdict.failed.values(), strict=True):
            item.FailureReason = int(reason)
        information.FailedSOPSequence = Sequence(failed)
    return (2 if verdict.failed else 1), information


def _item(uid: str, sop_class: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item
