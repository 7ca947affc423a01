"""One frame of an instance as it is stored: which frames, how large, decoded by whom."""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.uid import ImplicitVRLittleEndian

from hashing.images.announced import exceeds
from hashing.images.attributes import read

Reason = Literal["no pixel data", "no such frame", "too large", "unsupported", "undecodable"]

# The quickest first. Not gdcm: a damaged frame makes it abort the process, and it reads none that all of these refuse.
DECODER_ORDER = ("pyjpegls", "pylibjpeg", "pillow", "pydicom")

START_OF_FRAME = b"\xc0\xc1\xc2\xc3\xc5\xc6\xc7\xc9\xca\xcb\xcd\xce\xcf\xf7"


class PixelError(ValueError):
    """The pixels of an instance cannot become an image.

    Attributes
    ----------
    reason
        A short code that stays the same between releases; the message adds the detail, and no patient data.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Limits:
    """What is decoded at most: a few bytes can announce more pixels than there is memory."""

    pixels: int = 100_000_000  # rows times columns; the largest detectors have about 30 million
    frames: int = 100_000
    inflated_bytes: int = 1 << 30  # of a deflated data set
    decoded_bytes: int = 1 << 29  # of all sampled frames together


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """Pixels before any table or window.

    Attributes
    ----------
    pixels : (rows, columns) or (rows, columns, 3)
        In the type of the data set, native byte order, unused bits cleared.
    photometric_interpretation
        Of these pixels: a decoder may have changed it.
    bits_stored
        Bits in use; all of them for float pixels.
    """

    pixels: NDArray[Any]
    photometric_interpretation: str
    bits_stored: int


def sampled_frames(dataset: Dataset, most: int = 8, limits: Limits = DEFAULT_LIMITS) -> list[int]:
    """Frames that stand for an instance: all, or ``most`` evenly spaced ones with the first and the last.

    Fewer are taken of large frames, one at least: what an instance costs is limited, not what each frame costs.

    Frame i of m sampled from n is the one nearest to i (n - 1) / (m - 1), the later one of two; a single one is the
    middle, (n - 1) // 2.

    Raises
    ------
    PixelError
        ``too large`` if more frames are announced than the limit.
    """
    with quiet():
        count = frame_count(dataset, limits)
        most = min(most, max(1, limits.decoded_bytes // _frame_bytes(dataset)))
    if count <= most:
        return list(range(count))
    if most == 1:
        return [(count - 1) // 2]
    return [(2 * i * (count - 1) + most - 1) // (2 * (most - 1)) for i in range(most)]


def frame_count(dataset: Dataset, limits: Limits = DEFAULT_LIMITS) -> int:
    """Read Number of Frames (PS3.3 C.7.6.6): 1 where it is absent, unreadable or less.

    Raises
    ------
    PixelError
        ``too large`` if it is beyond the limit.
    """
    count = max(1, whole_number(dataset, "NumberOfFrames", default=1))
    if count > limits.frames:
        raise PixelError("too large", f"{count} frames announced, {limits.frames} is the limit")
    return count


def _frame_bytes(dataset: Dataset) -> int:
    """Size of one decoded frame, 1 at least."""
    factors = (("Rows", 0), ("Columns", 0), ("SamplesPerPixel", 1), ("BitsAllocated", 16))
    return max(1, math.prod(max(0, whole_number(dataset, keyword, default)) for keyword, default in factors) // 8)


def stored_frame(dataset: Dataset, frame: int = 0, limits: Limits = DEFAULT_LIMITS) -> StoredFrame:
    """Decode one frame, trying each decoder that knows the transfer syntax.

    Raises
    ------
    PixelError
        For any of its reasons. The announced size is checked before memory is taken.
    """
    _check_announced(dataset, frame, limits)
    decoder = _decoder(dataset)
    if decoder.is_encapsulated:
        _check_codestream(dataset, frame, limits)
    failures = []
    plugins = [plugin for plugin in DECODER_ORDER if plugin in decoder.available_plugins]
    for plugin in plugins if decoder.is_encapsulated else [""]:
        try:
            # raw: the luminance of YBR is its first sample, no need to go by RGB
            pixels, properties = decoder.as_array(dataset, index=frame, raw=True, decoding_plugin=plugin)
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:  # decoders raise whatever they like, even Rust panics: ask the next one
            failures.append(f"{plugin or 'pydicom'}: {' '.join(str(error).split())}")
        else:
            native = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
            bits = int(properties.get("bits_stored", native.dtype.itemsize * 8))
            return StoredFrame(native, str(properties["photometric_interpretation"]), bits)
    raise PixelError("undecodable", "; ".join(failures) or f"no decoder is installed for {decoder.UID.name}")


def whole_number(dataset: Dataset, keyword: str, default: int) -> int:
    """Integer value of an element, or the default where it is absent or no number."""
    try:
        return int(read(dataset, keyword))
    except (TypeError, ValueError, OverflowError):
        return default


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's warnings and log lines about odd files to itself; what matters is raised.

    Not safe between threads (nor is `warnings.catch_warnings`): a decode worker has one.
    """
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _check_announced(dataset: Dataset, frame: int, limits: Limits) -> None:
    if not any(read(dataset, keyword) for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise PixelError("no pixel data", "there is no image in this instance")
    rows, columns = (whole_number(dataset, keyword, default=0) for keyword in ("Rows", "Columns"))
    if rows < 1 or columns < 1:
        raise PixelError("unsupported", f"{rows} rows and {columns} columns announced")
    if rows * columns > limits.pixels:
        raise PixelError("too large", f"{rows} x {columns} pixels announced, {limits.pixels} is the limit")
    count = frame_count(dataset, limits)
    if not 0 <= frame < count:
        raise PixelError("no such frame", f"frame {frame} of {count} (the first is 0)")


def _decoder(dataset: Dataset) -> Decoder:
    # A file without meta information is in the default transfer syntax, if it is any good (PS3.5 10.1).
    uid = (getattr(dataset, "file_meta", None) or Dataset()).get("TransferSyntaxUID", ImplicitVRLittleEndian)
    try:
        return get_decoder(uid)
    except NotImplementedError as error:
        raise PixelError("unsupported", f"transfer syntax {uid}") from error


def _check_codestream(dataset: Dataset, frame: int, limits: Limits) -> None:
    """Refuse a compressed frame of another size than the data set's: decoders trust it and allocate, or abort."""
    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    count = frame_count(dataset, limits)
    try:
        codestream = get_frame(dataset.PixelData, frame, number_of_frames=count, extended_offsets=offsets)
    except Exception as error:
        raise PixelError("undecodable", f"frame {frame} cannot be cut out: {error}") from error
    size, announced = codestream_size(codestream), (dataset.Rows, dataset.Columns)
    if size not in (None, announced):
        raise PixelError("undecodable", f"{size} pixels announced in the compressed frame, {announced} in the data set")
    if exceeds(codestream, dataset.Rows, dataset.Columns):
        raise PixelError("undecodable", f"frame {frame} has a second header, which announces more pixels")


def codestream_size(codestream: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 frame announces, None if it is none of them.

    JPEG 2000: SIZ marker segment (ISO/IEC 15444-1 A.5.1). JPEG and JPEG-LS: SOFn or SOF55 (ISO/IEC 10918-1 B.2.2).
    """
    siz = codestream.find(b"\xff\x4f\xff\x51")  # at the start, or after the boxes of a JP2 file
    if siz == 0 or (siz > 0 and codestream.startswith(b"\0\0\0\x0cjP")):
        x_size, y_size, x_offset, y_offset = np.frombuffer(codestream[siz + 8 : siz + 24].ljust(16, b"\0"), ">u4")
        return int(y_size) - int(y_offset), int(x_size) - int(x_offset)
    at = 2
    while codestream[:2] == b"\xff\xd8" and codestream[at : at + 1] == b"\xff":
        marker, length = codestream[at + 1 : at + 2], codestream[at + 2 : at + 4]
        if marker in START_OF_FRAME:
            height, width = codestream[at + 5 : at + 7], codestream[at + 7 : at + 9]
            return int.from_bytes(height, "big"), int.from_bytes(width, "big")
        at += 2 + int.from_bytes(length, "big")
    return None
