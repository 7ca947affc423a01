"""A client of C-FIND that counts responses and does not decode them."""

import socket
import ssl
import struct
import time
from dataclasses import dataclass, field
from typing import Final, Self

from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from node.dicom.client import Peer
from tests.support.dicom.wire import (
    ASSOCIATE_AC,
    C_FIND_RQ,
    COMMAND,
    EXPLICIT,
    LAST,
    P_DATA_TF,
    STUDY_ROOT_FIND,
    associate_rq,
    command,
    item,
    p_data,
)

STATUS: Final = struct.pack("<HHI", 0, 0x0900, 2)
PENDING: Final = (0xFF00, 0xFF01)
MAXIMUM_LENGTH: Final = 131072


@dataclass(frozen=True, slots=True)
class Answer:
    """Number of pending responses, and seconds to the first and to the final response."""

    responses: int
    first_s: float
    total_s: float


@dataclass(slots=True)
class FindClient:
    """An association for Study Root FIND."""

    peer: Peer
    connection: socket.socket
    unread: bytearray = field(default_factory=bytearray)

    @classmethod
    def associate(cls, peer: Peer, tls: ssl.SSLContext | None = None) -> Self:
        """Connect, over TLS if a context is given, and have the association accepted."""
        connection = socket.create_connection((peer.host, peer.port), 120)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            connection = tls.wrap_socket(connection, server_hostname=peer.host)
        user = item(0x51, struct.pack(">I", MAXIMUM_LENGTH)) + item(0x52, b"2.25.99")
        connection.sendall(associate_rq([(STUDY_ROOT_FIND, (EXPLICIT,))], peer.ae_title.encode(), b"BENCHMARK", user))
        client = cls(peer, connection)
        if client._pdu()[0] != ASSOCIATE_AC:
            raise RuntimeError(f"{peer} accepts no association")
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.connection.close()

    def ask(self, request: Dataset) -> Answer:
        """Send a request and read the responses.

        Raises
        ------
        RuntimeError
            The final response is not success.
        """
        encoded = encode(request, False, is_little_endian=True)
        assert encoded is not None
        started = time.perf_counter()
        self.connection.sendall(
            p_data(1, COMMAND | LAST, command(C_FIND_RQ, STUDY_ROOT_FIND)) + p_data(1, LAST, encoded)
        )
        count, first_s = 0, 0.0
        while (status := self._status()) in PENDING:
            count += 1
            first_s = first_s or time.perf_counter() - started
        if status:
            raise RuntimeError(f"the query of {self.peer} ends with status {status:04X}")
        return Answer(count, first_s, time.perf_counter() - started)

    def _status(self) -> int:
        """Status of the next response; values that hold data are passed over."""
        while True:
            kind, content = self._pdu()
            if kind != P_DATA_TF:
                raise RuntimeError(f"PDU {kind} came from {self.peer} instead of a response")
            if content[5] & COMMAND:  # no server here puts two values into a PDU
                return int(struct.unpack_from("<H", content, content.index(STATUS) + len(STATUS))[0])

    def _pdu(self) -> tuple[int, bytes]:
        while len(self.unread) < 6 or len(self.unread) < 6 + struct.unpack_from(">I", self.unread, 2)[0]:
            piece = self.connection.recv(1 << 18)
            if not piece:
                raise RuntimeError("the server closed the connection")
            self.unread += piece
        end = 6 + struct.unpack_from(">I", self.unread, 2)[0]
        kind, content = self.unread[0], bytes(self.unread[6:end])
        del self.unread[:end]
        return kind, content
