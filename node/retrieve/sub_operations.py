"""C-STORE sub-operations of a retrieval: instances sent on the association of a C-GET, and counts of any retrieval."""

import time
from queue import Empty
from typing import IO, Final

from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import PresentationContext

from node.dicom.command_set import COMMAND, LAST, store_request
from node.errors import Refusal, Status
from node.retrieve.caller import RetrieveCall, SubOperations
from node.retrieve.source import CHECK_S

MAX_FRAGMENT_BYTES: Final = 1 << 17
MAX_QUEUED_FRAGMENTS: Final = 8
"""Fragments handed to the upper layer ahead of what the caller takes: an instance is not held in memory."""
QUEUE_CHECK_S: Final = 0.001
WARNINGS: Final = range(0xB000, 0xC000)


class Tally:
    """Counts sub-operations by their outcome.

    Attributes
    ----------
    failed
        SOP Instance UIDs of those that failed.
    """

    def __init__(self) -> None:
        self.failed: list[str] = []
        self._completed = self._warning = 0

    def add(self, sop_instance_uid: str, refusal: Refusal | None) -> None:
        """Count a sub-operation: refused with a warning status, with another, or not."""
        if refusal is None:
            self._completed += 1
        elif refusal.status in WARNINGS:
            self._warning += 1
        else:
            self.failed.append(sop_instance_uid)

    def counts(self, total: int) -> SubOperations:
        """Numbers by outcome; what is left of the total remains."""
        done = self._completed + self._warning + len(self.failed)
        return SubOperations(max(0, total - done), self._completed, len(self.failed), self._warning)


class StoreSubOperations:
    """Sends instances on the association that its caller requested for a C-GET.

    Parameters
    ----------
    silence_s
        Time that the caller has to answer.
    """

    def __init__(self, call: RetrieveCall, silence_s: float) -> None:
        self._call, self._silence_s = call, silence_s
        self._message_id = int(call.request.MessageID or 0)

    def send(
        self, context: PresentationContext, sop_class_uid: str, sop_instance_uid: str, data_set: IO[bytes], size: int
    ) -> Refusal | None:
        """Send one instance, and return what the caller says of it.

        Parameters
        ----------
        data_set
            At the first byte of the data set.
        size
            Length of the data set, bytes.
        """
        self._message_id = self._message_id % 0xFFFF + 1  # no outstanding request has it
        with self._call.sending:
            self._send(context, store_request(self._message_id, sop_class_uid, sop_instance_uid), data_set, size)
            return self._answer(self._message_id)

    def _send(self, context: PresentationContext, command_set: bytes, data_set: IO[bytes], left: int) -> None:
        """Send a message, fragment by fragment; a fragment has an even length (PS3.8 annex E.2)."""
        limit = int(self._call.association.requestor.maximum_length or 0) - 6
        size = max(2, min(limit, MAX_FRAGMENT_BYTES) if limit > 0 else MAX_FRAGMENT_BYTES) & ~1
        for start in range(0, len(command_set), size):
            last = LAST if start + size >= len(command_set) else 0
            self._send_fragment(context, COMMAND | last, command_set[start : start + size])
        while left and not self._call.is_gone:
            piece = data_set.read(min(size, left))
            if not piece:  # the file is shorter than it was
                self._call.close()
                return
            left -= len(piece)
            self._send_fragment(context, 0 if left else LAST, piece)

    def _send_fragment(self, context: PresentationContext, control: int, piece: bytes) -> None:
        layer = self._call.association.dul
        while layer.to_provider_queue.qsize() > MAX_QUEUED_FRAGMENTS and not self._call.is_gone:
            time.sleep(QUEUE_CHECK_S)
        fragment = P_DATA()
        fragment.presentation_data_value_list = [[context.context_id, bytes([control]) + piece]]  # type: ignore[list-item]
        layer.send_pdu(fragment)

    def _answer(self, message_id: int) -> Refusal | None:
        """What the caller responds, A702 if it does not: its connection is then closed."""
        deadline_s = time.monotonic() + self._silence_s
        response = None
        while time.monotonic() < deadline_s and not self._call.is_gone:
            try:
                _, response = self._call.association.dimse.msg_queue.get(timeout=CHECK_S)
                break
            except Empty:
                continue
        if isinstance(response, C_STORE) and response.MessageIDBeingRespondedTo == message_id:
            return refusal_of(response.Status or 0)
        self._call.close()
        return Refusal(Status.SUBOPERATIONS_NOT_PERFORMED, "the caller does not answer")


def refusal_of(status: int) -> Refusal | None:
    """Refusal for the status of a C-STORE response, by its kind; None for success."""
    if status == Status.SUCCESS:
        return None
    kind = Status.WARNING if status in WARNINGS else Status.CANNOT_UNDERSTAND
    return Refusal(kind, f"the caller answered {status:04X}")
