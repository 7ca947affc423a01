"""C-STORE: received bytes become a durable file in the spool as they come, undecoded (PS3.4 annex B)."""

import logging
import re
import struct
import time
import zlib
from functools import lru_cache
from io import BytesIO
from typing import Final

from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from node.dicom.command_set import StoreRequest
from node.errors import Refusal, Status
from node.ingest.pressure import Pressure
from node.ingest.refusals import Refusals
from node.version import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from storage.errors import SpoolFull
from storage.spool.arrival import Arrival
from storage.spool.queue import FULL, Spool

logger = logging.getLogger(__name__)

PREAMBLE: Final = b"\0" * 128 + b"DICM"
UID_PATTERN: Final = re.compile(r"[0-9.]{1,64}")
SOP_CLASS_UID, SOP_INSTANCE_UID = Tag(0x0008, 0x0016), Tag(0x0008, 0x0018)
HEAD_BYTES: Final = 1 << 16
"""Far more than the elements up to the SOP Instance UID take."""

BUSY, DISK_FULL = "busy, retry", "disk full, retry later"


class Receiver:
    """Puts received instances into the spool; success means durable."""

    def __init__(self, spool: Spool, pressure: Pressure, refusals: Refusals) -> None:
        self.spool, self.pressure, self.refusals = spool, pressure, refusals

    def begin(self, request: StoreRequest, transfer_syntax: UID, calling_ae_title: str) -> "Receiving":
        """Let one instance arrive; whatever is wrong is said when it ends, as DIMSE has it."""
        return Receiving(self, request, transfer_syntax, calling_ae_title)


class Receiving:
    """One instance that arrives."""

    def __init__(self, receiver: Receiver, request: StoreRequest, transfer_syntax: UID, calling_ae_title: str) -> None:
        self._receiver, self._calling_ae_title = receiver, calling_ae_title
        self._request, self._transfer_syntax = request, transfer_syntax
        self._arrival: Arrival | None = None
        self._refusal: Refusal | None = None
        try:
            if not UID_PATTERN.fullmatch(request.sop_instance_uid):
                raise Refusal(Status.DATA_SET_MISMATCH, "SOP Instance UID is not a UID", SOP_INSTANCE_UID)
            if receiver.pressure.is_out_of_memory():
                raise Refusal(Status.OUT_OF_RESOURCES, BUSY)
            self._arrival = receiver.spool.begin(request.sop_instance_uid)
            self._arrival.write(PREAMBLE + _file_meta(request, transfer_syntax, calling_ae_title))
            self._meta_bytes = self._arrival.size_bytes
        except (Refusal, SpoolFull, OSError) as error:
            self._refuse(error)

    def write(self, piece: memoryview) -> None:
        """Write some of the data set; once something is wrong, only let it pass."""
        if self._arrival is not None:
            try:
                self._arrival.write(piece)
            except OSError as error:
                self._refuse(error)

    def finish(self) -> Refusal | None:
        """Make it durable.

        Returns
        -------
        Why it was not kept: A700 when there is no room, A900 when data set and command disagree, C000 when it is no
        data set. None when it is durable.
        """
        if self._arrival is not None:
            try:
                self._check(self._arrival)
                self._arrival.keep()
            except (Refusal, OSError) as error:
                self._refuse(error)
        if self._refusal is not None:
            self._note(self._refusal)
        if self._refusal is None or self._refusal.status == Status.OUT_OF_RESOURCES:
            time.sleep(self._receiver.pressure.delay_s())  # the first step of back-pressure: the sender waits
        return self._refusal

    def abandon(self) -> None:
        """Forget what came: the association ended before the instance did."""
        if self._arrival is not None:
            self._arrival.abandon()
            self._arrival = None

    def _refuse(self, error: Refusal | SpoolFull | OSError) -> None:
        self.abandon()
        self._refusal = _refusal(error)

    def _note(self, refusal: Refusal) -> None:
        uid, title = self._request.sop_instance_uid[:64], self._calling_ae_title
        logger.warning("refused to store %s of %s with %04X: %s", uid, title, refusal.status, refusal)
        self._receiver.refusals.add(f"{refusal.status:04X} {refusal}", title)

    def _check(self, arrival: Arrival) -> None:
        found = _head(arrival.read(HEAD_BYTES, self._meta_bytes), self._transfer_syntax)
        commanded = {SOP_CLASS_UID: self._request.sop_class_uid, SOP_INSTANCE_UID: self._request.sop_instance_uid}
        for tag, uid in commanded.items():
            if found.get(tag, "") != uid:
                raise Refusal(Status.DATA_SET_MISMATCH, "data set and command name different UIDs", tag)


