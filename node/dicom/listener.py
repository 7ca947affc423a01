"""The listening socket: connections wait here, cheaply, until their peers ask for an association."""

import errno
import logging
import math
import os
import resource
import selectors
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final
from weakref import WeakSet

from pynetdicom import AE
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.transport import AddressInformation, AssociationSocket

from node.dicom.message_reader import InstanceStore
from node.dicom.negotiation import AcceptedAssociation, Acceptor, AssociationPolicy, Serve
from node.dicom.upper_layer import UpperLayer

logger = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 1000
"""Connections of one process, waiting ones included, if its limit of descriptors allows as many."""
MIN_CONNECTIONS: Final = 16
DESCRIPTORS_EACH: Final = 5
"""Largest number of descriptors of a connection: socket, event, slot, spool file, and the folder that is synced."""
SHARED_DESCRIPTORS: Final = 128
"""Descriptors that a process needs besides: database, segments, log, libraries."""
TICK_S: Final = 0.5
"""Interval between checks of the deadlines of waiting connections."""
PAUSE_S: Final = 0.5
"""How long no connection is accepted after the system had no descriptor or memory for one."""
COMPLAIN_EVERY_S: Final = 60.0
LAST_REQUEST_S: Final = 10.0  # less than the supervisor's patience
BACKLOG: Final = 128
NO_HANDSHAKE: Final = "connection: no association over TLS: is its certificate one of our authorities, and valid?"
ABORTED: Final = "association aborted: not what PS3.8 allows"
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def connection_limit() -> int:
    """Raise this process's limit of descriptors as far as needed and allowed; return the connections it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SHARED_DESCRIPTORS + DESCRIPTORS_EACH * MAX_CONNECTIONS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):  # a sandbox may forbid it: the cap below follows what there is
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(MIN_CONNECTIONS, min(MAX_CONNECTIONS, (soft - SHARED_DESCRIPTORS) // DESCRIPTORS_EACH))


class Waiting:
    """Accepted connections whose peers have not sent a byte yet, oldest first: each costs a descriptor, no thread."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._connections: dict[socket.socket, tuple[Any, float]] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def __contains__(self, connection: object) -> bool:
        return connection in self._connections

    def add(self, connection: socket.socket, address: Any) -> None:
        """Watch a connection."""
        self._selector.register(connection, selectors.EVENT_READ)
        self._connections[connection] = (address, time.monotonic())

    def take(self, connection: socket.socket) -> Any:
        """Stop watching a connection, and return its address."""
        self._selector.unregister(connection)
        return self._connections.pop(connection)[0]

    def drop_silent(self, timeout_s: float) -> int:
        """Close the connections that have been silent for `timeout_s`; return how many."""
        now = time.monotonic()
        silent = [connection for connection, (_, since_s) in self._connections.items() if now - since_s >= timeout_s]
        for connection in silent:
            self._close(connection)
        return len(silent)

    def drop_oldest(self) -> bool:
        """Close the connection that has been silent longest; False if none waits."""
        for connection in self._connections:
            self._close(connection)
            return True
        return False

    def _close(self, connection: socket.socket) -> None:
        self.take(connection)
        connection.close()


