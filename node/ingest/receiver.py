"""C-STORE: received bytes become a durable file in the spool as they come, undecoded (PS3.4 annex B)."""

import logging
import re
import struct
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol

from pydicom.tag import Tag
from pydicom.uid import UID, KeyObjectSelectionDocumentStorage

from node.dicom.command_set import Request
from node.errors import Refusal, Status
from node.ingest.identity import SOP_INSTANCE_UID, IdentityCheck
from node.ingest.pressure import Pressure
from node.ingest.refusals import Refusals
from node.metrics import metrics
from node.version import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from storage.errors import SpoolFull
from storage.spool.arrival import Arrival
from storage.spool.queue import FULL

logger = logging.getLogger(__name__)

PREAMBLE: Final = b"\0" * 128 + b"DICM"
UID_PATTERN: Final = re.compile(r"[0-9.]{1,64}")
BUSY, DISK_FULL = "busy, retry", "disk full, retry later"


class ArrivalSpool(Protocol):
    """A destination of received instances: the queue of instances to be indexed, or a question."""

    def begin(self, sop_instance_uid: str = "") -> Arrival:
        """Let one instance arrive.

        Raises
        ------
        Refusal, SpoolFull, OSError
            It cannot be taken.
        """


Follow = Callable[[Path, str], bool]
"""Acts on a received key object document, given its file and its sender; False if it says nothing to us. It may raise
a `Refusal`."""


class Receiver:
    """Puts received instances into the spool; success means durable.

    An `InstanceStore` of node/dicom: it serves associations that peers ask for, and those that we ask for (C-GET).

    Parameters
    ----------
    follow
        Acts on key object documents; None: they are spooled like any other object.
    """

    def __init__(
        self, spool: ArrivalSpool, pressure: Pressure, refusals: Refusals, follow: Follow | None = None
    ) -> None:
        self.spool, self.pressure, self.refusals, self.follow = spool, pressure, refusals, follow

    def begin(self, request: Request, transfer_syntax: UID, sending_ae_title: str) -> "IncomingInstance":
        """Let one instance arrive; `finish` returns what is wrong, as DIMSE answers after the data set."""
        return IncomingInstance(self, request, transfer_syntax, sending_ae_title)

    def note(self, request: Request, refusal: Refusal, sending_ae_title: str) -> None:
        """Log and count the refusal of a request."""
        uid, status = request.sop_instance_uid[:64], f"{refusal.status:04X}"
        logger.warning(
            "refused request %04XH for %s of %s: %s %s", request.command_field, uid, sending_ae_title, status, refusal
        )
        self.refusals.add(f"{status} {refusal}", sending_ae_title)


