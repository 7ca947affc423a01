"""Windows: from values to grey levels, 0 (black) to 255 (white)."""

import numpy as np

from hashing.images.lookup_table import Transformation


def window(function: str, center: float, width: float, *, in_steps: bool = True) -> Transformation:
    """Transformation of a window by its VOI LUT Function (PS3.3 C.11.2.1.2 and C.11.2.1.3).

    LINEAR starts and ends half a stored step inside the window. Here it is half a grey level where that is more, so
    that a picture stored with 12 or 16 bits is shown as it is with 8: at most half a grey level from the standard.

    Parameters
    ----------
    function
        LINEAR, LINEAR_EXACT or SIGMOID; anything else counts as LINEAR.
    width
        Greater than 0. LINEAR has no width below 1, and is then LINEAR_EXACT; with a width of 1 it is a threshold.
    in_steps
        True if values are whole numbers. For others LINEAR with a width of 1 is LINEAR_EXACT too: maps of shares from 0
        to 1 have such windows, and as a threshold would be white all over.
    """
    if function == "SIGMOID":
        return lambda values: 255 / (1 + np.exp(-4 * (values - center) / width))
    if function == "LINEAR_EXACT" or width < 1 or (width == 1 and not in_steps):
        return ramp(center - width / 2, center + width / 2)
    half = width / 2 - max(0.5, width / 512)
    return ramp(center - 0.5 - half, center - 0.5 + half)


def ramp(low: float, high: float) -> Transformation:
    """Transformation that is black up to `low`, white from `high`, and linear between; a step if they are equal."""
    span = max(high - low, np.finfo(np.float64).tiny)
    return lambda values: np.clip((values - low) * 255 / span, 0, 255)
