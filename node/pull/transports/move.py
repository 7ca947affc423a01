"""Fetching by C-MOVE: the archive sends the instances to this node, whose receivers take them as any others."""

from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Final

from pynetdicom import build_context

from node.dicom.sop_classes import STUDY_ROOT_MOVE
from node.errors import Status
from node.pull.holdings import Holdings
from node.pull.politeness.budget import Budget
from node.pull.search.archive import Archive
from node.pull.transports.transport import Batch, Delivery, problem_of
from node.retrieve.caller import SubOperations
from node.retrieve.source import MESSAGE_ID

FIRST_GUESS_BYTES: Final = 500_000
"""Size of an instance before any has come: a CT image."""
WEIGHT: Final = 0.2
"""Weight of the latest batch in the average size of an instance."""


class MoveTransport:
    """Fetches by C-MOVE (a `Transport`); the archive knows this node by its AE title, host and port.

    What comes in passes the receivers, so the budget is kept from one request to the next: with one, a request names
    as many instances as it allows in about half a second.
    """

    def __init__(self, archive: Archive, destination: str, holdings: Holdings, budget: Budget) -> None:
        self._archive, self._destination, self._holdings, self._budget = archive, destination, holdings, budget
        self._average_bytes = float(FIRST_GUESS_BYTES)
        self._lock = Lock()

    def fetch(self, study_instance_uid: str, batches: Sequence[Batch], delivery: Delivery) -> None:
        """Fetch batches over one association."""
        self._archive.check()
        with self._archive.source.association([build_context(STUDY_ROOT_MOVE)]) as association:
            self._archive.source.check_accepts(association, STUDY_ROOT_MOVE)
            for batch in (part for whole in batches for part in self._parts(whole)):
                self._budget.take(self._average_bytes * len(batch.instances), self._archive.check)
                identifier = batch.identifier(study_instance_uid)
                association.send_c_move(identifier, self._destination, STUDY_ROOT_MOVE, MESSAGE_ID)
                *_, last = self._archive.responses(association)
                self._note(batch, SubOperations.of(last), last.Status, last.ErrorComment or "", delivery)

    def _parts(self, batch: Batch) -> Iterator[Batch]:
        size = len(batch.instances)
        if self._budget.rate:
            size = max(1, min(size, int(self._budget.rate / 2 / self._average_bytes)))
        if size == len(batch.instances):
            yield batch
            return
        for start in range(0, len(batch.instances), size):
            yield Batch(batch.series_instance_uid, batch.instances[start : start + size])

    def _note(self, batch: Batch, counts: SubOperations, status: int, comment: str, delivery: Delivery) -> None:
        if problem := problem_of(status, counts, comment):
            delivery.note(problem)
        named = [one.sop_instance_uid for one in batch.instances]
        sizes = self._holdings.waiting_bytes(named)
        if sizes:
            with self._lock:
                self._average_bytes += WEIGHT * (sum(sizes.values()) / len(sizes) - self._average_bytes)
        if status == Status.SUCCESS and not counts.failed and counts.completed in (None, len(named)):
            came = len(named)
            delivery.uids |= self._confirmed(batch)
        else:
            came = (counts.completed or 0) + (counts.warning or 0)
        delivery.size_bytes += int(sum(sizes.values()) + self._average_bytes * max(0, came - len(sizes)))

    def _confirmed(self, batch: Batch) -> set[str]:
        """Objects that leave no trace here: a rejection note is carried out, and not kept."""
        return {one.sop_instance_uid for one in batch.instances if one.sop_class_uid == KEY_OBJECTS}


KEY_OBJECTS: Final = "1.2.840.10008.5.1.4.1.1.88.59"
