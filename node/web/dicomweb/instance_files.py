"""DICOM files as the body of an answer, and the frames within one (PS3.18 sections 8.7 and 10.4)."""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames, get_frame
from pydicom.uid import UID
from starlette.exceptions import HTTPException

from node.errors import Refusal, Status
from node.retrieve.kept import KeptInstance, open_object

PIECE_BYTES: Final = 1 << 16
DICOM: Final = "application/dicom"
OCTETS: Final = "application/octet-stream"
FRAME_TYPES: Final[Mapping[str, str]] = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}
"""Media type of one compressed frame by transfer syntax (PS3.18 table 8.7.3-5); others are octets."""


def multipart_files(files: Iterator[IO[bytes]], boundary: str) -> Iterator[bytes]:
    """Yield a multipart/related body with a DICOM file in each part; it ends without its end where `files` raises."""
    for file in files:
        yield f"--{boundary}\r\nContent-Type: {DICOM}\r\n\r\n".encode()
        yield from file_pieces(file)
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def kept_files(
    instances: Iterable[KeptInstance], transfer_syntaxes: Sequence[str], max_bytes: int
) -> Iterator[IO[bytes]]:
    """Yield each kept object as a DICOM file at its beginning, which is closed when the next one is asked for.

    Parameters
    ----------
    transfer_syntaxes
        Those that a client takes; none for whichever an object has.
    max_bytes
        Size above which an object is not converted.

    Raises
    ------
    HTTPException
        404: the object is not kept. 406: it cannot have a transfer syntax that the client takes.
    Refusal
        A700: it is too large to be converted.
    """
    for instance in instances:
        if instance.path is None:
            raise HTTPException(404, "the object of this instance is not kept here")
        opened = open_object(instance, transfer_syntaxes, max_bytes)
        if opened is None:
            raise HTTPException(
                406, "kept in another transfer syntax, which is not converted: accept transfer-syntax=*"
            )
        with opened[0] as file:
            yield file


def file_pieces(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a file."""
    while piece := file.read(PIECE_BYTES):
        yield piece


def new_boundary() -> str:
    """Return a boundary that no file contains."""
    return uuid.uuid4().hex


def frames(file: IO[bytes], numbers: Sequence[int], max_bytes: int) -> tuple[list[bytes], str, UID]:
    """Frames of an instance as they are stored, with the media type and the transfer syntax of each.

    Parameters
    ----------
    numbers
        Frame numbers, from 1.
    max_bytes
        Size above which a file is not read into memory.

    Raises
    ------
    Refusal
        A700: the file is larger. C102: it has no pixels. C101: it has no such frame. C103: it is damaged.
    """
    size = file.seek(0, 2)
    file.seek(0)
    if size > max_bytes:
        raise Refusal(Status.OUT_OF_RESOURCES, "too large for single frames: get the instance")
    try:
        dataset = dcmread(file)
        syntax = UID(dataset.file_meta.TransferSyntaxUID)
        count = int(dataset.get("NumberOfFrames") or 1)
        if "PixelData" not in dataset:
            raise Refusal(Status.EXAMPLE_WITHOUT_PIXELS, "the instance has no pixel data")
        if not all(1 <= number <= count for number in numbers):
            raise Refusal(Status.EXAMPLE_UNKNOWN, f"the instance has frames 1 to {count}")
        read = _compressed if syntax.is_encapsulated else _native
        return read(dataset, numbers, count), FRAME_TYPES.get(syntax, OCTETS), syntax
    except Refusal:
        raise
    except Exception as error:  # whatever reading a damaged file raises
        raise Refusal(Status.EXAMPLE_NOT_HASHABLE, "the instance of the PACS cannot be read") from error


def _compressed(dataset: Dataset, numbers: Sequence[int], count: int) -> list[bytes]:
    if len(numbers) > 1:
        every = list(generate_frames(dataset.PixelData, number_of_frames=count))
        return [every[number - 1] for number in numbers]
    return [get_frame(dataset.PixelData, numbers[0] - 1, number_of_frames=count)]


def _native(dataset: Dataset, numbers: Sequence[int], count: int) -> list[bytes]:
    length = dataset.Rows * dataset.Columns * dataset.get("SamplesPerPixel", 1) * dataset.BitsAllocated
    if length % 8:
        raise Refusal(Status.EXAMPLE_NOT_HASHABLE, "frames of single bits cannot be cut: get the instance")
    size, pixels = length // 8, memoryview(dataset.PixelData)
    if len(pixels) < size * count:
        raise Refusal(Status.EXAMPLE_NOT_HASHABLE, "the pixel data are shorter than announced")
    return [bytes(pixels[(number - 1) * size : number * size]) for number in numbers]
