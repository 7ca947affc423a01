"""The upper layer of an association: pynetdicom's state machine above our own way of reading and waiting.

pynetdicom polls the socket each millisecond, reads in pieces of 4 KiB, holds whole objects in memory and wakes two
threads for each. Here the thread of the upper layer blocks until something happens. Data of C-STORE requests it streams
to the store and answers itself, whether the peer requested the association or we did (sub-operations of C-GET). All
else goes pynetdicom's way: release, abort, the state machine of PS3.8 section 9.2, every other DIMSE service.

`tests/peers/test_pynetdicom.py` compares what this relies on, private names among it, with the installed release.
"""

import logging
import os
import select
import socket
import struct
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Event, Lock, current_thread
from typing import Any, Final, cast

from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import InvalidEventError

from node.dicom.association_request import AssociationRequest, RequestPDU, read_association_request
from node.dicom.command_set import P_DATA_TF, CommandError, command_pdus
from node.dicom.message_reader import InstanceStore, MessageReader
from node.dicom.message_sink import EncodedPDUs, ProtocolError, wake
from node.dicom.socket_reader import PeerGoneError, PeerSilentError, SocketReader

logger = logging.getLogger(__name__)

BUFFER_BYTES: Final = 1 << 19
MAX_PDU_BYTES: Final = 1 << 20  # of PDUs without data: 128 presentation contexts of 100 transfer syntaxes take less
POLL_S: Final = 0.5  # how late an expired timer may be noticed
PDU_HEADER: Final = struct.Struct(">BxI")  # type, length (PS3.8 9.3.1)
ASSOCIATE_RQ: Final = 1
AWAITING_ASSOCIATION, ESTABLISHED, AWAITING_CLOSE = "Sta2", "Sta6", "Sta13"  # PS3.8 9.2.1
REQUEST_RECEIVED, CONNECTION_CLOSED, INVALID_PDU = "Evt6", "Evt17", "Evt19"  # PS3.8 table 9-10