class Listener:
    """Accepts connections in a thread of its own, and gives each that asks for an association one with our upper layer.

    Parameters
    ----------
    ae
        Name, timeouts and limits of our application entity, which is made known to peers.
    address
        Host and port to listen on.
    store
        Takes the instances of C-STORE requests.
    policy
        Decides who is admitted.
    shared
        True if other processes listen on the same port: the kernel gives each connection to one (SO_REUSEPORT).
    tls
        Makes every connection one of TLS; None for plain ones.
    services
        What serves requests that pynetdicom would serve otherwise, by the class of the request.

    Raises
    ------
    OSError
        The address is in use or not ours.
    """

    def __init__(
        self,
        ae: AE,
        address: tuple[str, int],
        store: InstanceStore,
        policy: AssociationPolicy,
        *,
        shared: bool = False,
        tls: ssl.SSLContext | None = None,
        services: Mapping[type, Serve] | None = None,
    ) -> None:
        self._services = services or {}
        self._ae, self._store, self._policy, self._tls = ae, store, policy, tls
        self._max_connections = connection_limit()
        self._associations: dict[AcceptedAssociation, None] = {}  # in order of arrival
        self._serving = WeakSet[AcceptedAssociation]()  # closed or not: the request may outlive the connection
        self._socket = _listening_socket(address, shared=shared)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)
        self._waiting = Waiting(self._selector)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._injected: SimpleQueue[socket.socket] = SimpleQueue()
        self._is_stopping = False
        self._paused_until_s, self._complained_s = 0.0, -math.inf
        self._thread = Thread(target=self._serve, name="listener", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """True while the accepting thread lives."""
        return self._thread.is_alive()

    def inject(self, connection: socket.socket) -> None:
        """Serve a connection that did not come from the network, such as one end of a socket pair; never of TLS."""
        self._injected.put(connection)
        os.eventfd_write(self._bell, 1)

    def stop(self) -> None:
        """Listen no more, and close what is open: a sender sends again what was not acknowledged."""
        self._is_stopping = True
        os.eventfd_write(self._bell, 1)
        self._thread.join()
        for association in list(self._associations):
            association.dul.close()
        ended_s = time.monotonic() + LAST_REQUEST_S
        for association in list(self._serving):  # whoever stops us closes what their requests read
            if association.is_alive():
                association.join(max(0.0, ended_s - time.monotonic()))

    def _serve(self) -> None:
        try:
            while not self._is_stopping:
                for key, _ in self._selector.select(TICK_S):
                    self._serve_one(key.fileobj)
                self._waiting.drop_silent(min(self._ae.acse_timeout or math.inf, self._ae.network_timeout or math.inf))
                self._resume()
        finally:
            self._waiting.drop_silent(0)
            self._selector.close()
            self._socket.close()

    def _serve_one(self, ready: Any) -> None:
        if ready is self._socket:
            self._accept()
        elif ready == self._bell:
            os.eventfd_read(self._bell)
            while not self._injected.empty():
                self._waiting.add(self._injected.get(), ("127.0.0.1", 0))
        elif ready in self._waiting:  # else it gave way to another a moment ago
            self._associate(ready, self._waiting.take(ready))

    def _accept(self) -> None:
        try:
            connection, address = self._socket.accept()
        except OSError as error:  # the peer is gone already, or the system has nothing left
            if error.errno in EXHAUSTED:
                self._pause(error)
            return
        if len(self._waiting) + len(self._associations) >= self._max_connections and not self._make_room():
            connection.close()
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a response waits for no acknowledgement
        self._waiting.add(connection, address)

    def _make_room(self) -> bool:
        """Close the connection that has been longest without an association; False if all have one."""
        if self._waiting.drop_oldest():
            return True
        for association in list(self._associations):
            if not association.is_established:
                association.dul.close()
                return True
        return False

    def _pause(self, error: OSError) -> None:
        """Accept nothing for a moment: the next try would fail the same way, at full speed."""
        self._complain("cannot accept a connection", error)
        self._waiting.drop_oldest()
        self._selector.unregister(self._socket)
        self._paused_until_s = time.monotonic() + PAUSE_S

    def _complain(self, what: str, error: Exception) -> None:
        """Count a failure, and log it if there was none within the last minute: floods must not fill the disk."""
        self._policy.note(f"connection: {what}", "")
        if time.monotonic() - self._complained_s > COMPLAIN_EVERY_S:
            self._complained_s = time.monotonic()
            logger.error("%s: %s", what, error)

    def _resume(self) -> None:
        if self._paused_until_s and time.monotonic() >= self._paused_until_s:
            self._paused_until_s = 0.0
            self._selector.register(self._socket, selectors.EVENT_READ)

    def _associate(self, connection: socket.socket, address: Any) -> None:
        """Start the threads of an association; whatever fails costs this connection only."""
        if _is_gone(connection):  # such as a monitor that only looks whether the port is open
            connection.close()
            return
        try:
            if self._tls is not None and connection.family != socket.AF_UNIX:
                connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            association = self._association(connection, address)
            self._associations[association] = None
            self._serving.add(association)
            association.dul.when_closed(lambda: self._associations.pop(association, None))
            if self._tls is not None:
                association.dul.when_closed(partial(self._note_unfinished, association.dul, address))
            association.start()
        except Exception as error:  # such as no more threads or descriptors
            self._complain("cannot serve a connection", error)
            connection.close()

    def _note_unfinished(self, layer: UpperLayer, address: Any) -> None:
        """Count a connection of TLS that ended before it asked for an association."""
        if layer.request is None and not layer.is_probe:
            self._policy.note(NO_HANDSHAKE, "", str(address[0]))

    def _association(self, connection: socket.socket, address: Any) -> AcceptedAssociation:
        """An association on a connection, set up as pynetdicom's own server does (`RequestHandler`)."""
        ae, policy = self._ae, self._policy
        association = AcceptedAssociation(ae, MODE_ACCEPTOR)
        association.services = self._services
        timeout_s = ae.network_timeout or 0
        layer = UpperLayer(association, self._store, timeout_s, lambda: policy.note(ABORTED, ""))
        association.dul, association.acse = layer, Acceptor(association, layer, policy)
        association.set_socket(AssociationSocket(association, client_socket=connection))
        association.acse_timeout, association.network_timeout = ae.acse_timeout, ae.network_timeout
        acceptor = association.acceptor
        acceptor.maximum_length, acceptor.ae_title = ae.maximum_pdu_size, ae.ae_title
        acceptor.implementation_class_uid = ae.implementation_class_uid
        acceptor.implementation_version_name = ae.implementation_version_name
        association.requestor.address_info = AddressInformation.from_tuple(address)
        return association


def _is_gone(connection: socket.socket) -> bool:
    """True if the peer of a readable connection closed or reset it and said nothing."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return True


def _listening_socket(address: tuple[str, int], *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listening = socket.create_server(address, family=family, backlog=BACKLOG, reuse_port=shared)
    listening.setblocking(False)
    return listening
