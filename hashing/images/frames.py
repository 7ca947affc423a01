"""Stored frames: which frames stand for an instance, how large they may be, and how they are decoded."""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.uid import ImplicitVRLittleEndian, RLETransferSyntaxes

from hashing.images.announced import exceeds
from hashing.images.attributes import whole_number
from hashing.images.cells import Cells, native_cells, samples
from hashing.images.codestream import CodestreamHeader, codestream_header, frame_codestream, with_end
from hashing.images.image_pixel import GRAYSCALE, ImagePixel, image_pixel
from hashing.images.pixel_error import PixelError

# The quickest first. Not gdcm: a damaged frame makes it abort the process, and it reads none that all of these refuse.
DECODER_ORDER = ("pyjpegls", "pylibjpeg", "pillow", "pydicom")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of decoding. They are needed since a few bytes can announce more pixels than there is memory.

    Attributes
    ----------
    pixels
        Rows times columns of a frame; the largest detectors have about 30 million.
    frames
        Number of frames that an instance may announce.
    inflated_bytes
        Size that a deflated data set may grow to.
    decoded_bytes
        Size of all sampled frames of an instance together.
    """

    pixels: int = 100_000_000
    frames: int = 100_000
    inflated_bytes: int = 1 << 30
    decoded_bytes: int = 1 << 29


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """Pixels of a frame before any table or window.

    Attributes
    ----------
    pixels : (rows, columns) or (rows, columns, 3)
        Samples, int if they are signed, else uint, or float; in native byte order.
    photometric_interpretation
        Photometric interpretation of these pixels, which may differ from the data set's.
    bits_stored
        Number of bits in use; all bits for float pixels.
    """

    pixels: NDArray[Any]
    photometric_interpretation: str
    bits_stored: int


def sampled_frames(dataset: Dataset, max_frames: int = 8, limits: Limits = DEFAULT_LIMITS) -> list[int]:
    """Numbers of the frames that stand for an instance: all, or evenly spaced frames with the first and the last.

    Of n frames, m of which are sampled, sample i is the frame nearest to i (n - 1) / (m - 1), the later of two equally
    near frames; a single sample is the middle frame, (n - 1) // 2. Fewer frames are taken if they are large, at least
    one: what an instance costs is limited, not what each frame costs.

    Raises
    ------
    PixelError
        ``too large`` if more frames are announced than the limit.
    """
    with quiet():
        count = frame_count(dataset, limits)
        max_frames = min(max_frames, max(1, limits.decoded_bytes // _frame_bytes(dataset)))
    if count <= max_frames:
        return list(range(count))
    if max_frames == 1:
        return [(count - 1) // 2]
    return [(2 * i * (count - 1) + max_frames - 1) // (2 * (max_frames - 1)) for i in range(max_frames)]


def frame_count(dataset: Dataset, limits: Limits = DEFAULT_LIMITS) -> int:
    """Number of Frames (PS3.3 C.7.6.6); 1 if it is absent, unreadable or less than 1.

    Raises
    ------
    PixelError
        ``too large`` if there are more frames than the limit.
    """
    count = max(1, whole_number(dataset, "NumberOfFrames", default=1))
    if count > limits.frames:
        raise PixelError("too large", f"{count} frames announced, {limits.frames} is the limit")
    return count


def _frame_bytes(dataset: Dataset) -> int:
    """Size of one decoded frame, at least 1."""
    factors = (("Rows", 0), ("Columns", 0), ("SamplesPerPixel", 1), ("BitsAllocated", 16))
    return max(1, math.prod(max(0, whole_number(dataset, keyword, default)) for keyword, default in factors) // 8)


def stored_frame(dataset: Dataset, frame: int = 0, limits: Limits = DEFAULT_LIMITS) -> StoredFrame:
    """Decode one frame with the first decoder that can.

    Raises
    ------
    PixelError
        The frame cannot be decoded, for any of the error's reasons. Sizes are checked before memory is taken.
    MemoryError
        No decoder succeeded, and at least one lacked memory: that says nothing about the frame.
    """
    pixel = image_pixel(dataset)
    _check_announced(pixel, frame, frame_count(dataset, limits), limits)
    decoder = _decoder(dataset)
    if decoder.is_encapsulated:
        pixel, cells, photometric_interpretation = _decompressed(dataset, pixel, frame, decoder)
    else:
        element, big_endian = dataset[pixel.keyword], not decoder.UID.is_little_endian
        if not isinstance(element.value, bytes):
            raise PixelError("undecodable", f"the pixel data came as {element.VR}")
        cells, photometric_interpretation = native_cells(
            element.value, pixel, frame, big_endian=big_endian, words=element.VR == "OW"
        )
    return StoredFrame(samples(cells, pixel), photometric_interpretation, pixel.bits_stored)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings and log lines that pydicom has about odd files. What matters is raised.

    As `warnings.catch_warnings`, this is not safe between threads; a decode worker has one thread.
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


def _check_announced(pixel: ImagePixel, frame: int, count: int, limits: Limits) -> None:
    if pixel.rows * pixel.columns > limits.pixels:
        announced = f"{pixel.rows} x {pixel.columns} pixels announced"
        raise PixelError("too large", f"{announced}, {limits.pixels} is the limit")
    if not 0 <= frame < count:
        raise PixelError("no such frame", f"frame {frame} of {count} (the first is 0)")


def _decoder(dataset: Dataset) -> Decoder:
    # A file without meta information is read in the default transfer syntax (PS3.5 10.1).
    uid = (getattr(dataset, "file_meta", None) or Dataset()).get("TransferSyntaxUID", ImplicitVRLittleEndian)
    try:
        return get_decoder(uid)
    except NotImplementedError as error:
        raise PixelError("unsupported", f"transfer syntax {uid}") from error


def _decompressed(dataset: Dataset, pixel: ImagePixel, frame: int, decoder: Decoder) -> tuple[ImagePixel, Cells, str]:
    """Decode a compressed frame; the description that it has after that, and its photometric interpretation."""
    codestream = with_end(_codestream(dataset, pixel, frame))
    if decoder.UID in RLETransferSyntaxes:
        pixel = _as_rle_planes(pixel, codestream)
        return pixel, _decoded(codestream, pixel, decoder, signed=False), _photometric_interpretation(pixel, None)
    header = codestream_header(codestream)
    if header is None:  # a decoder might find what we do not, and take any amount of memory
        raise PixelError("undecodable", f"frame {frame} does not begin as {decoder.UID.name} does")
    size, announced = (header.rows, header.columns), (pixel.rows, pixel.columns)
    if size != announced:
        raise PixelError("undecodable", f"{size} pixels announced in the compressed frame, {announced} in the data set")
    if exceeds(codestream, pixel.rows, pixel.columns):
        raise PixelError("undecodable", f"frame {frame} has a second header, which announces more pixels")
    if header.components not in (1, 3):
        raise PixelError("undecodable", f"{header.components} samples a pixel, 1 or 3 can be shown")
    pixel = _as_encoded(pixel, header)
    cells = _decoded(codestream, pixel, decoder, signed=header.signed)
    return pixel, cells, _photometric_interpretation(pixel, header)


def _codestream(dataset: Dataset, pixel: ImagePixel, frame: int) -> bytes:
    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    try:
        with quiet():
            return frame_codestream(dataset.PixelData, frame, pixel.frames, offsets)
    except Exception as error:
        raise PixelError("undecodable", f"frame {frame} cannot be cut out: {error}") from error


def _as_encoded(pixel: ImagePixel, header: CodestreamHeader) -> ImagePixel:
    """Describe what the decoder makes of a codestream: cells of the smallest size that holds its precision.

    If the codestream reaches up to High Bit, it holds whole cells, else samples only.
    """
    stored = min(pixel.bits_stored, header.precision)
    return replace(
        pixel,
        samples=header.components,
        bits_allocated=8 if header.precision <= 8 else 16 if header.precision <= 16 else 32,
        bits_stored=stored,
        high_bit=pixel.high_bit if pixel.high_bit < header.precision else stored - 1,
        signed=pixel.signed and header.components == 1,
    )


def _as_rle_planes(pixel: ImagePixel, codestream: bytes) -> ImagePixel:
    """Describe what an RLE frame holds: it tells how many planes of bytes there are (PS3.5 G.5)."""
    cell_bytes, rest = divmod(int.from_bytes(codestream[:4], "little"), pixel.samples)
    if rest or not 1 <= cell_bytes <= 8:
        return pixel
    stored = min(pixel.bits_stored, 8 * cell_bytes)
    high_bit = pixel.high_bit if pixel.high_bit < 8 * cell_bytes else stored - 1
    return replace(pixel, bits_allocated=8 * cell_bytes, bits_stored=stored, high_bit=high_bit)


def _photometric_interpretation(pixel: ImagePixel, header: CodestreamHeader | None) -> str:
    """Photometric interpretation of a decoded frame: what the codestream says, else what the data set says."""
    label = pixel.photometric_interpretation
    if pixel.samples == 1:
        return label if label in GRAYSCALE else "MONOCHROME2"
    if header is not None and header.colour:
        return header.colour
    if label in ("YBR_ICT", "YBR_RCT") or label in GRAYSCALE:  # of JPEG 2000, whose decoders make RGB
        return header.usual_colour if header is not None else "RGB"
    return label


def _decoded(codestream: bytes, pixel: ImagePixel, decoder: Decoder, *, signed: bool) -> Cells:
    """Cells of a compressed frame, unsigned, (rows, columns) or (rows, columns, 3)."""
    options = _decoder_options(pixel, signed=signed)
    failures, memory_error = [], None
    for plugin in (plugin for plugin in DECODER_ORDER if plugin in decoder.available_plugins):
        try:
            with quiet():
                cells, _ = decoder.as_array(encapsulate([codestream]), index=0, decoding_plugin=plugin, **options)
        except (KeyboardInterrupt, SystemExit):
            raise
        except MemoryError as error:
            memory_error = error
        except BaseException as error:  # decoders raise whatever they like, even Rust panics: ask the next one
            failures.append(f"{plugin}: {' '.join(str(error).split())}")
        else:
            return cells.astype(f"u{cells.itemsize}", copy=False)
    if memory_error is not None:
        raise memory_error
    raise PixelError("undecodable", "; ".join(failures) or f"no decoder is installed for {decoder.UID.name}")


def _decoder_options(pixel: ImagePixel, *, signed: bool) -> dict[str, Any]:
    """Options that make a decoder hand over its cells as they are: what they mean is decided here, for all alike."""
    return {
        "raw": True,
        "rows": pixel.rows,
        "columns": pixel.columns,
        "number_of_frames": 1,
        "samples_per_pixel": pixel.samples,
        "photometric_interpretation": "RGB" if pixel.samples == 3 else "MONOCHROME2",
        "planar_configuration": 0,  # that of the data set says nothing here (PS3.5 8.2); plugins set their own
        "bits_allocated": pixel.bits_allocated,
        "bits_stored": pixel.bits_allocated,
        "pixel_representation": int(signed),
        "apply_j2k_sign_correction": False,
        "apply_jls_sign_correction": False,
    }
