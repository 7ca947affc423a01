"""The Image Pixel module: how the samples of an instance lie in its pixel data (PS3.3 C.7.6.3)."""

from dataclasses import dataclass

from pydicom.dataset import Dataset

from hashing.images.attributes import code_string, read, whole_number
from hashing.images.pixel_error import PixelError

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
FLOAT_BITS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
GRAYSCALE = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_FULL_420", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
MAX_BITS = 64


@dataclass(frozen=True, slots=True)
class ImagePixel:
    """The description of pixel data, with what a header leaves out or contradicts put right.

    Attributes
    ----------
    keyword
        Which element holds the pixels: `PIXEL_KEYWORDS`.
    samples
        Samples per pixel, 1 or 3.
    photometric_interpretation
        A member of `GRAYSCALE` or `COLOUR`.
    bits_allocated, bits_stored, high_bit
        A sample is the `bits_stored` bits that end at bit `high_bit` of a cell of `bits_allocated` (PS3.5 8.1.1).
    signed
        True if samples are two's complement. Those of colour never are.
    planar
        True if uncompressed colour lies plane by plane.
    """

    keyword: str
    rows: int
    columns: int
    frames: int
    samples: int
    photometric_interpretation: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    planar: bool

    @property
    def frame_samples(self) -> int:
        """Number of samples in a frame."""
        return self.rows * self.columns * self.samples


def image_pixel(dataset: Dataset) -> ImagePixel:
    """Read the Image Pixel module.

    A missing Samples per Pixel follows from Photometric Interpretation, and the other way round; missing bits follow
    from the other bits or from the length of the pixel data; a High Bit that no sample can end at is not believed; of
    an attribute that wrongly has several values the first counts.

    Raises
    ------
    PixelError
        ``no pixel data``; ``unsupported`` for impossible sizes; ``undecodable`` for impossible cells or samples, an
        unknown Photometric Interpretation, or pixel data that cannot be read.
    """
    keyword = _pixel_keyword(dataset)
    rows, columns = (whole_number(dataset, side, default=0) for side in ("Rows", "Columns"))
    if rows < 1 or columns < 1:
        raise PixelError("unsupported", f"{rows} rows and {columns} columns announced")
    frames = max(1, whole_number(dataset, "NumberOfFrames", default=1))
    samples, photometric_interpretation = _samples(dataset)
    allocated = FLOAT_BITS.get(keyword) or _bits_allocated(dataset, rows * columns * samples * frames)
    stored, high = _bits_stored(dataset, allocated)
    return ImagePixel(
        keyword=keyword,
        rows=rows,
        columns=columns,
        frames=frames,
        samples=samples,
        photometric_interpretation=photometric_interpretation,
        bits_allocated=allocated,
        bits_stored=allocated if keyword in FLOAT_BITS else stored,
        high_bit=allocated - 1 if keyword in FLOAT_BITS else high,
        signed=whole_number(dataset, "PixelRepresentation", default=0) == 1 and samples == 1 and allocated > 1,
        planar=samples == 3 and whole_number(dataset, "PlanarConfiguration", default=0) == 1,
    )


def _pixel_keyword(dataset: Dataset) -> str:
    for keyword in PIXEL_KEYWORDS:
        if read(dataset, keyword):
            return keyword
        if keyword in dataset and getattr(dataset.get_item(keyword), "value", None):  # there, but not to be read
            raise PixelError("undecodable", f"{keyword} cannot be read")
    raise PixelError("no pixel data", "there is no image in this instance")


def _samples(dataset: Dataset) -> tuple[int, str]:
    photometric_interpretation = code_string(read(dataset, "PhotometricInterpretation"))
    samples = whole_number(dataset, "SamplesPerPixel", default=3 if photometric_interpretation in COLOUR else 1)
    if samples not in (1, 3):
        raise PixelError("undecodable", f"{samples} samples a pixel, 1 or 3 can be shown")
    if not photometric_interpretation:
        return samples, "RGB" if samples == 3 else "MONOCHROME2"
    if photometric_interpretation not in GRAYSCALE + COLOUR:
        raise PixelError("undecodable", "Photometric Interpretation (0028,0004) is no known one")
    return samples, photometric_interpretation


def _bits_allocated(dataset: Dataset, n_samples: int) -> int:
    allocated = whole_number(dataset, "BitsAllocated", default=0)
    if allocated == 0:
        stored = whole_number(dataset, "BitsStored", default=0)
        cell_bytes = -(-stored // 8) if stored > 0 else len(read(dataset, "PixelData")) // n_samples
        allocated = 8 * min(max(cell_bytes, 1), 8)
    if allocated != 1 and (allocated % 8 or not 8 <= allocated <= MAX_BITS):
        raise PixelError(
            "undecodable", f"cells of {allocated} bits; 1, or a multiple of 8 up to {MAX_BITS}, is possible"
        )
    return allocated


def _bits_stored(dataset: Dataset, allocated: int) -> tuple[int, int]:
    """Bits Stored and High Bit. Values that contradict Bits Allocated give way to it."""
    high = whole_number(dataset, "HighBit", default=-1)
    stored = whole_number(dataset, "BitsStored", default=0)
    if stored < 1:
        stored = high + 1 if 0 <= high < allocated else allocated
    stored = min(stored, allocated)
    return stored, high if stored <= high + 1 <= allocated else stored - 1
