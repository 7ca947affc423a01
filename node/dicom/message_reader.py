"""DIMSE messages are put together from P-DATA-TF PDUs, and each is given to the sink that serves it (PS3.7 6.3)."""

import logging
import struct
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from pydicom.uid import UID
from pynetdicom.association import Association

from node.access.callers import NOBODY, Caller, RateExceededError
from node.dicom.command_set import (
    C_ECHO_RQ,
    C_FIND_RQ,
    C_GET_RQ,
    C_MOVE_RQ,
    C_STORE_RQ,
    COMMAND,
    LAST,
    N_ACTION_RQ,
    N_CREATE_RQ,
    N_EVENT_REPORT_RQ,
    Request,
    has_data_set,
    read_command,
    read_request,
    response_to,
    without_status_detail,
)
from node.dicom.message_sink import DataSink, DroppedData, ProtocolError, PynetdicomMessage
from node.dicom.socket_reader import SocketReader
from node.dicom.sop_classes import Service, service_of
from node.errors import Refusal, Status
from node.options.access import Right

logger = logging.getLogger(__name__)

MAX_COMMAND_BYTES: Final = 1 << 16  # a C-FIND or C-STORE command set takes some 200
VALUE_HEADER: Final = struct.Struct(">IBB")  # length, presentation context, message control header (9.3.5.1, E.2)
SERVICE_OF_COMMAND: Final = {
    C_ECHO_RQ: Service.VERIFICATION,
    C_FIND_RQ: Service.FIND,
    C_MOVE_RQ: Service.MOVE,
    C_GET_RQ: Service.GET,
    C_STORE_RQ: Service.STORAGE,
    N_CREATE_RQ: Service.AVAILABILITY,
    N_EVENT_REPORT_RQ: Service.COMMITMENT,
    N_ACTION_RQ: Service.COMMITMENT,
}
"""Which service a request belongs to; every other request is refused as not recognized."""
RIGHTS: Final = {
    Service.FIND: (Right.FIND, Right.SIMILAR),  # which of them a query needs is known once it is read
    Service.MOVE: (Right.RETRIEVE,),
    Service.GET: (Right.RETRIEVE,),
    Service.AVAILABILITY: (Right.ADMIN,),
    Service.COMMITMENT: (Right.STORE,),
}
"""Rights of which a request of a service needs one; storage needs that of the association, and C-ECHO none."""


class InstanceStore(Protocol):
    """Takes the instances of C-STORE requests."""

    def begin(self, request: Request, transfer_syntax: UID, sending_ae_title: str) -> DataSink:
        """Return the sink for the data set of one request. Never raises: `finish` returns what is wrong."""

    def note(self, request: Request, refusal: Refusal, sending_ae_title: str) -> None:
        """Log and count a request of any kind that is refused before its data set."""


class Message(NamedTuple):
    """A message whose data set is under way.

    Attributes
    ----------
    request
        The request that gets our response when the data set is complete; None if pynetdicom responds.
    """

    context_id: int
    request: Request | None
    sink: DataSink


