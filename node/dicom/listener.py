"""The listening socket: each connection becomes an association with our own upper layer under it."""

import logging
import socket
from threading import Thread
from typing import Any

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from node.dicom.upper_layer import Store, UpperLayer

logger = logging.getLogger(__name__)


class Listener(ThreadedAssociationServer):
    """Accepts connections in a thread of this process.

    Parameters
    ----------
    shared
        Whether other processes listen on the same port (SO_REUSEPORT): the kernel gives each connection to one.
    """

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, *arguments: Any, store: Store, timeout_s: float, shared: bool, **options: Any) -> None:
        self.store, self.timeout_s, self.shared = store, timeout_s, shared
        super().__init__(*arguments, **options, request_handler=AssociationHandler)  # type: ignore[misc]

    def server_bind(self) -> None:
        """Bind, beside others where the port is shared."""
        if self.shared:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # type: ignore[union-attr]
        super().server_bind()

    def verify_request(self, *_: Any) -> bool:
        """Refuse a connection where the associations of this process are as many as may be."""
        return len(self.active_associations) < self.ae.maximum_associations

    def start(self) -> None:
        """Listen, in a thread of its own."""
        self.ae._servers.append(self)
        Thread(target=self.serve_forever, name=f"Listener:{self.server_address[1]}", daemon=True).start()

    def stop(self) -> None:
        """Listen no more, and close what is open: a sender sends again what was not acknowledged."""
        self.shutdown()
        for association in self.active_associations:
            connection = association.dul.socket
            if connection is not None:
                connection._shutdown_socket()


class AssociationHandler(RequestHandler):
    """Makes an association of a connection."""

    server: Listener

    def _create_association(self) -> Association:
        association = super()._create_association()
        layer = UpperLayer(association, self.server.store, self.server.timeout_s)
        layer.socket = association.dul.socket
        layer.event_queue.put(association.dul.event_queue.get())  # Evt5, transport connection indication
        association.dul = layer
        association.acse_timeout = self.ae.acse_timeout  # sets the timers, which are the layer's
        association.network_timeout = self.ae.network_timeout
        return association


def listen(ae: AE, address: tuple[str, int], handlers: list[Any], store: Store, *, shared: bool) -> Listener:
    """Return a listener that has begun.

    Raises
    ------
    OSError
        The address is in use or not ours.
    """
    timeout_s = ae.network_timeout or 0
    listener = ae.make_server(
        address, evt_handlers=handlers, server_class=Listener, store=store, timeout_s=timeout_s, shared=shared
    )
    assert isinstance(listener, Listener)
    listener.start()
    return listener
