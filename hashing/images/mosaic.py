"""Mosaics: one image that holds the sections of a volume side by side, as Siemens scanners store echo-planar MR.

Scaled down as a whole, such an image is a page of stamps; a single section shows what was imaged.
"""

from math import ceil
from typing import Any

from numpy.typing import NDArray
from pydicom.dataset import Dataset

from hashing.images.attributes import code_strings, numbers, read

GROUP, CREATOR, COUNT = 0x0019, "SIEMENS MR HEADER", 0x0A  # NumberOfImagesInMosaic


def middle_section(picture: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    """The middle section of a mosaic; any other picture is returned as it is.

    Image Type (0008,0008) says whether a picture is a mosaic. The number of sections comes from a private element, or
    else from their size in Acquisition Matrix (0018,1310); if both are missing, the picture stays whole.

    Parameters
    ----------
    picture : (rows, columns)
        The sections fill a square grid, line by line.

    Returns
    -------
    (rows, columns) of one section
        A view of ``picture``.
    """
    if "MOSAIC" not in code_strings(read(dataset, "ImageType")):
        return picture
    rows, columns = picture.shape
    count = _count(dataset) or _count_by_size(dataset, rows)
    tiles = ceil(count**0.5)
    if tiles < 1 or rows % tiles or columns % tiles:
        return picture
    height, width = rows // tiles, columns // tiles
    row, column = divmod((count - 1) // 2, tiles)
    return picture[row * height : (row + 1) * height, column * width : (column + 1) * width]


def _count(dataset: Dataset) -> int:
    """Number of sections from the private element; 0 if it is absent or damaged."""
    try:
        return max(0, int(dataset.private_block(GROUP, CREATOR)[COUNT].value))
    except (KeyError, TypeError, ValueError):
        return 0


def _count_by_size(dataset: Dataset, rows: int) -> int:
    """Number of sections of the acquired size that the grid has room for; 0 if that size is missing."""
    matrix = numbers({"AcquisitionMatrix": read(dataset, "AcquisitionMatrix")}, "AcquisitionMatrix")
    side = max((number for number in matrix if number is not None), default=0)
    return int(rows // side) ** 2 if side > 0 else 0
