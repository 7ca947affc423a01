"""How stored values are shown: modality and VOI transformations, padding, inversion, palette, luminance.

Up to 16 bits, whatever is done to a stored value goes into one table of all of them, and the pixels are looked up
once. So the window cuts before the picture is shrunk, as on a viewing station, and costs little more than after.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from hashing.images.attributes import Attributes, Transformation, Values, numbers, table
from hashing.images.frames import PixelError, StoredFrame

# One window for every CT slice in Hounsfield units: lung (about -900 to -500) and soft tissue (-100 to 250) both show,
# and the series' own window, which depends on who looks, makes no difference between like images.
CT_WINDOW_HU = (-1000.0, 400.0)
ROBUST_PERCENTILES = (0.5, 99.5)
SAMPLED_SIDE = 256  # pixels a side, about, on which a window is chosen
LEAST_INSIDE = 0.01  # a window that leaves less of the image between black and white is a mistake
LOOKED_UP_ROWS = 32  # at a time: numpy widens the indices, and twice as fast while they stay in the cache

Show = Callable[[NDArray[Any]], NDArray[np.uint8]]


def picture(stored: StoredFrame, attributes: Attributes, dataset: Dataset) -> NDArray[np.uint8]:
    """Show one frame as a viewing station would.

    CT in Hounsfield units is shown in `CT_WINDOW_HU`. Other grayscale is shown by the instance's VOI LUT, or the first
    of its windows that is of use; else by its nominal range up to 8 bits stored, and by robust percentiles above.
    Colour is shown by its luminance.

    Parameters
    ----------
    stored
        Grayscale, palette or colour.
    attributes
        Of the frame: modality and VOI transformation, padding.
    dataset
        Holds the palette.

    Returns
    -------
    (rows, columns)
        Larger is brighter; pixel padding is 0.

    Raises
    ------
    PixelError
        ``unsupported`` for a broken palette, or samples that are neither grayscale nor colour.
    """
    with np.errstate(all="ignore"):  # float pixels hold anything; what is not a number becomes black
        if stored.pixels.ndim == 3:
            return _luminance(stored.pixels, stored.bits_stored, stored.photometric_interpretation)
        if stored.photometric_interpretation == "PALETTE COLOR":
            return _look_up(_palette(dataset), stored.pixels)
        return _look_up(_grayscale(stored, attributes), stored.pixels)


def _look_up(show: Show, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    bits = 8 * pixels.dtype.itemsize
    if bits > 16:
        return show(pixels)
    unsigned = np.dtype(f"u{bits // 8}")
    shown = show(np.arange(1 << bits, dtype=unsigned).view(pixels.dtype))
    pictured, codes = np.empty(pixels.shape, np.uint8), pixels.view(unsigned)
    for row in range(0, len(codes), LOOKED_UP_ROWS):
        rows = slice(row, row + LOOKED_UP_ROWS)
        np.take(shown, codes[rows], out=pictured[rows], mode="clip")
    return pictured


def _luminance(samples: NDArray[Any], bits: int, photometric_interpretation: str = "RGB") -> NDArray[np.uint8]:
    """Y of Rec. 601, which is the first sample of YBR (PS3.3 C.7.6.3.1.2)."""
    if samples.shape[-1] != 3 or samples.dtype.kind != "u":
        raise PixelError("unsupported", f"{samples.shape[-1]} samples of {samples.dtype} a pixel")
    if photometric_interpretation.startswith("YBR"):
        thousandths = samples[..., 0].astype(np.uint64) * 1000
    else:
        red, green, blue = np.moveaxis(samples, -1, 0).astype(np.uint64)
        thousandths = 299 * red + 587 * green + 114 * blue
    white = (1 << bits) - 1
    return np.minimum((thousandths * 255 + 500 * white) // (1000 * white), 255).astype(np.uint8)


def _palette(dataset: Dataset) -> Show:
    def show(stored: NDArray[Any]) -> NDArray[np.uint8]:
        try:
            entries, first, _ = (int(v) for v in dataset.RedPaletteColorLookupTableDescriptor)
            entry = np.clip(stored.astype(np.int64), first, first + (entries or 1 << 16) - 1)
            colours = apply_color_lut(entry, dataset)[..., :3]  # a fourth is opacity
            plain = "RedPaletteColorLookupTableData" in dataset
            if plain and colours.itemsize == 2 and dataset.original_encoding[1] is False:
                colours = colours.byteswap()  # which apply_color_lut does for segmented tables only
        except Exception as error:  # a table that lies about itself raises from anywhere
            raise PixelError("unsupported", f"palette: {type(error).__name__}: {error}") from error
        return _luminance(colours, bits=8 if colours.max() < 256 else 16)  # many 16-bit tables hold 8-bit colours

    return show


def _grayscale(stored: StoredFrame, attributes: Attributes) -> Show:
    modality, is_padding = _modality(attributes), _padding(attributes, stored.pixels.dtype)
    rows, columns = (-(-side // SAMPLED_SIDE) for side in stored.pixels.shape)
    for image in (stored.pixels[::rows, ::columns], stored.pixels):  # the samples may be padding all
        values = modality(image[~is_padding(image)].astype(np.float64))
        if values.size:
            break
    else:
        return lambda every: np.zeros(every.shape, np.uint8)
    voi = _voi(stored, attributes, modality, values)

    def show(every: NDArray[Any]) -> NDArray[np.uint8]:
        shown = voi(modality(every.astype(np.float64)))
        if stored.photometric_interpretation == "MONOCHROME1":  # Presentation LUT Shape INVERSE says the same again
            shown = 255 - shown
        # A hair more than half, so that encodings of one picture do not differ where rounding has a tie.
        rounded = np.floor(np.nan_to_num(shown) + 0.500001)
        return np.where(is_padding(every), 0, rounded).astype(np.uint8)

    return show


def _padding(attributes: Attributes, dtype: np.dtype[Any]) -> Callable[[NDArray[Any]], NDArray[np.bool_]]:
    """Tell what is no image: Pixel Padding Value to Range Limit (PS3.3 C.7.5.1.1.2), and floats that are no number."""
    if dtype.kind == "f":
        return lambda stored: ~np.isfinite(stored)
    value, limit = (numbers(attributes, keyword)[:1] for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    ends = [int(v) for v in value + limit] if value else []
    if dtype.kind == "i":  # many write it as if unsigned
        size = 1 << 8 * dtype.itemsize
        ends = [v - size if v >= size // 2 else v for v in ends]
    if not ends:
        return lambda stored: np.zeros(stored.shape, np.bool_)
    return lambda stored: np.asarray((stored >= min(ends)) & (stored <= max(ends)))


def _modality(attributes: Attributes) -> Transformation:
    """Give stored values their meaning: Modality LUT, or Rescale Slope and Intercept (PS3.3 C.11.1)."""
    # Angiography's leads back to X-ray intensity, to measure in, not to look at (PS3.3 C.8.7.1.1.2).
    to_intensity = attributes.get("Modality") in ("XA", "RF") and "PixelIntensityRelationship" in attributes
    if not to_intensity and (look_up := table(attributes, "ModalityLUTSequence")):
        return look_up
    slope, intercept = (numbers(attributes, keyword) for keyword in ("RescaleSlope", "RescaleIntercept"))
    if not slope or not intercept or slope[0] == 0:
        return lambda values: values
    return lambda values: values * slope[0] + intercept[0]


def _voi(stored: StoredFrame, attributes: Attributes, modality: Transformation, values: Values) -> Transformation:
    """Choose the first transformation to 0 (black) .. 255 (white) that is of use for these values."""
    for voi in _suggested(stored, attributes, modality):
        shown = voi(values)
        if np.mean((shown > 0) & (shown < 255)) >= LEAST_INSIDE:
            return voi
    if stored.bits_stored <= 8:
        first, last = _storable(stored)
        nominal = modality(np.arange(first, last + 1, dtype=np.float64))
        return _ramp(nominal.min(), nominal.max())
    low, high = np.percentile(values, ROBUST_PERCENTILES, method="closest_observation")
    if low == high:  # little in it, but perhaps not nothing
        everything = modality(stored.pixels.astype(np.float64))
        low, high = np.nanmin(everything), np.nanmax(everything)
    return _ramp(low, high)


def _suggested(stored: StoredFrame, attributes: Attributes, modality: Transformation) -> Iterator[Transformation]:
    if _is_hounsfield(stored, attributes, modality):
        yield _ramp(*CT_WINDOW_HU)
    if look_up := table(attributes, "VOILUTSequence"):
        brightest = look_up(np.arange(-(1 << 16), 1 << 17, dtype=np.float64)).max()
        yield lambda values: look_up(values) * 255 / brightest
    centers, widths = (numbers(attributes, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    for center, width in zip(centers, widths, strict=False):
        if width > 0:
            yield _window(str(attributes.get("VOILUTFunction", "LINEAR")), center, width)


def _is_hounsfield(stored: StoredFrame, attributes: Attributes, modality: Transformation) -> bool:
    """Tell whether a CT's values are Hounsfield units: says so, and could hold air as well as bone."""
    if attributes.get("Modality") != "CT" or stored.pixels.dtype.kind == "f" or "ModalityLUTSequence" in attributes:
        return False
    if not {"RescaleSlope", "RescaleIntercept"} <= attributes.keys():
        return False
    if "LOCALIZER" in attributes.get("ImageType", ()):
        return False  # a projection
    low, high = modality(np.array(_storable(stored), np.float64))
    says_so = str(attributes.get("RescaleType", "HU")).upper().startswith("H")  # also "Hounsfield Unit"
    return says_so and low <= CT_WINDOW_HU[0] and high >= CT_WINDOW_HU[1]


def _storable(stored: StoredFrame) -> tuple[int, int]:
    half = 1 << (stored.bits_stored - 1)
    return (-half, half - 1) if stored.pixels.dtype.kind == "i" else (0, 2 * half - 1)


def _window(function: str, center: float, width: float) -> Transformation:
    """Give the VOI LUT Function of a window (PS3.3 C.11.2.1.2 and C.11.2.1.3).

    LINEAR starts and ends half a stored step inside the window. Here it is half a grey level where that is more, so
    that a picture stored with 12 or 16 bits is shown as it is with 8: at most half a grey level from the standard.
    """
    if function == "SIGMOID":
        return lambda values: 255 / (1 + np.exp(-4 * (values - center) / width))
    if function == "LINEAR_EXACT" or width <= 1:  # LINEAR would be a step, which makes no picture of float pixels
        return _ramp(center - width / 2, center + width / 2)
    half = width / 2 - max(0.5, width / 512)
    return _ramp(center - 0.5 - half, center - 0.5 + half)


def _ramp(low: float, high: float) -> Transformation:
    span = max(high - low, np.finfo(np.float64).tiny)  # of no width: a step
    return lambda values: np.clip((values - low) * 255 / span, 0, 255)
