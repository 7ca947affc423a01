"""The part of a picture within a region, and where it lies in the network's input; receivers do without SimpleITK."""

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from hashing.images.pixels import preprocess
from node.examples.regions import Region, check_region, region_of_preview


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
    columns, rows = picture.GetSize()  # type: ignore[no-untyped-call]
    check_region(region, rows, columns)
    left, top, right, bottom = region
    return preprocess(picture[left - 1 : right, top - 1 : bottom], size)


def region_of_input(picture: sitk.Image, region: Region, size: int) -> Region:
    """The same region in the network input of a picture; parameters and errors are those of `cropped`."""
    (columns, rows), (width, height) = picture.GetSize(), picture.GetSpacing()  # type: ignore[no-untyped-call]
    return region_of_preview(region, rows, columns, size, height / width)
