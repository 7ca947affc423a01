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
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty
from threading import Lock
from typing import Any, Final, Protocol, cast

from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import InvalidEventError

from node.dicom.command_set import (
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
from node.dicom.message_sink import Handed, ProtocolError, Reception, Stored
from node.dicom.socket_reader import Octets, PeerGoneError, PeerSilentError
from node.errors import Refusal

logger = logging.getLogger(__name__)

BUFFER_BYTES: Final = 1 << 19
MOST_COMMAND_BYTES: Final = 1 << 16  # a C-FIND or C-STORE command set takes some 200
MOST_PDU_BYTES: Final = 1 << 20  # of PDUs without data: 128 presentation contexts of 100 transfer syntaxes take less
POLL_S: Final = 0.5  # how late a timer may be noticed
OVER: Final = ("Sta1", "Sta13")  # no transport connection; awaiting its end (PS3.8 9.2.1)
PDU_HEADER: Final = struct.Struct(">BxI")  # type, length (PS3.8 9.3.1)
VALUE_HEADER: Final = struct.Struct(">IBB")  # length, presentation context, message control header (9.3.5.1, E.2)


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
        self._message: Stored | Handed | None = None
        self._command = bytearray()
        self.closed: Future[None] = Future()
        """Done when the connection is closed, which may be before anybody asks."""
        self._bell: int | None = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._bell_lock = Lock()
        self._poll = select.poll()
        self._poll.register(self._bell, select.POLLIN)

    def run_reactor(self) -> None:
        """Serve until the connection is closed."""
        connection, nothing = cast("Any", self.socket).socket, cast("Any", None)
        self._octets = Octets(connection, BUFFER_BYTES, self._timeout_s)
        self._poll.register(connection, select.POLLIN)
        try:
            super().run_reactor()
        except InvalidEventError as error:  # PS3.8 table 9-10 has no such case
            logger.warning("association from %s ends: %s", self.assoc.requestor.ae_title, error)
        finally:
            self._drop_message()
            connection.close()  # pynetdicom's does not where the peer went first
            self.to_user_queue.put(nothing)  # whoever still awaits the request of an association need not
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

    def _process_recv_primitive(self) -> bool:
        """Take the next of what is to be sent; of an association that has ended, nothing is."""
        if self.state_machine.current_state not in OVER:
            return super()._process_recv_primitive()
        with suppress(Empty):
            while True:
                self.to_provider_queue.get_nowait()
        return False

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
            self._message = Handed(self.assoc, context_id, command_set)
        else:
            if self.assoc.dimse.msg_queue.empty() and self.peek_next_pdu() is None:
                self.assoc._reactor_checkpoint.clear()  # nothing to do for the thread of the association: it sleeps
            syntax = self.assoc._accepted_cx[context_id].transfer_syntax[0]
            reception = self._store.begin(request, syntax, self.assoc.requestor.ae_title)
            self._message = Stored(context_id, reception, lambda refusal: self._answer(context_id, request, refusal))
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