class IncomingInstance:
    """One instance on its way from the network into the spool (a `DataSink`); `Arrival` is its file.

    Parameters
    ----------
    sending_ae_title
        The peer, which is recorded in the file meta information and with a refusal.
    """

    def __init__(self, receiver: Receiver, request: Request, transfer_syntax: UID, sending_ae_title: str) -> None:
        self._receiver, self._request, self._sending_ae_title = receiver, request, sending_ae_title
        self._identity = IdentityCheck(request, transfer_syntax)
        self._arrival: Arrival | None = None
        self._refusal: Refusal | None = None
        self._size_bytes = 0
        try:
            if not UID_PATTERN.fullmatch(request.sop_instance_uid):
                raise Refusal(Status.DATA_SET_MISMATCH, "SOP Instance UID is not a UID", Tag(SOP_INSTANCE_UID))
            if receiver.pressure.is_out_of_memory():
                raise Refusal(Status.OUT_OF_RESOURCES, BUSY)
            self._arrival = receiver.spool.begin(request.sop_instance_uid)
            self._arrival.write(PREAMBLE + file_meta(request, transfer_syntax, sending_ae_title))
        except (Refusal, SpoolFull, OSError) as error:
            self._refuse(error)

    def write(self, piece: memoryview) -> None:
        """Write the next piece of the data set; once something is wrong, only let it pass."""
        if self._arrival is not None:
            try:
                self._size_bytes += len(piece)
                self._identity.take(piece)
                self._arrival.write(piece)
            except (Refusal, OSError) as error:
                self._refuse(error)

    def finish(self) -> Refusal | None:
        """Make the instance durable.

        Returns
        -------
        Refusal or None
            None when it is durable. Else A700 when there is no room, A900 when data set and command disagree, C000
            when the bytes are no data set. 0124, A700 or C1FF when a correction cannot be followed.
        """
        started_s = time.monotonic()
        if self._arrival is not None:
            try:
                self._identity.finish()
                if not self._is_followed(self._arrival):
                    self._arrival.keep()
            except (Refusal, OSError) as error:
                self._refuse(error)
        if self._refusal is not None:
            self._receiver.note(self._request, self._refusal, self._sending_ae_title)
        self._measure(started_s)
        if self._refusal is None or self._refusal.status == Status.OUT_OF_RESOURCES:
            time.sleep(self._receiver.pressure.delay_s())  # the first step of back-pressure: the sender waits
        return self._refusal

    def _measure(self, started_s: float) -> None:
        status = Status.SUCCESS if self._refusal is None else self._refusal.status
        metrics().received.labels(f"{status:04X}").inc()
        metrics().acknowledgement.observe(time.monotonic() - started_s)
        if self._refusal is None:
            metrics().received_bytes.inc(self._size_bytes)

    def abandon(self) -> None:
        """Drop what came: the association ended before the instance did."""
        arrival, self._arrival = self._arrival, None
        if arrival is not None:
            try:
                arrival.abandon()
            except OSError as error:  # the file stays in the folder of temporary ones, which is cleared at a start
                logger.error("what arrived in part cannot be removed: %s", error)

    def _is_followed(self, arrival: Arrival) -> bool:
        """True if the instance is a correction that holds from now on; nothing else of it is kept."""
        follow = self._receiver.follow
        if follow is None or self._request.sop_class_uid != KeyObjectSelectionDocumentStorage:
            return False
        is_followed = follow(arrival.complete(), self._sending_ae_title)
        if is_followed:
            self.abandon()
        return is_followed

    def _refuse(self, error: Refusal | SpoolFull | OSError) -> None:
        self.abandon()
        self._refusal = _refusal(error)


def _refusal(error: Refusal | SpoolFull | OSError) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, SpoolFull):
        return Refusal(Status.OUT_OF_RESOURCES, BUSY if error.reason == "objects" else DISK_FULL)
    if error.errno in FULL:
        return Refusal(Status.OUT_OF_RESOURCES, DISK_FULL)
    logger.error("the spool cannot be written: %s", error)
    return Refusal(Status.OUT_OF_RESOURCES, f"storage failed: {error.strerror}")


def file_meta(request: Request, transfer_syntax: UID, calling_ae_title: str) -> bytes:
    """File meta information (PS3.10 section 7.1)."""
    body = b"\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01"
    body += _meta_element(0x02, b"UI", request.sop_class_uid) + _meta_element(0x03, b"UI", request.sop_instance_uid)
    body += _constant_meta(str(transfer_syntax), calling_ae_title)
    return b"\x02\0\0\0UL\x04\0" + struct.pack("<I", len(body)) + body


@lru_cache(maxsize=1024)
def _constant_meta(transfer_syntax: str, calling_ae_title: str) -> bytes:
    return (
        _meta_element(0x10, b"UI", transfer_syntax)
        + _meta_element(0x12, b"UI", IMPLEMENTATION_CLASS_UID)
        + _meta_element(0x13, b"SH", IMPLEMENTATION_VERSION_NAME)
        + _meta_element(0x16, b"AE", calling_ae_title)
    )


def _meta_element(element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii", "replace")
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value
