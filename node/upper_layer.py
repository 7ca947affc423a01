"""The upper layer of an association that others asked for: pynetdicom's, but for how octets are read.

pynetdicom polls the socket each millisecond, reads in pieces of 4 KiB, keeps whole objects in memory and wakes two
threads for each. Here the thread of the upper layer blocks until something happens, and where that is the data of a
C-STORE request it streams them to the receiver and answers by itself. Everything else goes the way that pynetdicom
knows: negotiation, release, abort and the state machine of PS3.8 section 9.2, every other DIMSE service.

What this relies on of pynetdicom, private names among it, `tests/test_upper_layer.py` compares with the release
installed.
"""

import logging
import os
import select
import struct
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any, Final, Protocol

from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from node.errors import Refusal
from node.octets import Octets, PeerGoneError, PeerSilentError
from node.store_message import (
    COMMAND,
    LAST,
    P_DATA_TF,
    CommandError,
    StoreRequest,
    command_pdus,
    has_data_set,
    read_command,
    read_store_request,
    store_response,
)

logger = logging.getLogger(__name__)

BUFFER_BYTES: Final = 1 << 19
MOST_COMMAND_BYTES: Final = 1 << 16  # a C-FIND or C-STORE command set takes some 200
MOST_IDENTIFIER_BYTES: Final = 1 << 24  # data sets that pynetdicom keeps in memory
MOST_PDU_BYTES: Final = 1 << 20  # of PDUs without data: 128 presentation contexts of 100 transfer syntaxes take less
POLL_S: Final = 0.5  # how late a timer may be noticed
PDU_HEADER: Final = struct.Struct(">BxI")  # type, length (PS3.8 9.3.1)
VALUE_HEADER: Final = struct.Struct(">IBB")  # length, presentation context, message control header (9.3.5.1, E.2)


class ProtocolError(Exception):
    """The peer sent what PS3.8 does not allow; the association is aborted."""


class Reception(Protocol):
    """An instance that arrives."""

    def write(self, piece: memoryview) -> None:
        """Take some of the data set; the piece is valid during the call only."""

    def finish(self) -> Refusal | None:
        """Return once it is durable, or why it is not kept."""

    def abandon(self) -> None:
        """Forget it: the rest will not come."""


class Store(Protocol):
    """What takes instances."""

    def begin(self, request: StoreRequest, transfer_syntax: UID, calling_ae_title: str) -> Reception:
        """Let one instance arrive."""