def _refusal(error: Refusal | SpoolFull | OSError) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, SpoolFull):
        return Refusal(Status.OUT_OF_RESOURCES, BUSY if error.reason == "objects" else DISK_FULL)
    if error.errno in FULL:
        return Refusal(Status.OUT_OF_RESOURCES, DISK_FULL)
    logger.error("the spool cannot be written: %s", error)
    return Refusal(Status.OUT_OF_RESOURCES, f"storage failed: {error.strerror}")


def _head(octets: bytes, transfer_syntax: UID) -> dict[BaseTag, str]:
    """SOP Class and Instance UID of an encoded data set, read no further than that."""
    if transfer_syntax not in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
        found = quick_head(octets, is_implicit=transfer_syntax == ImplicitVRLittleEndian)
        if found is not None:
            return found
    try:
        return head_by_pydicom(octets, transfer_syntax)
    except Exception as error:
        raise Refusal(Status.CANNOT_UNDERSTAND, "the stream is not a data set") from error


def head_by_pydicom(octets: bytes, transfer_syntax: UID) -> dict[BaseTag, str]:
    """SOP Class and Instance UID, whatever stands before them; raises what reading anything raises."""
    if transfer_syntax == DeflatedExplicitVRLittleEndian:
        octets = zlib.decompressobj(-zlib.MAX_WBITS).decompress(octets, HEAD_BYTES)
    head = read_dataset(
        BytesIO(octets),
        transfer_syntax == ImplicitVRLittleEndian,
        transfer_syntax != ExplicitVRBigEndian,  # all others, known or not, are little endian (PS3.5 annex A)
        stop_when=lambda tag, _vr, _length: tag > SOP_INSTANCE_UID,
    )
    return {tag: str(head[tag].value) for tag in (SOP_CLASS_UID, SOP_INSTANCE_UID) if tag in head}


def quick_head(octets: bytes, *, is_implicit: bool) -> dict[BaseTag, str] | None:
    """Return the same for a plain little endian head, thirty times as fast; None for pydicom to decide."""
    found: dict[BaseTag, str] = {}
    at, last = 0, 0
    while at + 8 <= len(octets):
        group, element = struct.unpack_from("<HH", octets, at)
        tag = group << 16 | element
        if tag > SOP_INSTANCE_UID:
            return found
        if tag <= last or group not in (0x0008,):
            return None
        if is_implicit:
            (length,) = struct.unpack_from("<I", octets, at + 4)
        elif octets[at + 4 : at + 6] in SHORT_VRS:
            (length,) = struct.unpack_from("<H", octets, at + 6)
        else:
            return None
        at, last = at + 8, tag
        if at + length > len(octets):
            return None
        if tag in (SOP_CLASS_UID, SOP_INSTANCE_UID):
            found[BaseTag(tag)] = octets[at : at + length].rstrip(b"\0 ").decode("ascii", "replace")
        at += length
    return None


SHORT_VRS: Final = frozenset(b"AE AS CS DA DS DT IS LO LT PN SH ST TM UI UL US".split())
"""Value representations with a length of 16 bits that occur in such a head (PS3.5 section 7.1.2)."""


def _file_meta(request: StoreRequest, transfer_syntax: UID, calling_ae_title: str) -> bytes:
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
