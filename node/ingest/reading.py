"""A received file as a data set: inflated within a limit, read on behind invalid VRs, and certain only if whole."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from hashing.images.pixel_error import PixelError
from node.ingest.elements import LONG, SHORT, Walk
from storage.vault import CLEAR, Vault

PREAMBLE_BYTES: Final = 132  # with the prefix DICM (PS3.10 7.1)
INFLATED_AT_ONCE: Final = 1 << 20
PIXELS: Final = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
VRS: Final = frozenset(vr.decode() for vr in SHORT | LONG)


@dataclass(frozen=True, slots=True)
class Received:
    """A data set as it was received.

    Attributes
    ----------
    has_pixels
        Whether it has a pixel data element, even an empty one.
    is_certain
        Whether it was read to its end without any doubt: only then is what is missing really not there.
    """

    dataset: FileDataset
    has_pixels: bool
    is_certain: bool


def read_received(path: Path, max_inflated_bytes: int, vault: Vault = CLEAR) -> Received:
    """Read a received file; behind an element with an invalid VR, as common readers do.

    Parameters
    ----------
    vault
        Opens the file if it is sealed.

    Raises
    ------
    PixelError
        ``too large`` if a deflated data set grows beyond the limit.
    Exception
        Whatever pydicom raises for a file that it cannot read.
    """
    _check_inflated(path, max_inflated_bytes, vault)
    dataset, failure = _read(path, vault)
    if dataset is not None and has_pixels(dataset) and _has_valid_vrs(dataset):
        return Received(dataset, has_pixels=True, is_certain=True)
    encoded = _Encoded.read(path, vault)
    survey = Walk(encoded.data, implicit=encoded.is_implicit, little_endian=encoded.is_little_endian).survey()
    if survey.repairs:
        repaired = encoded.dataset(path, survey.repaired(encoded.data))
        if dataset is None or has_pixels(repaired) or not has_pixels(dataset):
            dataset = repaired
    if dataset is None:
        assert failure is not None
        raise failure
    found = has_pixels(dataset)
    return Received(dataset, found, is_certain=survey.is_certain and survey.has_pixels == found)


def has_pixels(dataset: Dataset) -> bool:
    """True if a data set has a pixel data element, even an empty one."""
    return any(keyword in dataset for keyword in PIXELS)


def _read(path: Path, vault: Vault) -> tuple[FileDataset | None, Exception | None]:
    try:
        with vault.open(path) as file:
            return dcmread(file), None
    except (MemoryError, RecursionError, InvalidDicomError):
        raise
    except Exception as error:  # such as an invalid VR inside a sequence raises
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of the data set
            raise
        return None, error


def _has_valid_vrs(dataset: Dataset) -> bool:
    raw = (element for element in dataset.values() if isinstance(element, RawDataElement))
    return all(element.is_implicit_VR or element.VR in VRS for element in raw)


@dataclass(frozen=True, slots=True)
class _Encoded:
    """The parts of a file: file meta information, and the encoded data set, inflated where it was deflated."""

    meta: FileMetaDataset
    data: bytes
    is_implicit: bool
    is_little_endian: bool

    @classmethod
    def read(cls, path: Path, vault: Vault) -> "_Encoded":
        """The data set of a file as bytes, inflated where it is deflated."""
        with vault.open(path) as file:
            meta = _skip_meta(file)
            data = file.read()
        syntax = meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)
        if syntax == DeflatedExplicitVRLittleEndian:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data)
        is_little_endian = syntax != ExplicitVRBigEndian
        if syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian):  # senders mistake each for the other
            return cls(meta, data, not (data[4:6].isalpha() and data[4:6].isupper()), is_little_endian)
        return cls(meta, data, is_implicit=False, is_little_endian=is_little_endian)

    def dataset(self, path: Path, data: bytes) -> FileDataset:
        """The data set that other bytes hold, under the file meta information of this file."""
        elements = read_dataset(BytesIO(data), self.is_implicit, self.is_little_endian)
        dataset = FileDataset(
            path,
            elements,
            file_meta=self.meta,
            is_implicit_VR=self.is_implicit,
            is_little_endian=self.is_little_endian,
        )
        dataset.set_original_encoding(self.is_implicit, self.is_little_endian, elements.original_character_set)
        return dataset


def _skip_meta(file: BinaryIO) -> FileMetaDataset:
    """Read the file meta information, and leave the file at the first byte of the data set."""

    def is_behind(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return tag >> 16 != 2

    file.seek(PREAMBLE_BYTES)
    return FileMetaDataset(read_dataset(file, False, True, stop_when=is_behind))


def _check_inflated(path: Path, max_bytes: int, vault: Vault) -> None:
    """Refuse a deflated data set that grows beyond the limit, before anybody inflates it whole."""
    with vault.open(path) as file:
        if file.read(PREAMBLE_BYTES)[-4:] != b"DICM":
            return
        if _skip_meta(file).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            size = 0
            for piece in _inflated(file):
                size += len(piece)
                if size > max_bytes:
                    raise PixelError("too large", f"it inflates to more than {max_bytes} bytes, the limit")


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    """Yield a deflated stream in pieces; what follows its last block is padding (PS3.5 A.5)."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while not inflater.eof and (deflated := inflater.unconsumed_tail or file.read(INFLATED_AT_ONCE)):
        yield inflater.decompress(deflated, INFLATED_AT_ONCE)
