"""Instances on their way from the source PACS to the caller of a C-GET: each is received whole, and then forwarded."""

import logging
from collections.abc import Container
from tempfile import SpooledTemporaryFile
from typing import Final

from pydicom.uid import UID

from node.dicom.command_set import Request
from node.errors import Refusal, Status
from node.retrieve.caller import RetrieveCall, SubOperations
from node.retrieve.sub_operations import StoreSubOperations, Tally
from node.settings import Settings

logger = logging.getLogger(__name__)

IN_MEMORY_BYTES: Final = 1 << 20
"""A larger instance waits in a temporary file."""


class Forwarder:
    """Takes the sub-operations of a C-GET of ours, and repeats them on the association of the caller.

    It is the `InstanceStore` of that association. The answer of the caller becomes ours, so the source PACS counts what
    the caller has.

    Parameters
    ----------
    hidden
        SOP Instance UIDs that are not forwarded.
    """

    def __init__(self, settings: Settings, call: RetrieveCall, hidden: Container[str]) -> None:
        self.settings, self.call, self.hidden = settings, call, hidden
        self.stores = StoreSubOperations(call, settings.network_timeout_s)
        self._tally = Tally()

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
        return self._tally.counts(total + (reported.warning or 0))

    def finished(self, sop_instance_uid: str, refusal: Refusal | None) -> None:
        """Count one instance."""
        self._tally.add(sop_instance_uid, refusal)

    @property
    def failed(self) -> list[str]:
        """SOP Instance UIDs that the caller refused."""
        return self._tally.failed


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
        self._file.seek(0)
        request = self._request
        return self._forwarder.stores.send(
            context, request.sop_class_uid, request.sop_instance_uid, self._file, self._size
        )
