"""C-FIND requests served in the threads of their associations: read, answered with what is found, and ended once."""

import logging
import time
from threading import Event
from typing import Final

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.presentation import PresentationContext

from node.dicom.command_set import C_FIND_RQ, Request, command_pdus, data_pdus, final_response, pending_response
from node.dicom.negotiation import AcceptedAssociation
from node.dicom.sop_classes import accepted_extensions
from node.errors import Refusal, Status
from node.peers import RemoteEntity
from node.query.data_set import read_data_set
from node.query.find import Finder
from node.query.rules import query_rules
from node.settings import Settings

logger = logging.getLogger(__name__)

MAX_BUFFER_BYTES: Final = 1 << 15
"""Responses are sent once they fill this: about a hundred. A C-CANCEL is looked for before each time."""
MAX_AGE_S: Final = 0.02
"""Longest time that a response waits for others."""
CHECK_S: Final = 0.05
"""Interval between two looks whether the caller is still there, while it does not read."""


class FindService:
    """Serves C-FIND for every caller of a node."""

    def __init__(self, settings: Settings, finder: Finder) -> None:
        self.settings, self.finder = settings, finder

    def serve(self, association: AcceptedAssociation, context: PresentationContext, request: C_FIND) -> None:
        """Answer one request: pending responses and the final one. Never raises."""
        writer = ResponseWriter(association, context, request)
        try:
            status = self._answer(association, context, request, writer)
        except Refusal as refusal:
            logger.warning("refused to find: %s", refusal)
            writer.finish(refusal.status, refusal.comment, refusal.offending)
        except Exception:
            logger.exception("internal error while finding")
            writer.finish(Status.INTERNAL_ERROR, "internal error: see the log of the node")
        else:
            writer.finish(status)

    def _answer(
        self,
        association: AcceptedAssociation,
        context: PresentationContext,
        request: C_FIND,
        writer: "ResponseWriter",
    ) -> Status:
        """Write the pending responses; return the final status."""
        caller = self.settings.peers.get(association.requestor.ae_title)
        syntax, model = UID(context.transfer_syntax[0]), UID(context.abstract_syntax or "")
        proposed = association.requestor.sop_class_extended.get(model, b"")
        found = self.finder.find(
            _identifier(request, syntax, caller),
            query_rules(self.settings, model, accepted_extensions(proposed), caller, association.caller),
            implicit=syntax.is_implicit_VR,
            is_cancelled=writer.is_cancelled,
        )
        for status, identifier in found:
            if identifier is None:
                return status
            writer.write(status, identifier)
        return Status.SUCCESS


class ResponseWriter:
    """Sends the responses to one request: any number of pending ones, and one final.

    pynetdicom would make messages of objects, each of which crosses two queues and is one write to the socket: that
    takes twice as long as finding what they hold. It would also wait a millisecond before the final one, and send
    Success after a warning that ends the responses.
    """

    def __init__(self, association: AcceptedAssociation, context: PresentationContext, request: C_FIND) -> None:
        self._association, self._context_id = association, context.context_id or 0
        self._sop_class_uid, self._message_id = str(request.AffectedSOPClassUID), request.MessageID or 0
        self._maximum_length: int = association.requestor.maximum_length or 0
        self._buffer = bytearray()
        self._oldest_s = 0.0
        self._under_way: Event | None = None
        self._commands: dict[Status, bytes] = {}

    def is_cancelled(self) -> bool:
        """True once the caller wants no more, or has gone."""
        return self._association.is_cancelled(self._message_id) or self._association.is_peer_gone

    def write(self, status: Status, identifier: bytes) -> None:
        """Send a pending response, at once or soon together with others; none is sent after a C-CANCEL was seen."""
        now = time.monotonic()
        if not self._buffer:
            self._oldest_s = now
        if status not in self._commands:
            self._commands[status] = self._command(pending_response(self._sop_class_uid, self._message_id, status))
        self._buffer += self._commands[status]
        for pdu in data_pdus(self._context_id, identifier, self._maximum_length):
            self._buffer += pdu
        if len(self._buffer) >= MAX_BUFFER_BYTES or now - self._oldest_s >= MAX_AGE_S:
            self._flush()

    def finish(self, status: Status, comment: str = "", offending: BaseTag | None = None) -> None:
        """Send what is left and the final response, which is Cancel if a C-CANCEL came before them."""
        self._await_reader()
        if self.is_cancelled():
            status, comment, offending = Status.CANCEL, "", None
            self._buffer.clear()
        request = Request(C_FIND_RQ, self._message_id, self._sop_class_uid, "", has_data_set=True)
        self._buffer += self._command(final_response(request, status, comment, offending))
        self._send()

    def _flush(self) -> None:
        self._await_reader()
        if self.is_cancelled():
            self._buffer.clear()
        self._send()

    def _await_reader(self) -> None:
        """Wait until the caller took what was sent before: what it does not read is never held twice."""
        while self._under_way is not None and not self._under_way.wait(CHECK_S):
            if self._association.is_peer_gone:
                return

    def _send(self) -> None:
        if self._buffer and not self._association.is_peer_gone:
            self._under_way = self._association.dul.send_encoded(bytes(self._buffer))
        self._buffer.clear()

    def _command(self, command_set: bytes) -> bytes:
        return b"".join(command_pdus(self._context_id, command_set, self._maximum_length))


def _identifier(request: C_FIND, syntax: UID, caller: RemoteEntity | None) -> Dataset:
    """The request's identifier; one without a usable character set has the one that is set for its caller."""
    encoded = b"" if request.Identifier is None else request.Identifier.getvalue()
    return read_data_set(encoded, syntax, caller.assume_charset if caller else "")