class UpperLayer(DULServiceProvider):
    """Upper layer service provider of one accepted association (PS3.8 sections 7 and 9)."""

    def __init__(self, association: Association, store: Store, timeout_s: float) -> None:
        super().__init__(association)
        self.daemon = True
        self._run_loop_delay = 0  # the loop of pynetdicom sleeps so long each time round; ours blocks in `_wait`
        self._store, self._timeout_s = store, timeout_s
        self._octets: Octets | None = None
        self._message: _Stored | _Handed | None = None
        self._command = bytearray()
        self.closed: Future[None] = Future()
        """Done when the connection is closed, which may be before anybody asks."""
        self._bell: int | None = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._bell_lock = Lock()
        self._poll = select.poll()
        self._poll.register(self._bell, select.POLLIN)

    def run_reactor(self) -> None:
        """Serve until the connection is closed."""
        connection: Any = self.socket
        self._octets = Octets(connection.socket, BUFFER_BYTES, self._timeout_s)
        self._poll.register(connection.socket, select.POLLIN)
        try:
            super().run_reactor()
        finally:
            self._drop_message()
            self.assoc._reactor_checkpoint.set()
            self.closed.set_result(None)
            with self._bell_lock:
                if self._bell is not None:
                    os.close(self._bell)
                    self._bell = None

    def send_pdu(self, primitive: Any) -> None:
        """Have a primitive sent, by the thread of the upper layer."""
        super().send_pdu(primitive)
        with self._bell_lock:
            if self._bell is not None:
                os.eventfd_write(self._bell, 1)

    def _is_transport_event(self) -> bool:
        """Whether something was read; called each time round, when nothing is to be sent."""
        connection: Any = self.socket
        if self.state_machine.current_state == "Sta13":
            return self._discard(connection)
        if connection.socket is None or not self.event_queue.empty() or not self._wait():
            return False
        self._read_pdu_data()
        while self._message is not None and self.event_queue.empty():  # the rest comes without asking: block for it
            self._read_pdu_data()
        return True

    def _wait(self) -> bool:
        """Block until there is something to read (True), to send, or a timer to look at."""
        assert self._octets is not None
        if len(self._octets):
            return True
        for descriptor, _ in self._poll.poll(POLL_S * 1000):
            if descriptor != self._bell:
                return True
            os.eventfd_read(descriptor)
        if self.idle_timer_expired():
            self.assoc._reactor_checkpoint.set()  # it ends the association (network timeout)
        return False

    def _discard(self, connection: Any) -> bool:
        """Await the end of the connection (Sta13): what still comes is ignored (AA-6), whatever it is."""
        if connection.ready and connection.socket.recv(BUFFER_BYTES):
            return False
        connection.close()
        return True

    def _read_pdu_data(self) -> None:
        """Read one PDU and put the event that it is (PS3.8 table 9-10) on the queue, unless it was data."""
        try:
            self._read_pdu()
        except (ProtocolError, CommandError) as error:
            self._end("Evt19", error)  # unrecognized or invalid PDU
        except PeerSilentError as error:
            self._end("Evt19", error)
        except (PeerGoneError, OSError) as error:
            self._end("Evt17", error)  # transport connection closed

    def _read_pdu(self) -> None:
        assert self._octets is not None
        self._octets.begin()
        header = self._octets.exactly(PDU_HEADER.size)
        kind, length = PDU_HEADER.unpack(header)
        if kind == P_DATA_TF and self.state_machine.current_state == "Sta6":
            self._read_values(length)
            return
        if not 1 <= kind <= 7 or length > MOST_PDU_BYTES:
            raise ProtocolError(f"PDU of type {kind:02X}H and {length} bytes")
        body = self._octets.exactly(length)
        try:
            pdu, event = self._decode_pdu(bytearray(header + body))
        except Exception as error:  # whatever decoding anything raises
            raise ProtocolError(f"PDU of type {kind:02X}H cannot be decoded") from error
        self.event_queue.put(event)
        self._recv_pdu.put(pdu)
        self.assoc._reactor_checkpoint.set()

    def _read_values(self, left: int) -> None:
        """Read the presentation data values of a P-DATA-TF PDU (PS3.8 9.3.5)."""
        assert self._octets is not None
        if not left:
            raise ProtocolError("P-DATA-TF without a presentation data value")
        while left:
            if left < VALUE_HEADER.size:
                raise ProtocolError("P-DATA-TF ends within a presentation data value")
            length, context_id, control = VALUE_HEADER.unpack(self._octets.exactly(VALUE_HEADER.size))
            left -= 4 + length
            if length < 2 or left < 0:
                raise ProtocolError(f"presentation data value of {length} bytes in a PDU that ends before it does")
            if control & COMMAND:
                self._read_command(context_id, length - 2, is_last=bool(control & LAST))
            else:
                self._read_data(context_id, length - 2, is_last=bool(control & LAST))

    def _read_command(self, context_id: int, size: int, *, is_last: bool) -> None:
        """Take a fragment of a command set; the last one begins a message (PS3.7 section 6.3)."""
        assert self._octets is not None
        if self._message is not None:
            raise ProtocolError("a command within the data set of another")
        if len(self._command) + size > MOST_COMMAND_BYTES:
            raise ProtocolError(f"a command set of more than {MOST_COMMAND_BYTES} bytes")
        if context_id not in self.assoc._accepted_cx:
            raise ProtocolError(f"presentation context {context_id} was not accepted")
        self._command += self._octets.exactly(size)
        if is_last:
            command_set = bytes(self._command)
            self._command.clear()
            self._begin(context_id, command_set)

    def _begin(self, context_id: int, command_set: bytes) -> None:
        elements = read_command(command_set)
        request = read_store_request(elements)
        if request is None:
            self._message = _Handed(self.assoc, context_id, command_set)
        else:
            if self.assoc.dimse.msg_queue.empty() and self.peek_next_pdu() is None:
                self.assoc._reactor_checkpoint.clear()  # nothing to do for the thread of the association: it sleeps
            syntax = self.assoc._accepted_cx[context_id].transfer_syntax[0]
            reception = self._store.begin(request, syntax, self.assoc.requestor.ae_title)
            self._message = _Stored(context_id, reception, lambda refusal: self._answer(context_id, request, refusal))
        if not has_data_set(elements):
            self._finish()

    def _answer(self, context_id: int, request: StoreRequest, refusal: Refusal | None) -> None:
        connection: Any = self.socket
        maximum_length = self.assoc.requestor.maximum_length or 0
        connection.send(b"".join(command_pdus(context_id, store_response(request, refusal), maximum_length)))

    def _read_data(self, context_id: int, size: int, *, is_last: bool) -> None:
        """Hand a fragment of a data set on, as it comes."""
        assert self._octets is not None
        if self._message is None or self._message.context_id != context_id:
            raise ProtocolError("data of no message")
        while size:
            piece = self._octets.some(size)
            size -= len(piece)
            self._message.take(piece)
        if is_last:
            self._finish()

    def _finish(self) -> None:
        message, self._message = self._message, None
        if message is not None:
            message.finish()

    def _drop_message(self) -> None:
        message, self._message = self._message, None
        if message is not None:
            message.abandon()

    def _end(self, event: str, why: Exception) -> None:
        self._drop_message()
        logger.warning("association from %s ends: %s", self.assoc.requestor.ae_title, why)
        self.event_queue.put(event)
        self.assoc._reactor_checkpoint.set()