class MessageReader:
    """Reads the messages of one association.

    Parameters
    ----------
    association
        Tells the accepted presentation contexts; pynetdicom serves its other requests.
    store
        Takes the instances of C-STORE requests, whether the peer requested the association or we did (C-GET).
    respond
        Sends a command set in a presentation context.
    """

    def __init__(self, association: Association, store: InstanceStore, respond: Callable[[int, bytes], None]) -> None:
        self._association, self.store, self._respond = association, store, respond
        self.caller: Caller = NOBODY  # until somebody is admitted
        self.storing = Right.STORE
        self._message: Message | None = None
        self._command = bytearray()

    @property
    def is_within_message(self) -> bool:
        """True if a data set is under way: its rest comes without a response from us."""
        return self._message is not None

    @property
    def _peer_title(self) -> str:
        association = self._association
        peer = association.requestor if association.is_acceptor else association.acceptor
        return str(peer.ae_title)

    def read_values(self, reader: SocketReader, unread: int) -> None:
        """Read the presentation data values of one P-DATA-TF PDU (PS3.8 9.3.5).

        Parameters
        ----------
        unread
            Length of the PDU without its header, bytes.

        Raises
        ------
        ProtocolError, CommandError
            The peer sent what the standard does not allow.
        OSError
            The peer is silent or gone.
        """
        if not unread:
            raise ProtocolError("P-DATA-TF without a presentation data value")
        while unread:
            if unread < VALUE_HEADER.size:
                raise ProtocolError("P-DATA-TF ends within a presentation data value")
            length, context_id, control = VALUE_HEADER.unpack(reader.read_exactly(VALUE_HEADER.size))
            unread -= 4 + length
            if length < 2 or unread < 0:
                raise ProtocolError(f"presentation data value of {length} bytes in a PDU that ends before it does")
            read = self._read_command if control & COMMAND else self._read_data
            read(reader, context_id, length - 2, is_last=bool(control & LAST))

    def abandon(self) -> None:
        """Drop the message under way, if there is one: its rest will not come."""
        message, self._message = self._message, None
        if message is not None:
            message.sink.abandon()

    def _read_command(self, reader: SocketReader, context_id: int, size: int, *, is_last: bool) -> None:
        """Take a fragment of a command set; the last one begins a message."""
        if self._message is not None:
            raise ProtocolError("a command within the data set of another")
        if len(self._command) + size > MAX_COMMAND_BYTES:
            raise ProtocolError(f"a command set of more than {MAX_COMMAND_BYTES} bytes")
        if context_id not in self._association._accepted_cx:
            raise ProtocolError(f"presentation context {context_id} was not accepted")
        self._command += reader.read_exactly(size)
        if is_last:
            command_set = bytes(self._command)
            self._command.clear()
            self._begin(context_id, command_set)

    def _read_data(self, reader: SocketReader, context_id: int, size: int, *, is_last: bool) -> None:
        """Hand a fragment of a data set on, as it comes."""
        if self._message is None or self._message.context_id != context_id:
            raise ProtocolError("data of no message")
        while size:
            piece = reader.read_some(size)
            size -= len(piece)
            self._message.sink.write(piece)
        if is_last:
            self._finish()

    def _begin(self, context_id: int, command_set: bytes) -> None:
        if self._association.is_requestor:
            command_set = without_status_detail(command_set)
        elements = read_command(command_set)
        request = read_request(elements)
        refusal = None if request is None else self._refusal(context_id, request)
        if request is not None and refusal is not None:
            self.store.note(request, refusal, self._peer_title)
            self._message = Message(context_id, request, DroppedData(refusal))
        elif request is not None and request.command_field == C_STORE_RQ:
            self._message = Message(context_id, request, self._begin_storing(context_id, request))
        else:
            self._message = Message(context_id, None, PynetdicomMessage(self._association, context_id, command_set))
        if not has_data_set(elements):
            self._finish()

    def _refusal(self, context_id: int, request: Request) -> Refusal | None:
        """Refuse what the presentation context was not accepted for (PS3.7 annex C: 0122H, 0211H)."""
        context = self._association._accepted_cx[context_id]
        service = SERVICE_OF_COMMAND.get(request.command_field)
        if service is None:
            return Refusal(Status.UNRECOGNIZED_OPERATION, "this operation is not offered")
        if not context.as_scp or service is not service_of(context.abstract_syntax or ""):
            return Refusal(Status.SOP_CLASS_NOT_SUPPORTED, "not in this presentation context")
        if request.sop_class_uid != context.abstract_syntax:
            return Refusal(Status.SOP_CLASS_NOT_SUPPORTED, "SOP class is not that of the presentation context")
        return None if self._association.is_requestor else self._denial(service)

    def _denial(self, service: Service) -> Refusal | None:
        """Refuse what the caller has no right to, or does too often; a check that fails refuses, too."""
        if service is Service.VERIFICATION:
            return None
        try:
            self.caller.begin(*((self.storing,) if service is Service.STORAGE else RIGHTS[service]))
        except RateExceededError as refusal:
            is_retrieval = service in (Service.MOVE, Service.GET)
            status = Status.SUBOPERATIONS_NOT_PERFORMED if is_retrieval else refusal.status
            return Refusal(status, refusal.comment)
        except Refusal as refusal:
            return refusal
        except Exception:
            logger.exception("the rights of a caller could not be checked")
            return Refusal(Status.PROCESSING_FAILURE, "internal error: see the log of the node")
        return None

    def _begin_storing(self, context_id: int, request: Request) -> DataSink:
        association = self._association
        if association.is_acceptor and association.dimse.msg_queue.empty() and association.dul.peek_next_pdu() is None:
            association._reactor_checkpoint.clear()  # nothing to do for the thread of the association: it sleeps
        transfer_syntax = association._accepted_cx[context_id].transfer_syntax[0]
        return self.store.begin(request, transfer_syntax, self._peer_title)

    def _finish(self) -> None:
        message, self._message = self._message, None
        assert message is not None
        try:
            refusal = message.sink.finish()
        except BaseException:
            message.sink.abandon()
            raise
        if message.request is not None:
            self._respond(message.context_id, response_to(message.request, refusal))
