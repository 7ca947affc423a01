"""Buffered reading from a socket: bytes arrive in large pieces and are handed on without a copy."""

import socket
import ssl
import struct
import time
from typing import Final

FIRST_BYTES: Final = 1 << 12
"""Size of the buffer of a connection that has not yet been granted an association."""


class PeerSilentError(OSError):
    """The peer stopped in the middle of a PDU."""


class PeerGoneError(OSError):
    """The peer closed the connection in the middle of a PDU."""


class SocketReader:
    """A buffer in front of a socket, plain or TLS.

    Parameters
    ----------
    connection
        Connected socket. Its timeouts are set here; nobody else may change them.
    timeout_s
        A peer that sends nothing for this long, or takes longer than this for one PDU, is silent.
    """

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._connection, self._timeout_s = connection, timeout_s
        self._buffer = memoryview(bytearray(FIRST_BYTES))
        self._start = self._end = 0
        self._deadline_s = float("inf")
        self._tls = connection if isinstance(connection, ssl.SSLSocket) else None
        if self._tls is None:
            _set_kernel_timeout(connection, timeout_s)
        else:
            connection.settimeout(timeout_s)  # OpenSSL would try again for ever after a timeout of the kernel's

    def shake_hands(self) -> None:
        """Do the TLS handshake, if the connection is one of TLS.

        Raises
        ------
        OSError
            The peer speaks no TLS, offers nothing that we accept, is silent or gone.
        """
        if self._tls is not None:
            self._tls.do_handshake()

    def grow(self, size_bytes: int) -> None:
        """Give the buffer its full size: one system call then brings up to `size_bytes`."""
        if size_bytes > len(self._buffer):
            unread = bytes(self._buffer[self._start : self._end])
            self._buffer = memoryview(bytearray(size_bytes))
            self._buffer[: len(unread)] = unread
            self._start, self._end = 0, len(unread)

    @property
    def has_unread(self) -> bool:
        """True if bytes can be read although the socket itself may not be readable.

        They lie in this buffer, or decrypted in that of TLS, where `poll` does not see them.
        """
        return self._end > self._start or (self._tls is not None and self._tls.pending() > 0)

    def start_deadline(self) -> None:
        """Start the time limit of the PDU that begins now."""
        self._deadline_s = time.monotonic() + self._timeout_s

    def read_some(self, max_bytes: int) -> memoryview:
        """At least one byte and at most `max_bytes`; the view is valid until the next call.

        Raises
        ------
        PeerGoneError, PeerSilentError
        """
        if self._start == self._end:
            self._start = self._end = 0
            self._fill()
        start = self._start
        self._start = min(self._end, start + max_bytes)
        return self._buffer[start : self._start]

    def read_exactly(self, count: int) -> bytes:
        """Exactly `count` bytes, as a copy.

        Raises
        ------
        PeerGoneError, PeerSilentError
        """
        piece = self.read_some(count) if count else b""
        if len(piece) == count:
            return bytes(piece)
        whole = bytearray(piece)
        while len(whole) < count:
            whole += self.read_some(count - len(whole))
        return bytes(whole)

    def _fill(self) -> None:
        if time.monotonic() > self._deadline_s:
            raise PeerSilentError(f"a PDU took more than {self._timeout_s:g} s")
        try:
            count = self._connection.recv_into(self._buffer)
        except (BlockingIOError, TimeoutError) as error:  # of the kernel's timeout, and of the one for TLS
            raise PeerSilentError(f"nothing came for {self._timeout_s:g} s in the middle of a PDU") from error
        if not count:
            raise PeerGoneError("the connection was closed in the middle of a PDU")
        self._end = count


def _set_kernel_timeout(connection: socket.socket, timeout_s: float) -> None:
    """Have the kernel end reads and writes after a time: each is one system call then, not two."""
    connection.setblocking(True)
    seconds, fraction = divmod(timeout_s, 1)
    limit = struct.pack("@ll", int(seconds), int(fraction * 1e6))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
