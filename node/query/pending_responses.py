"""Pending responses of a C-FIND request, written several at a time.

pynetdicom makes messages of objects, each of which crosses two queues and is one write to the socket: that takes twice
as long as finding what they hold.
"""

import time
from threading import Event
from typing import Any, Final

from node.dicom.command_set import command_pdus, data_pdus, pending_response
from node.errors import Status

MAX_BUFFER_BYTES: Final = 1 << 15
"""Responses are sent once they fill this: about a hundred. A C-CANCEL is looked for before each time."""
MAX_AGE_S: Final = 0.02
"""Longest time that a response waits for others."""
CHECK_S: Final = 0.05
"""Interval between two looks whether the caller is still there, while it does not read."""


class PendingResponses:
    """The pending responses to one request, on their way to the caller.

    Parameters
    ----------
    event
        pynetdicom's, of the request (`EVT_C_FIND`). The association has our upper layer.
    """

    def __init__(self, event: Any) -> None:
        self._event, self._association = event, event.assoc
        self._maximum_length: int = event.assoc.requestor.maximum_length or 0
        self._buffer = bytearray()
        self._oldest_s = 0.0
        self._under_way: Event | None = None
        self._has_cancelled = False
        self._commands: dict[Status, bytes] = {}

    def is_cancelled(self) -> bool:
        """True once the caller wants no more, or has gone."""
        if not self._has_cancelled:
            self._has_cancelled = bool(self._event.is_cancelled)  # pynetdicom says so once
        return self._has_cancelled or not self._association.is_established

    def write(self, status: Status, identifier: bytes) -> None:
        """Send a response, at once or soon together with others; none is sent after a C-CANCEL was seen."""
        now = time.monotonic()
        if not self._buffer:
            self._oldest_s = now
        if status not in self._commands:
            self._commands[status] = self._command(status)
        self._buffer += self._commands[status]
        for pdu in data_pdus(self._event.context.context_id, identifier, self._maximum_length):
            self._buffer += pdu
        if len(self._buffer) >= MAX_BUFFER_BYTES or now - self._oldest_s >= MAX_AGE_S:
            self.flush()

    def flush(self) -> None:
        """Have all sent that was written; wait first until the caller took what was sent before."""
        while self._under_way is not None and not self._under_way.wait(CHECK_S):
            if not self._association.is_established:
                break
        if self._buffer and not self.is_cancelled():
            self._under_way = self._association.dul.send_encoded(bytes(self._buffer))
        self._buffer.clear()

    def _command(self, status: Status) -> bytes:
        request, context_id = self._event.request, self._event.context.context_id
        command_set = pending_response(str(request.AffectedSOPClassUID), request.MessageID, status)
        return b"".join(command_pdus(context_id, command_set, self._maximum_length))
