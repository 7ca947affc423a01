"""C-STORE: received bytes become a durable file in the spool, undecoded (PS3.4 annex B)."""

import logging
import re
import zlib
from io import BytesIO
from itertools import chain
from typing import Any

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_file_meta_info
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from node.errors import Refusal, Status
from node.version import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from storage.errors import SpoolFull
from storage.spool import Spool

logger = logging.getLogger(__name__)

PREAMBLE = b"\0" * 128 + b"DICM"
UID_PATTERN = re.compile(r"[0-9.]{1,64}")
SOP_CLASS_UID, SOP_INSTANCE_UID = Tag(0x0008, 0x0016), Tag(0x0008, 0x0018)
DEFLATED_HEAD_BYTES = 1 << 16  # far more than the elements up to the SOP Instance UID take


class Receiver:
    """Puts received instances into the spool; success means durable."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool

    def store(self, request: Any, transfer_syntax: UID, calling_ae_title: str) -> None:
        """Keep one instance.

        Parameters
        ----------
        request : pynetdicom.dimse_primitives.C_STORE
            With the encoded data set as received.

        Raises
        ------
        Refusal
            A700 when the spool is full, A900 when data set and command disagree, C000 when it is no data set.
        """
        data: bytes = request.DataSet.getvalue() if request.DataSet else b""
        sop_class_uid, sop_instance_uid = request.AffectedSOPClassUID, request.AffectedSOPInstanceUID
        _check(data, transfer_syntax, str(sop_class_uid), str(sop_instance_uid))
        meta = _file_meta(sop_class_uid, sop_instance_uid, transfer_syntax, calling_ae_title)
        try:
            self.spool.put(chain([PREAMBLE, meta], [data]), sop_instance_uid=str(sop_instance_uid))
        except SpoolFull as error:
            comment = "busy, retry" if error.reason == "objects" else "disk full, retry later"
            raise Refusal(Status.OUT_OF_RESOURCES, comment) from error


def _check(data: bytes, transfer_syntax: UID, sop_class_uid: str, sop_instance_uid: str) -> None:
    if not UID_PATTERN.fullmatch(sop_instance_uid):
        raise Refusal(Status.DATA_SET_MISMATCH, "SOP Instance UID is not a UID", SOP_INSTANCE_UID)
    found = _head(data, transfer_syntax)
    for tag, commanded in ((SOP_CLASS_UID, sop_class_uid), (SOP_INSTANCE_UID, sop_instance_uid)):
        if found.get(tag, "") != commanded:
            raise Refusal(Status.DATA_SET_MISMATCH, "data set and command name different UIDs", tag)


def _head(data: bytes, transfer_syntax: UID) -> dict[BaseTag, str]:
    """SOP Class and Instance UID of an encoded data set, read no further than that."""
    try:
        if transfer_syntax == DeflatedExplicitVRLittleEndian:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, DEFLATED_HEAD_BYTES)
        head = read_dataset(
            BytesIO(data),
            transfer_syntax == ImplicitVRLittleEndian,
            transfer_syntax != ExplicitVRBigEndian,  # all others, known or not, are little endian (PS3.5 annex A)
            stop_when=lambda tag, _vr, _length: tag > SOP_INSTANCE_UID,
        )
        return {tag: str(head[tag].value) for tag in (SOP_CLASS_UID, SOP_INSTANCE_UID) if tag in head}
    except Exception as error:
        raise Refusal(Status.CANNOT_UNDERSTAND, "the stream is not a data set") from error


def _file_meta(sop_class_uid: UID, sop_instance_uid: UID, transfer_syntax: UID, calling_ae_title: str) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class_uid
    meta.MediaStorageSOPInstanceUID = sop_instance_uid
    meta.TransferSyntaxUID = transfer_syntax
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    meta.SourceApplicationEntityTitle = calling_ae_title
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta)
    return buffer.getvalue()
