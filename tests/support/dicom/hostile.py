"""Objects that no sender should send, as files in a spool."""

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from tests.support.hashing.images import image, scene

NAME = "SECRET^NAME"
SEQUENCE = b"\x08\x00\x15\x11SQ\0\0"  # Referenced Series Sequence
UNDEFINED = b"\xff\xff\xff\xff"
ITEM, END_OF_ITEM, END_OF_SEQUENCE = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"
STUDY_INSTANCE_UID = b"\x20\x00\x0d\x00UI"
COMPRESSED = {
    "JPEG": "SC_rgb_dcmtk_+eb+cr.dcm",
    "JPEG extended": "JPGExtended.dcm",
    "JPEG lossless": "SC_rgb_jpeg_gdcm.dcm",
    "JPEG-LS": "MR_small_jpeg_ls_lossless.dcm",
    "JPEG 2000": "MR_small_jp2klossless.dcm",
    "JPEG 2000 lossy": "693_J2KI.dcm",
    "RLE": "MR_small_RLE.dcm",
}
"""Small files that come with pydicom, one for each family of decoders."""


def uids(number: int) -> dict[str, str]:
    """Of one invented instance."""
    return {
        "SOPInstanceUID": f"2.25.7.{number}.1.1",
        "SeriesInstanceUID": f"2.25.7.{number}.1",
        "StudyInstanceUID": f"2.25.7.{number}",
    }


def picture(number: int, **attributes: Any) -> Dataset:
    """A small CT image; attributes by keyword."""
    pixels = scene(64, 60, 4096).astype(np.uint16)
    given: dict[str, Any] = {
        "Modality": "CT",
        "PatientID": f"P{number}",
        "PatientName": NAME,
        "BitsStored": 12,
        "HighBit": 11,
    }
    return image(pixels, **(given | uids(number) | attributes))


def body(dataset: Dataset) -> bytes:
    """A data set as it is sent, Explicit VR Little Endian."""
    stream = BytesIO()
    bare = Dataset(dataset)
    bare.save_as(stream, implicit_vr=False, little_endian=True)
    return stream.getvalue()


def file_of(data: bytes, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """What a receiver keeps of it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID("2.25.7")
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = UID("2.25.1")
    stream = DicomBytesIO()
    write_file_meta_info(stream, meta)
    return bytes(128) + b"DICM" + stream.getvalue() + data


def plain(number: int, **attributes: Any) -> bytes:
    """An uncompressed file, whatever its values."""
    return file_of(body(picture(number, **attributes)))


def endless(depth: int) -> bytes:
    """Sequences in each other, of undefined length."""
    return (SEQUENCE + UNDEFINED + ITEM + UNDEFINED) * depth + (END_OF_ITEM + END_OF_SEQUENCE) * depth


def measured(depth: int) -> bytes:
    """Sequences in each other, each saying how long it is."""
    nested = b""
    for _ in range(depth):
        item = ITEM + struct.pack("<I", len(nested)) + nested
        nested = SEQUENCE + struct.pack("<I", len(item)) + item
    return nested


def with_elements(number: int, elements: bytes) -> bytes:
    """A good file with more elements before its Study Instance UID."""
    data = body(picture(number))
    at = data.index(STUDY_INSTANCE_UID)
    return file_of(data[:at] + elements + data[at:])


def deflate_bomb(number: int, size: int) -> bytes:
    """A thousandth of what it inflates to."""
    whole = picture(number)
    del whole.PixelData
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = [deflater.compress(body(whole) + b"\xe0\x7f\x10\x00OB\0\0" + struct.pack("<I", size))]
    zeros = bytes(1 << 20)
    packed += [deflater.compress(zeros) for _ in range(size >> 20)]
    return file_of(b"".join([*packed, deflater.flush()]), DeflatedExplicitVRLittleEndian)


def compressed(family: str, number: int) -> tuple[bytes, slice]:
    """A good compressed file, and where in it the fragments of the pixels lie."""
    dataset = dcmread(Path(pydicom.__file__).parent / "data" / "test_files" / COMPRESSED[family])
    for keyword, uid in uids(number).items():
        setattr(dataset, keyword, uid)
    dataset.PatientName = NAME
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    whole, fragments = stream.getvalue(), bytes(dataset.PixelData)
    at = whole.index(fragments) + 16  # after the offset table and the header of the first fragment
    return whole, slice(at, at + len(fragments) - 24)


def damaged(whole: bytes, where: slice, rng: np.random.Generator) -> bytes:
    """Some octets changed, set, cut out or doubled, within a part of a file."""
    octets = bytearray(whole[where])
    for _ in range(int(rng.integers(1, 9))):
        at, size = int(rng.integers(len(octets))), int(rng.integers(1, 9))
        kind = rng.integers(5)
        if kind == 0:
            octets[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            octets[at : at + size] = rng.bytes(size)
        elif kind == 2:
            octets[at : at + size] = (b"\0", b"\xff", b"\x7f", b"\x80")[int(rng.integers(4))] * size
        elif kind == 3 and len(octets) > size:
            del octets[at : at + size]
        else:
            octets[at:at] = octets[at : at + size] or b"\0"
    return whole[: where.start] + bytes(octets) + whole[where.stop :]
