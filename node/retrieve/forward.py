"""Instances on their way from the source PACS to the caller of a C-GET: each is received whole, and then forwarded."""

import logging
import time
from collections.abc import Container
from queue import Empty
from tempfile import SpooledTemporaryFile
from typing import Final

from pydicom.uid import UID
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import PresentationContext

from node.dicom.command_set import COMMAND, LAST, Request, store_request
from node.errors import Refusal, Status
from node.retrieve.caller import RetrieveCall, SubOperations
from node.retrieve.source import CHECK_S
from node.settings import Settings

logger = logging.getLogger(__name__)

IN_MEMORY_BYTES: Final = 1 << 20
"""A larger instance waits in a temporary file."""
MAX_FRAGMENT_BYTES: Final = 1 << 17
MAX_QUEUED_FRAGMENTS: Final = 8
"""Fragments handed to the upper layer ahead of what the caller takes: an instance is not held in memory."""
QUEUE_CHECK_S: Final = 0.001
WARNINGS: Final = range(0xB000, 0xC000)


class Forwarder:
    """Takes the sub-operations of a C-GET of ours, and repeats them on the association of the caller.

    It is the `InstanceStore` of that association. The answer of the caller becomes ours, so the source PACS counts what
    the caller has.

    Parameters
    ----------
    hidden
        SOP Instance UIDs that are not forwarded.

    Attributes
    ----------
    failed
        SOP Instance UIDs that the caller refused.
    """

    def __init__(self, settings: Settings, call: RetrieveCall, hidden: Container[str]) -> None:
        self.settings, self.call, self.hidden = settings, call, hidden
        self.failed: list[str] = []
        self._by_status = {"completed": 0, "warning": 0, "failed": 0}
        self._message_id = int(call.request.MessageID or 0)

    def begin(self, request: Request, transfer_syntax: UID, sending_ae_title: str) -> "ForwardedInstance":
        """Take one instance."""
        logger.debug("%s sends %s", sending_ae_title, request.sop_instance_uid)
        return ForwardedInstance(self, request, transfer_syntax)

    def note(self, request: Request, refusal: Refusal, sending_ae_title: str) -> None:
        """Log the refusal of a request."""
        logger.warning("refused request %04XH of %s: %s", request.command_field, sending_ae_title, refusal)

    def counts(self, reported: SubOperations) -> SubOperations:
        """Numbers of what was forwarded; what remains follows from the total of the numbers last reported."""
        total = sum(number or 0 for number in (reported.remaining, reported.completed, reported.failed))
        total += reported.warning or 0
        return SubOperations(max(0, total - sum(self._by_status.values())), **self._by_status)

    def finished(self, sop_instance_uid: str, refusal: Refusal | None) -> None:
        """Count one instance."""
        state = "completed" if refusal is None else "warning" if refusal.status in WARNINGS else "failed"
        if state == "failed":
            self.failed.append(sop_instance_uid)
        self._by_status[state] += 1

    def next_message_id(self) -> int:
        """A Message ID that no outstanding request has."""
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id


class ForwardedInstance:
    """One instance (a `DataSink`): received into a bounded temporary file, forwarded when it is whole.

    So an association with the PACS that breaks within an instance does not leave the caller with half of it.
    """

    def __init__(self, forwarder: Forwarder, request: Request, transfer_syntax: UID) -> None:
        self._forwarder, self._call, self._request = forwarder, forwarder.call, request
        self._transfer_syntax, self._size = transfer_syntax, 0
        is_hidden = request.sop_instance_uid in forwarder.hidden
        self._refusal = Refusal(Status.CANNOT_UNDERSTAND, "hidden by a rejection note") if is_hidden else None
        self._file = SpooledTemporaryFile(IN_MEMORY_BYTES, dir=str(forwarder.settings.spool_path))  # noqa: SIM115

    def write(self, piece: memoryview) -> None:
        """Take the next piece; once something is wrong, only let it pass."""
        if self._refusal is not None:
            return
        self._size += len(piece)
        if self._size > self._forwarder.settings.max_relayed_bytes:
            self._refusal = Refusal(Status.OUT_OF_RESOURCES, "larger than the node relays: see max_relayed_bytes")
            return
        try:
            self._file.write(piece)
        except OSError as error:
            logger.error("an instance cannot be relayed: %s", error)
            self._refusal = Refusal(Status.OUT_OF_RESOURCES, f"cannot be relayed: {error.strerror}")

    def finish(self) -> Refusal | None:
        """Forward the instance, and return what the caller says of it; nothing is forwarded after a C-CANCEL."""
        try:
            if self._call.is_cancelled or self._call.is_gone:
                return Refusal(Status.OUT_OF_RESOURCES, "the retrieval was cancelled")
            refusal = self._refusal or self._forward()
            self._forwarder.finished(self._request.sop_instance_uid, refusal)
            return refusal
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Drop what came: the association with the source PACS ended within the instance."""
        self._file.close()

    def _forward(self) -> Refusal | None:
        context = self._call.storage_context(self._request.sop_class_uid, self._transfer_syntax)
        if context is None:
            return Refusal(Status.SOP_CLASS_NOT_SUPPORTED, "the caller does not take it in this form")
        message_id = self._forwarder.next_message_id()
        command_set = store_request(message_id, self._request.sop_class_uid, self._request.sop_instance_uid)
        with self._call.sending:
            self._send(context, command_set)
            return self._answer(message_id)

    def _send(self, context: PresentationContext, command_set: bytes) -> None:
        """Send a message, fragment by fragment; a fragment has an even length (PS3.8 annex E.2)."""
        limit = int(self._call.association.requestor.maximum_length or 0) - 6
        size = max(2, min(limit, MAX_FRAGMENT_BYTES) if limit > 0 else MAX_FRAGMENT_BYTES) & ~1
        for start in range(0, len(command_set), size):
            last = LAST if start + size >= len(command_set) else 0
            self._send_fragment(context, COMMAND | last, command_set[start : start + size])
        self._file.seek(0)
        left = self._size
        while left and not self._call.is_gone:
            piece = self._file.read(size)
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
        deadline_s = time.monotonic() + self._forwarder.settings.network_timeout_s
        response = None
        while time.monotonic() < deadline_s and not self._call.is_gone:
            try:
                _, response = self._call.association.dimse.msg_queue.get(timeout=CHECK_S)
                break
            except Empty:
                continue
        if isinstance(response, C_STORE) and response.MessageIDBeingRespondedTo == message_id:
            return _refusal(response.Status or 0)
        self._call.close()
        return Refusal(Status.SUBOPERATIONS_NOT_PERFORMED, "the caller does not answer")


def _refusal(status: int) -> Refusal | None:
    """Our answer to the source PACS: as the caller's, by kind."""
    if status == Status.SUCCESS:
        return None
    kind = Status.WARNING if status in WARNINGS else Status.CANNOT_UNDERSTAND
    return Refusal(kind, f"the caller answered {status:04X}")
