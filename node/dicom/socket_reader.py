"""Octets from a peer, read in large pieces and handed on where they lie."""

import socket
import struct
import time


class PeerSilentError(OSError):
    """The peer stopped in the middle of a PDU."""


class PeerGoneError(OSError):
    """The peer closed the connection in the middle of a PDU."""


class Octets:
    """A buffer before a socket.

    Parameters
    ----------
    size_bytes
        Of the buffer: what one call of the system may bring, and what an association takes of memory.
    timeout_s
        A peer that sends nothing for so long, or takes longer for one PDU, is silent.
    """

    def __init__(self, connection: socket.socket, size_bytes: int, timeout_s: float) -> None:
        self._connection, self._timeout_s = connection, timeout_s
        self._buffer = memoryview(bytearray(size_bytes))
        self._start = self._end = 0
        self._deadline_s = float("inf")
        connection.setblocking(True)  # with the timeout in the kernel each read is one call, not two
        seconds, fraction = divmod(timeout_s, 1)
        limit = struct.pack("@ll", int(seconds), int(fraction * 1e6))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def __len__(self) -> int:
        """How many were read and not yet taken."""
        return self._end - self._start

    def begin(self) -> None:
        """Give the PDU that begins now its time."""
        self._deadline_s = time.monotonic() + self._timeout_s

    def some(self, most: int) -> memoryview:
        """At least one octet and at most `most`; valid until the next call.

        Raises
        ------
        PeerGoneError, PeerSilentError
        """
        if self._start == self._end:
            self._start = self._end = 0
            self._fill()
        start = self._start
        self._start = min(self._end, start + most)
        return self._buffer[start : self._start]

    def exactly(self, count: int) -> bytes:
        """So many octets, a copy.

        Raises
        ------
        PeerGoneError, PeerSilentError
        """
        piece = self.some(count) if count else b""
        if len(piece) == count:
            return bytes(piece)
        whole = bytearray(piece)
        while len(whole) < count:
            whole += self.some(count - len(whole))
        return bytes(whole)

    def _fill(self) -> None:
        if time.monotonic() > self._deadline_s:
            raise PeerSilentError(f"a PDU took more than {self._timeout_s:g} s")
        try:
            count = self._connection.recv_into(self._buffer)
        except BlockingIOError as error:  # SO_RCVTIMEO
            raise PeerSilentError(f"nothing came for {self._timeout_s:g} s in the middle of a PDU") from error
        if not count:
            raise PeerGoneError("the connection was closed in the middle of a PDU")
        self._end = count
