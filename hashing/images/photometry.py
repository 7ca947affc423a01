"""Pictures from stored values: modality and VOI transformations, padding, inversion, palette, luminance.

Up to 16 bits, all that is done to stored values goes into one table, and the pixels are looked up once. So the window
cuts before the picture is shrunk, as on a viewing station, and costs little more than it would afterwards.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from hashing.images.attributes import Attributes, code_string, code_strings, first_number, numbers
from hashing.images.frames import StoredFrame
from hashing.images.lookup_table import LookupTable, Transformation, Values, lookup_table
from hashing.images.padding import PaddingTest, padding_test
from hashing.images.palette import palette_colours
from hashing.images.window import ramp, window

# One window for every CT slice in Hounsfield units: lung (about -900 to -500) and soft tissue (-100 to 250) both show,
# and the series' own window, which depends on who looks, makes no difference between like images.
CT_WINDOW_HU = (-1000.0, 400.0)
ROBUST_PERCENTILES = (0.5, 99.5)
SAMPLED_SIDE = 256  # a window is chosen on about so many rows and columns
MIN_INSIDE_SHARE = 0.01  # a window that leaves this share of the image between black and white is surely of use
ROWS_PER_LOOKUP = 32  # numpy widens the indices; it is twice as fast while they stay in the cache

Show = Callable[[NDArray[Any]], NDArray[np.uint8]]


def picture(stored: StoredFrame, attributes: Attributes, dataset: Dataset) -> NDArray[np.uint8]:
    """Show one frame as a viewing station would.

    CT in Hounsfield units is shown in `CT_WINDOW_HU`. Other grayscale is shown by the instance's VOI LUT, or by the
    first of its windows that shows something; without them by the nominal range of up to 8 bits stored, and by robust
    percentiles of more. Colour is shown by its luminance.

    Parameters
    ----------
    stored
        Grayscale, palette or colour.
    attributes
        Attributes of the frame: modality and VOI transformation, padding.
    dataset
        The instance, which holds the palette.

    Returns
    -------
    (rows, columns) uint8
        Larger values are brighter; padding is 0.

    Raises
    ------
    PixelError
        ``unsupported`` for a palette that does not fit.
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
    for row in range(0, len(codes), ROWS_PER_LOOKUP):
        rows = slice(row, row + ROWS_PER_LOOKUP)
        np.take(shown, codes[rows], out=pictured[rows], mode="clip")
    return pictured


