"""One part of a STOW-RS request on its way into the spool: a DICOM file, received as by C-STORE (PS3.10 section 7)."""

import logging
import struct
from io import BytesIO
from typing import Final

from pydicom.filereader import read_dataset
from pydicom.uid import UID

from node.dicom.command_set import C_STORE_RQ, Request
from node.dicom.sop_classes import Service, service_of
from node.errors import Refusal, Status
from node.ingest.identity import HEAD_BYTES, LONG_VRS, head_by_pydicom
from node.ingest.receiver import PREAMBLE, IncomingInstance, Receiver
from node.settings import Settings

logger = logging.getLogger(__name__)

SENDER: Final = "DICOMWEB"
"""Source AE title of what came over HTTP, where nobody has an AE title."""
MAX_META_BYTES: Final = 1 << 16
STUDY_INSTANCE_UID, SERIES_INSTANCE_UID = 0x0020_000D, 0x0020_000E


class StoredPart:
    """Takes the bytes of one DICOM file; a second one is made for the next part.

    Parameters
    ----------
    study
        Study Instance UID that the instance must have, "" for any.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid, study_instance_uid, series_instance_uid
        As far as they are known, else "".
    """

    def __init__(self, receiver: Receiver, settings: Settings, study: str) -> None:
        self._receiver, self._settings, self._study = receiver, settings, study
        self._head, self._data_head, self._size = b"", b"", 0
        self._syntax = UID("")
        self._incoming: IncomingInstance | None = None
        self._refusal: Refusal | None = None
        self.sop_class_uid = self.sop_instance_uid = self.study_instance_uid = self.series_instance_uid = ""

    def refuse(self, refusal: Refusal) -> None:
        """Take nothing more, and give up what came."""
        if self._incoming is not None:
            self._incoming.abandon()
            self._incoming = None
        self._refusal = self._refusal or refusal
        self._head = b""

    def write(self, piece: memoryview) -> None:
        """Take the next bytes of the file."""
        self._size += len(piece)
        if self._refusal is not None:
            return
        if self._incoming is None:
            self._head += piece
            self._begin()
        else:
            self._data(piece)
        if self._size > self._settings.max_stored_part_bytes:
            self.refuse(Refusal(Status.OUT_OF_RESOURCES, "the instance is larger than max_stored_part_bytes"))

    def finish(self) -> Refusal | None:
        """Make the instance durable; return why it is not stored, None if it is (the statuses of C-STORE)."""
        if self._incoming is None:
            refusal = self._refusal or Refusal(Status.CANNOT_UNDERSTAND, "the part is no DICOM file")
            request = self._request if self.sop_instance_uid else Request(C_STORE_RQ, 1, "", "", has_data_set=True)
            self._receiver.note(request, refusal, SENDER)
            return refusal
        self._read_hierarchy()
        if self._study and self.study_instance_uid != self._study:
            self.refuse(Refusal(Status.DATA_SET_MISMATCH, "the instance is not of the study in the path"))
            return self.finish()
        incoming, self._incoming = self._incoming, None
        return incoming.finish()

    def abandon(self) -> None:
        """Drop what came: the part did not end."""
        if self._incoming is not None:
            self._incoming.abandon()

    def _begin(self) -> None:
        """Open the instance once the file meta information is there."""
        try:
            end = _meta_end(self._head)
            if end is None:
                if len(self._head) > MAX_META_BYTES:
                    raise ValueError("file meta information without an end")
                return
            self._read_meta(self._head[len(PREAMBLE) : end])
        except Exception as error:  # whatever reading arbitrary bytes raises
            logger.info("a part is no DICOM file: %s", type(error).__name__)
            self.refuse(Refusal(Status.CANNOT_UNDERSTAND, "the part is no DICOM file"))
            return
        first, self._head = memoryview(self._head)[end:], b""
        accept_unknown = self._settings.accept_unknown_sop_classes
        if service_of(self.sop_class_uid, accept_unknown=accept_unknown) is not Service.STORAGE:
            self.refuse(Refusal(Status.SOP_CLASS_NOT_SUPPORTED, "SOP class is none of storage"))
            return
        self._incoming = self._receiver.begin(self._request, self._syntax, SENDER)
        self._data(first)

    @property
    def _request(self) -> Request:
        """The C-STORE request that would announce the instance."""
        return Request(C_STORE_RQ, 1, self.sop_class_uid, self.sop_instance_uid, has_data_set=True)

    def _read_meta(self, encoded: bytes) -> None:
        meta = read_dataset(BytesIO(encoded), is_implicit_VR=False, is_little_endian=True)
        self.sop_class_uid, self.sop_instance_uid = (
            str(meta[keyword].value) for keyword in ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID")
        )
        self._syntax = UID(str(meta["TransferSyntaxUID"].value))

    def _data(self, piece: memoryview) -> None:
        assert self._incoming is not None
        if len(self._data_head) < HEAD_BYTES:
            self._data_head += piece[: HEAD_BYTES - len(self._data_head)]
        self._incoming.write(piece)

    def _read_hierarchy(self) -> None:
        try:
            found = head_by_pydicom(self._data_head, self._syntax, (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID))
        except Exception as error:  # whatever reading arbitrary bytes raises: `finish` of the instance judges them
            logger.info("study and series of a part cannot be read: %s", type(error).__name__)
            return
        self.study_instance_uid, self.series_instance_uid = (
            found.get(tag, "") for tag in (STUDY_INSTANCE_UID, SERIES_INSTANCE_UID)
        )


def _meta_end(octets: bytes) -> int | None:
    """Offset of the data set in a DICOM file, None while it is not known.

    Raises
    ------
    ValueError
        The bytes are no DICOM file.
    """
    offset = len(PREAMBLE)
    if len(octets) < offset:
        return None
    if octets[128:offset] != PREAMBLE[128:]:
        raise ValueError("no DICM prefix")
    while len(octets) >= offset + 12:
        if octets[offset : offset + 2] != b"\2\0":
            return offset
        if octets[offset + 4 : offset + 6] in LONG_VRS:
            offset += 12 + struct.unpack_from("<I", octets, offset + 8)[0]
        else:
            offset += 8 + struct.unpack_from("<H", octets, offset + 6)[0]
    return None