class UpperLayer(DULServiceProvider):
    """Upper layer service provider of one association (PS3.8 sections 7 and 9).

    Parameters
    ----------
    store
        Takes the instances of C-STORE requests.
    timeout_s
        A peer that is silent for this long in the middle of a PDU is aborted.
    note_abort
        Called when the peer's bytes are not what PS3.8 allows.
    """

    def __init__(
        self,
        association: Association,
        store: InstanceStore,
        timeout_s: float,
        note_abort: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(association)
        self.daemon = True
        self._note_abort = note_abort
        self._connection: socket.socket | None = None
        self._run_loop_delay = 0  # the loop of pynetdicom sleeps this long each time round; ours blocks in `_wait`
        self._timeout_s = timeout_s
        self._reader: SocketReader | None = None
        self.messages = MessageReader(association, store, self._respond)
        self._closed: Future[None] = Future()
        self.request: AssociationRequest | None = None
        """What the peer asks for, once it has."""
        self._bell: int | None = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._bell_lock = Lock()
        self._poll = select.poll()
        self._poll.register(self._bell, select.POLLIN)

    def when_closed(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when the connection is closed, however that comes about; at once if it is."""
        self._closed.add_done_callback(lambda _: callback())

    def close(self) -> None:
        """Close the connection without a word, from any thread; the thread of the upper layer then ends."""
        self.kill_dul()
        connection = self._connection
        if connection is not None:
            with suppress(OSError):  # it is closed already
                connection.shutdown(socket.SHUT_RDWR)
        self._ring()

    def stop_dul(self) -> bool:
        """End the thread, if nothing is to be sent any more, and tell whether it has ended.

        pynetdicom's own would spin until the thread notices, which may be as long as a TLS handshake takes.
        """
        if self.state_machine.current_state != "Sta1":
            return False
        self.close()
        if current_thread() is not self:
            self.join()
        return True

    def run_reactor(self) -> None:
        """Serve until the connection is closed; never raises."""
        connection: Any = self.socket
        self._connection = connection.socket
        try:
            if connection._is_connected:  # by a peer; ours is connected by the state machine
                self._attach().shake_hands()
            super().run_reactor()
        except InvalidEventError as error:  # PS3.8 table 9-10 has no such case
            logger.warning("association with %s ends: %s", self._peer_title, error)
        except OSError as error:
            logger.warning("connection with %s ends: %s", self._peer.address, error)
        except Exception:
            logger.exception("internal error: the association with %s ends", self._peer_title)
        finally:
            self._release()

    def send_pdu(self, primitive: Any) -> None:
        """Have a primitive sent by the thread of the upper layer."""
        super().send_pdu(primitive)
        self._ring()

    def send_encoded(self, pdus: bytes) -> Event:
        """Have whole P-DATA-TF PDUs sent after all earlier primitives; the event is set once they are, or cannot be."""
        encoded = EncodedPDUs(pdus, Event())
        self.to_provider_queue.put(cast("Any", encoded))
        self._ring()
        return encoded.is_done

    @property
    def is_probe(self) -> bool:
        """True if this process connected to itself (`Listener.inject`): nobody else has a socket of this family."""
        return self._connection is not None and self._connection.family == socket.AF_UNIX

    @property
    def _peer(self) -> Any:
        return self.assoc.requestor if self.assoc.is_acceptor else self.assoc.acceptor

    @property
    def _peer_title(self) -> str:
        return self._peer.ae_title or "a peer"

    @property
    def is_over(self) -> bool:
        """True if the connection is closed, or its end is all that is awaited."""
        state = self.state_machine.current_state
        return self._closed.done() or state == AWAITING_CLOSE or (state == "Sta1" and self._reader is not None)

    def _attach(self) -> SocketReader:
        """Read from the connection from now on."""
        connection: socket.socket = cast("Any", self.socket).socket
        self._connection, self._reader = connection, SocketReader(connection, self._timeout_s)
        self._poll.register(connection, select.POLLIN)
        return self._reader

    def _release(self) -> None:
        """Give back all that the association holds; each step is taken even if one before it fails."""
        nothing = cast("Any", None)
        try:
            self.messages.abandon()
        except Exception:
            logger.exception("what arrived in part could not be dropped")
        if self._connection is not None:
            self._connection.close()  # pynetdicom does not where the peer went first
        self.to_user_queue.put(nothing)  # whoever still waits for the request of an association need not
        self.assoc.dimse.msg_queue.put((None, None))  # nor need who waits for a response
        self.assoc._reactor_checkpoint.set()
        with self._bell_lock:
            if self._bell is not None:
                os.close(self._bell)
                self._bell = None
        self._closed.set_result(None)

    def _ring(self) -> None:
        """Wake the thread of the upper layer."""
        with self._bell_lock:
            if self._bell is not None:
                os.eventfd_write(self._bell, 1)

    def _process_recv_primitive(self) -> bool:
        """Take the next primitive to send; none is sent when the association is over."""
        waiting = self.to_provider_queue.queue
        while waiting and (self.is_over or isinstance(waiting[0], EncodedPDUs)):
            first: Any = self.to_provider_queue.get_nowait()
            if isinstance(first, EncodedPDUs):
                self._send_encoded(first)
        return not self.is_over and super()._process_recv_primitive()

    def _send_encoded(self, encoded: EncodedPDUs) -> None:
        if self.state_machine.current_state == ESTABLISHED:
            cast("Any", self.socket).send(encoded.pdus)
            self._idle_timer.restart()
        encoded.is_done.set()

    def _is_transport_event(self) -> bool:
        """True if something was read; pynetdicom's loop calls this each time round when there is nothing to send."""
        connection: Any = self.socket
        if self.state_machine.current_state == AWAITING_CLOSE:
            return self._discard(connection)
        if connection.socket is None or not self.event_queue.empty() or not self._wait():
            return False
        self._read_pdu_data()
        while self.messages.is_within_message and self.event_queue.empty():  # the rest comes unasked: block for it
            self._read_pdu_data()
        return True

    def _wait(self) -> bool:
        """Block until there is something to read (True), to send, or a timer to look at."""
        connection: Any = self.socket
        if self._reader is None and connection._is_connected:
            self._attach()
        if self._reader is not None and self._reader.has_unread:
            return True
        for descriptor, _ in self._poll.poll(POLL_S * 1000):
            if descriptor != self._bell:
                return True
            os.eventfd_read(descriptor)
        if self.idle_timer_expired():
            if self.assoc.is_acceptor:
                wake(self.assoc)  # its thread ends it (network timeout)
            else:
                self._end(INVALID_PDU, PeerSilentError(f"nothing came for {self._timeout_s:g} s"))
        return False

    def _discard(self, connection: Any) -> bool:
        """Await the end of the connection (Sta13), and ignore whatever still comes (AA-6)."""
        with suppress(OSError):
            ready = self._poll.poll(0) if connection.socket is not None else []  # `select` ends at descriptor 1023
            if any(descriptor != self._bell for descriptor, _ in ready) and connection.socket.recv(BUFFER_BYTES):
                return False
        connection.close()
        return True

    def _read_pdu_data(self) -> None:
        """Read one PDU and queue the event that it is (PS3.8 table 9-10), unless it was data."""
        assert self._reader is not None
        try:
            self._read_pdu(self._reader)
        except (ProtocolError, CommandError, PeerSilentError) as error:
            self._note_abort()
            self._end(INVALID_PDU, error)
        except (PeerGoneError, OSError) as error:
            self._end(CONNECTION_CLOSED, error)

    def _read_pdu(self, reader: SocketReader) -> None:
        reader.start_deadline()
        header = reader.read_exactly(PDU_HEADER.size)
        kind, length = PDU_HEADER.unpack(header)
        if kind == P_DATA_TF and self.state_machine.current_state == ESTABLISHED:
            reader.grow(BUFFER_BYTES)
            self.messages.read_values(reader, length)
            return
        if not 1 <= kind <= 7 or length > MAX_PDU_BYTES:
            raise ProtocolError(f"PDU of type {kind:02X}H and {length} bytes")
        body = reader.read_exactly(length)
        if kind == ASSOCIATE_RQ and self.state_machine.current_state == AWAITING_ASSOCIATION:
            self.request = read_association_request(body)
            pdu, event = cast("Any", RequestPDU(self.request)), REQUEST_RECEIVED
        else:
            try:
                pdu, event = self._decode_pdu(bytearray(header + body))
            except Exception as error:  # decoding arbitrary bytes raises anything
                raise ProtocolError(f"PDU of type {kind:02X}H cannot be decoded") from error
        self.event_queue.put(event)
        self._recv_pdu.put(pdu)
        wake(self.assoc)

    def _respond(self, context_id: int, command_set: bytes) -> None:
        """Send a response, cut into PDUs that the peer takes."""
        connection: Any = self.socket
        connection.send(b"".join(command_pdus(context_id, command_set, self._peer.maximum_length or 0)))

    def _end(self, event: str, why: Exception) -> None:
        self.messages.abandon()
        logger.warning("association with %s ends: %s", self._peer_title, why)
        self.event_queue.put(event)
        wake(self.assoc)


class StreamingEntity(ApplicationEntity):
    """An application entity whose own associations have our upper layer: what a C-GET brings streams into a store.

    `associate` is that of pynetdicom; propose the storage classes with the SCP role (`build_role`).
    """

    def __init__(self, ae_title: str, store: InstanceStore, timeout_s: float) -> None:
        super().__init__(ae_title)
        self._store, self.network_timeout = store, timeout_s
        self.dimse_timeout = None  # sub-operations may take long between two responses: silence is what counts

    def _create_socket(self, assoc: Association, *arguments: Any) -> Any:
        connection = super()._create_socket(assoc, *arguments)
        assoc.dul = UpperLayer(assoc, self._store, self.network_timeout or 0)
        assoc.acse_timeout, assoc.network_timeout = self.acse_timeout, self.network_timeout  # the layer's timers
        return connection