def _luminance(samples: NDArray[Any], bits: int, photometric_interpretation: str = "RGB") -> NDArray[np.uint8]:
    """Y of Rec. 601, which is the first sample of YBR (PS3.3 C.7.6.3.1.2)."""
    if bits > 32:
        samples, bits = samples >> (bits - 32), 32  # so that the sums fit 64 bits
    if photometric_interpretation.startswith("YBR"):
        thousandths = samples[..., 0].astype(np.uint64) * 1000
    else:
        red, green, blue = np.moveaxis(samples, -1, 0).astype(np.uint64)
        thousandths = 299 * red + 587 * green + 114 * blue
    white = (1 << bits) - 1
    return np.minimum((thousandths * 255 + 500 * white) // (1000 * white), 255).astype(np.uint8)


def _palette(dataset: Dataset) -> Show:
    def show(stored: NDArray[Any]) -> NDArray[np.uint8]:
        """Luminance of the colours that stored values stand for."""
        colours = palette_colours(dataset, stored)
        return _luminance(colours, bits=8 if colours.max() < 256 else 16)  # many 16-bit tables hold 8-bit colours

    return show


def _grayscale(stored: StoredFrame, attributes: Attributes) -> Show:
    modality, is_padding = _modality(stored, attributes), padding_test(stored, attributes)
    voi = _voi(stored, attributes, modality, is_padding)

    def show(values: NDArray[Any]) -> NDArray[np.uint8]:
        """Grey levels of stored values; padding is black."""
        shown = voi(modality(values.astype(np.float64)))
        if stored.photometric_interpretation == "MONOCHROME1":  # Presentation LUT Shape INVERSE says the same again
            shown = 255 - shown
        # A hair more than half, so that encodings of one picture do not differ where rounding has a tie.
        rounded = np.floor(np.nan_to_num(shown) + 0.500001)
        return np.where(is_padding(values), 0, rounded).astype(np.uint8)

    return show


def _modality(stored: StoredFrame, attributes: Attributes) -> Transformation:
    """Transformation that gives stored values their meaning: Modality LUT, or rescaling (PS3.3 C.11.1).

    Of Rescale Slope and Intercept either may be missing: CT that says its intercept alone is meant in Hounsfield units.
    """
    if look_up := _modality_table(stored, attributes):
        return look_up
    slope, intercept = (first_number(attributes, keyword) for keyword in ("RescaleSlope", "RescaleIntercept"))
    if slope is None and intercept is None:
        return lambda values: values
    factor, summand = slope or 1.0, intercept or 0.0  # a slope of 0 would leave no picture
    return lambda values: values * factor + summand


def _modality_table(stored: StoredFrame, attributes: Attributes) -> LookupTable | None:
    modality = code_string(attributes.get("Modality"))
    if modality in ("XA", "RF") and "PixelIntensityRelationship" in attributes:
        return None  # it leads back to X-ray intensity, to measure in, not to look at (PS3.3 C.8.7.1.1.2)
    return lookup_table(attributes, "ModalityLUTSequence", signed=stored.pixels.dtype.kind in "if")


def _voi(
    stored: StoredFrame, attributes: Attributes, modality: Transformation, is_padding: PaddingTest
) -> Transformation:
    """The first transformation to 0 (black) .. 255 (white) that shows something of the image."""
    rows, columns = (-(-side // SAMPLED_SIDE) for side in stored.pixels.shape)
    sampled = _image_values(stored.pixels[::rows, ::columns], modality, is_padding)
    whole = cache(lambda: _image_values(stored.pixels, modality, is_padding))
    values = sampled if sampled.size else whole()  # the sample may be padding all
    if not values.size:
        return np.zeros_like
    for voi in _suggested(stored, attributes, modality, values):
        if _shows_something(voi, values) or _shows_something(voi, whole()):
            return voi
    if stored.bits_stored <= 8:
        first, last = _storable(stored)
        nominal = modality(np.arange(first, last + 1))
        return ramp(nominal.min(), nominal.max())
    low, high = np.percentile(values, ROBUST_PERCENTILES, method="closest_observation")
    if low == high:  # little in it, but perhaps not nothing
        low, high = whole().min(), whole().max()
    return ramp(low, high)


def _image_values(pixels: NDArray[Any], modality: Transformation, is_padding: PaddingTest) -> Values:
    """Values of the pixels that are no padding, (n,)."""
    return modality(pixels[~is_padding(pixels)].astype(np.float64))


def _shows_something(voi: Transformation, values: Values) -> bool:
    """False for a mistaken window, which makes one grey of values that differ.

    A window may be a threshold, and leave nothing between black and white.
    """
    shown = voi(values)
    if np.mean((shown > 0) & (shown < 255)) >= MIN_INSIDE_SHARE:
        return True
    return bool(shown.min() < shown.max() or values.min() == values.max())


def _suggested(
    stored: StoredFrame, attributes: Attributes, modality: Transformation, values: Values
) -> Iterator[Transformation]:
    if _is_hounsfield(stored, attributes, modality):
        yield ramp(*CT_WINDOW_HU)
    if look_up := _voi_table(stored, attributes, modality):
        brightest = look_up.entries.max()
        yield lambda values: look_up(values) * 255 / brightest
    function = code_string(attributes.get("VOILUTFunction"))
    in_steps = bool((values == np.rint(values)).all())
    for center, width in zip(numbers(attributes, "WindowCenter"), numbers(attributes, "WindowWidth"), strict=False):
        if center is not None and width is not None and np.isfinite([center, width]).all() and width > 0:
            yield window(function, center, width, in_steps=in_steps)


def _voi_table(stored: StoredFrame, attributes: Attributes, modality: Transformation) -> LookupTable | None:
    """First usable VOI LUT. Its input is signed if what comes out of rescaling can be negative (PS3.3 C.11.2.1.1)."""
    if _modality_table(stored, attributes):
        signed = False  # a Modality LUT puts out unsigned values
    else:
        signed = stored.pixels.dtype.kind == "f" or modality(_storable(stored)).min() < 0
    return lookup_table(attributes, "VOILUTSequence", signed=signed)


def _is_hounsfield(stored: StoredFrame, attributes: Attributes, modality: Transformation) -> bool:
    """True if a CT's values are Hounsfield units: it says so, and its bits can hold air as well as bone."""
    if code_string(attributes.get("Modality")) != "CT" or "ModalityLUTSequence" in attributes:
        return False
    if stored.pixels.dtype.kind == "f" or not {"RescaleSlope", "RescaleIntercept"} & attributes.keys():
        return False
    if "LOCALIZER" in code_strings(attributes.get("ImageType")):
        return False  # a projection
    low, high = modality(_storable(stored))
    says_so = code_string(attributes.get("RescaleType", "HU")).upper().startswith("H")  # also "Hounsfield Unit"
    return says_so and bool(low <= CT_WINDOW_HU[0] and high >= CT_WINDOW_HU[1])


def _storable(stored: StoredFrame) -> Values:
    """Lowest and highest value that the bits of integer pixels can store."""
    half = 1 << (stored.bits_stored - 1)
    return np.array((-half, half - 1) if stored.pixels.dtype.kind == "i" else (0, 2 * half - 1), np.float64)
