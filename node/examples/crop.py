"""The part of a picture within a region, as network input; a module of its own: receivers do without SimpleITK."""

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from hashing.images.pixels import PixelError, preprocess
from node.examples.regions import MIN_SIDE, OUTSIDE, Region


def cropped(picture: sitk.Image, region: Region, size: int) -> NDArray[np.uint8]:
    """Network input of the part of a picture within a region, (size, size).

    Parameters
    ----------
    picture
        As `hashing.images.pixels.decode` makes it.

    Raises
    ------
    PixelError
        ``region outside``: it does not lie within the picture, or is too small.
    """
    left, top, right, bottom = region
    columns, rows = picture.GetSize()  # type: ignore[no-untyped-call]
    if not (1 <= left <= right <= columns and 1 <= top <= bottom <= rows):
        raise PixelError(OUTSIDE, f"the region is not within {columns} columns and {rows} rows")
    if right - left + 1 < MIN_SIDE or bottom - top + 1 < MIN_SIDE:
        raise PixelError(OUTSIDE, f"the region is less than {MIN_SIDE} pixels wide or high")
    return preprocess(picture[left - 1 : right, top - 1 : bottom], size)