class _Stored:
    """A C-STORE request under way: its data set goes to the receiver."""

    def __init__(self, context_id: int, reception: Reception, answer: Callable[[Refusal | None], None]) -> None:
        self.context_id, self._reception, self._answer = context_id, reception, answer
        self.take, self.abandon = reception.write, reception.abandon

    def finish(self) -> None:
        """Answer, once it is durable."""
        self._answer(self._reception.finish())


class _Handed:
    """Any other message: it goes to pynetdicom, as its own upper layer would hand it on (DT-2)."""

    def __init__(self, association: Association, context_id: int, command_set: bytes) -> None:
        self.context_id, self._association, self._size = context_id, association, 0
        self._hand_on(COMMAND | LAST, command_set)

    def take(self, piece: memoryview) -> None:
        """Hand a piece of the data set on, as a fragment that is not the last."""
        self._size += len(piece)
        if self._size > MOST_IDENTIFIER_BYTES:
            raise ProtocolError(f"a data set of more than {MOST_IDENTIFIER_BYTES} bytes in a message that stores none")
        self._hand_on(0, bytes(piece))

    def finish(self) -> None:
        """End the data set, and wake the thread that serves the message."""
        if self._association.dimse.message is not None:
            self._hand_on(LAST, b"")
        self._association._reactor_checkpoint.set()

    def abandon(self) -> None:
        """Do nothing: what pynetdicom holds goes with the association."""

    def _hand_on(self, control: int, piece: bytes) -> None:
        fragment = P_DATA()
        fragment.presentation_data_value_list = [[self.context_id, bytes([control]) + piece]]  # type: ignore[list-item]
        try:
            self._association.dimse.receive_primitive(fragment)
        except Exception as error:  # whatever reading a command set of anything raises
            raise ProtocolError("a message that cannot be decoded") from error
