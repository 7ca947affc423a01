"""Octets of PS3.8, good and bad, sent to a node by hand."""

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA_TF, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
COMMAND, LAST = 1, 2
VERIFICATION, SECONDARY_CAPTURE = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.1.7"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
C_STORE_RQ, C_FIND_RQ, C_ECHO_RQ = 0x0001, 0x0020, 0x0030
NO_DATA_SET, DATA_SET = 0x0101, 0x0000


def pdu(kind: int, content: bytes, length: int | None = None) -> bytes:
    """Type, length (a lie if given) and content (PS3.8 9.3.1)."""
    return struct.pack(">BxI", kind, len(content) if length is None else length) + content


def item(kind: int, content: bytes) -> bytes:
    """An item of an association request (9.3.2)."""
    return struct.pack(">BxH", kind, len(content)) + content


def associate_rq(
    contexts: Iterable[tuple[str, tuple[str, ...]]],
    called: bytes = b"LOOKALIKE",
    calling: bytes = b"HOSTILE",
    user: bytes | None = None,
    version: int = 1,
    application_context: str = "1.2.840.10008.3.1.1.1",
) -> bytes:
    """A-ASSOCIATE-RQ; contexts are numbered 1, 3, 5 and on, and from 257 on again."""
    presentation = b""
    for number, (abstract_syntax, transfer_syntaxes) in enumerate(contexts):
        syntaxes = item(0x30, abstract_syntax.encode()) + b"".join(
            item(0x40, one.encode()) for one in transfer_syntaxes
        )
        presentation += item(0x20, struct.pack(">Bxxx", (2 * number + 1) % 256) + syntaxes)
    if user is None:
        user = item(0x51, struct.pack(">I", 16384)) + item(0x52, b"2.25.99")
    header = struct.pack(">Hxx", version) + called.ljust(16) + calling.ljust(16) + bytes(32)
    return pdu(ASSOCIATE_RQ, header + item(0x10, application_context.encode()) + presentation + item(0x50, user))


def pdv(context_id: int, control: int, content: bytes, length: int | None = None) -> bytes:
    """A presentation data value (9.3.5.1)."""
    return struct.pack(">IBB", len(content) + 2 if length is None else length, context_id, control) + content


def p_data(context_id: int, control: int, content: bytes) -> bytes:
    """P-DATA-TF of one value."""
    return pdu(P_DATA_TF, pdv(context_id, control, content))


def element(number: int, value: bytes, length: int | None = None) -> bytes:
    """Element of a command set (PS3.7 6.3.1)."""
    return struct.pack("<HHI", 0, number, len(value) if length is None else length) + value


def command(field: int, sop_class_uid: str, sop_instance_uid: str = "", data_set: int = DATA_SET) -> bytes:
    """A command set (PS3.7 annex E)."""
    body = element(0x0002, sop_class_uid.encode() + b"\0" * (len(sop_class_uid) % 2))
    body += element(0x0100, struct.pack("<H", field)) + element(0x0110, struct.pack("<H", 1))
    body += element(0x0700, b"\0\0") + element(0x0800, struct.pack("<H", data_set))
    if sop_instance_uid:
        body += element(0x1000, sop_instance_uid.encode() + b"\0" * (len(sop_instance_uid) % 2))
    return element(0, struct.pack("<I", len(body))) + body


ECHO = p_data(3, COMMAND | LAST, command(C_ECHO_RQ, VERIFICATION, data_set=NO_DATA_SET))
RELEASE = pdu(RELEASE_RQ, bytes(4))
ABORTION = pdu(ABORT, bytes(4))
STORE = associate_rq([(SECONDARY_CAPTURE, (EXPLICIT,)), (VERIFICATION, (IMPLICIT,)), (STUDY_ROOT_FIND, (EXPLICIT,))])


@dataclass(slots=True)
class Wire:
    """A connection, closed in the end."""

    connection: socket.socket

    @classmethod
    def open(cls, host: str, port: int, timeout_s: float = 20) -> Self:
        """Connect."""
        connection = socket.create_connection((host, port), timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(connection)

    @classmethod
    def associate(cls, host: str, port: int, request: bytes = STORE, timeout_s: float = 20) -> Self:
        """Connect and have an association granted."""
        wire = cls.open(host, port, timeout_s)
        wire.send(request)
        kind = wire.kind()
        if kind != ASSOCIATE_AC:
            wire.connection.close()
            raise AssertionError(f"PDU {kind} answers the request")
        return wire

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.connection.close()

    def send(self, *octets: bytes) -> bool:
        """Send what the other side still takes; tell whether it took all."""
        try:
            for piece in octets:
                self.connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def reset(self) -> None:
        """Close without a word: RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def receive(self) -> tuple[int, bytes] | None:
        """Type and content of the next PDU, None at the end of the connection.

        Raises
        ------
        TimeoutError
            Nothing came.
        """
        header = self._exactly(6)
        if header is None:
            return None
        kind, length = struct.unpack(">BxI", header)
        content = self._exactly(length)
        return None if content is None else (kind, content)

    def kind(self) -> int | None:
        """Type of the next PDU."""
        received = self.receive()
        return None if received is None else received[0]

    def status(self) -> int | None:
        """Status of the next response, None if it is no response (PS3.7 annex C)."""
        received = self.receive()
        if received is None or received[0] != P_DATA_TF:
            return None
        at = received[1].index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
        status: int = struct.unpack_from("<H", received[1], at)[0]
        return status

    def _exactly(self, count: int) -> bytes | None:
        whole = b""
        while len(whole) < count:
            try:
                piece = self.connection.recv(count - len(whole))
            except ConnectionResetError:
                return None
            if not piece:
                return None
            whole += piece
        return whole
