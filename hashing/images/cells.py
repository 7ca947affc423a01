"""Cells of pixel data, and the samples that lie in them (PS3.5 8.1.1)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashing.images.image_pixel import FLOAT_BITS, ImagePixel
from hashing.images.pixel_error import PixelError

Cells = NDArray[Any]
"""Unsigned integers, or floats; in native byte order."""


def native_cells(data: bytes, pixel: ImagePixel, frame: int, *, big_endian: bool, words: bool) -> tuple[Cells, str]:
    """Cut one frame out of uncompressed pixel data.

    Frames follow each other without padding, also those of one bit a sample whose size is no multiple of 8. Whether the
    chrominance of YBR is subsampled is decided by the length of the data: files are labelled wrongly both ways.

    Parameters
    ----------
    data
        All frames.
    big_endian
        Byte order of the transfer syntax.
    words
        True if the value representation is OW: cells of a byte or less are then swapped in pairs of bytes if the byte
        order is big endian (PS3.5 6.2).

    Returns
    -------
    (rows, columns) or (rows, columns, 3)
        One cell a sample.
    str
        Photometric interpretation of these cells: YBR_FULL if the data was subsampled or could have been.

    Raises
    ------
    PixelError
        ``undecodable`` if the frame is not there as a whole.
    """
    if _is_subsampled(pixel, len(data)):
        quads = _cut(data, pixel, frame, _subsampled_cells(pixel), big_endian, words).reshape(-1, 4)
        pairs = quads[:, [0, 2, 3, 1, 2, 3]].reshape(-1, 3)  # from Y1 Y2 Cb Cr
        return pairs[: pixel.rows * pixel.columns].reshape(pixel.rows, pixel.columns, 3), "YBR_FULL"
    cells = _cut(data, pixel, frame, pixel.frame_samples, big_endian, words)
    if pixel.samples == 1:
        return cells.reshape(pixel.rows, pixel.columns), pixel.photometric_interpretation
    # YBR_ICT and YBR_RCT are of JPEG 2000 only (PS3.3 C.7.6.3.1.2): who decoded it left the label.
    undone = pixel.photometric_interpretation in ("YBR_ICT", "YBR_RCT")
    planes = cells.reshape(3, -1).T if pixel.planar else cells
    return planes.reshape(pixel.rows, pixel.columns, 3), "RGB" if undone else pixel.photometric_interpretation


def samples(cells: Cells, pixel: ImagePixel) -> NDArray[Any]:
    """Take the samples out of cells: Bits Stored bits that end at High Bit, the highest of them the sign if signed.

    Parameters
    ----------
    cells
        Unsigned integers of any shape, which hold at least `bits_allocated` bits; floats are their own samples.

    Returns
    -------
    NDArray
        Samples in the shape and item size of the cells; int if signed, else uint.
    """
    if cells.dtype.kind == "f":
        return cells
    bits = 8 * cells.itemsize
    if pixel.signed:
        above, below = bits - 1 - pixel.high_bit, bits - pixel.bits_stored
        moved = cells << np.array(above, cells.dtype) if above else cells
        signed = moved.view(f"i{cells.itemsize}")
        return signed >> np.array(below, signed.dtype) if below else signed
    below = pixel.high_bit + 1 - pixel.bits_stored
    moved = cells >> np.array(below, cells.dtype) if below else cells
    unused = pixel.bits_stored < bits - below
    return moved & np.array((1 << pixel.bits_stored) - 1, cells.dtype) if unused else moved


def _is_subsampled(pixel: ImagePixel, size: int) -> bool:
    if not pixel.photometric_interpretation.startswith("YBR") or pixel.samples != 3:
        return False
    cell_bytes = max(1, pixel.bits_allocated // 8)
    full = pixel.frames * pixel.frame_samples * cell_bytes
    halved = pixel.frames * _subsampled_cells(pixel) * cell_bytes
    return size < full and (pixel.photometric_interpretation.endswith("_422") or halved <= size <= halved + 1)


def _subsampled_cells(pixel: ImagePixel) -> int:
    """Number of cells in a frame where two pixels share their chrominance (PS3.3 C.7.6.3.1.2)."""
    return -(-pixel.rows * pixel.columns // 2) * 4


def _cut(data: bytes, pixel: ImagePixel, frame: int, n_cells: int, big_endian: bool, words: bool) -> Cells:
    """Cells of one frame, (n_cells,)."""
    first_bit = frame * n_cells * pixel.bits_allocated
    end_bit = first_bit + n_cells * pixel.bits_allocated
    if end_bit > 8 * len(data):
        end = -(-end_bit // 8)
        raise PixelError("undecodable", f"{len(data)} bytes of pixels, and frame {frame} would end at byte {end}")
    first = first_bit // 16 * 2  # where a word of 16 bits begins
    piece = np.frombuffer(data, np.uint8, offset=first, count=min(-(-end_bit // 16) * 2, len(data)) - first)
    if pixel.bits_allocated <= 8:
        if big_endian and words:
            piece = np.append(piece, np.zeros(piece.size % 2, np.uint8)).reshape(-1, 2)[:, ::-1].ravel()
        if pixel.bits_allocated == 1:
            piece = np.unpackbits(piece, bitorder="little")
        start = (first_bit - 8 * first) // pixel.bits_allocated
        return piece[start : start + n_cells]
    return _wide(piece[first_bit // 8 - first :][: n_cells * pixel.bits_allocated // 8], pixel, big_endian)


def _wide(content: NDArray[np.uint8], pixel: ImagePixel, big_endian: bool) -> Cells:
    """Cells of more than a byte, in the next size that there is a type for."""
    size = pixel.bits_allocated // 8
    kind, order = "f" if pixel.keyword in FLOAT_BITS else "u", ">" if big_endian else "<"
    if size in (2, 4, 8):
        return content.view(f"{order}{kind}{size}").astype(f"{kind}{size}", copy=False)
    padded = np.zeros((content.size // size, 4 if size < 4 else 8), np.uint8)
    padded[:, :size] = content.reshape(-1, size)[:, :: -1 if big_endian else 1]
    return padded.view(f"<u{padded.shape[1]}")[:, 0].astype(f"u{padded.shape[1]}", copy=False)
