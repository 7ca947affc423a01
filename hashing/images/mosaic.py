"""Mosaics: one image that holds the sections of a volume side by side, as Siemens scanners store echo-planar MR.

Scaled down whole, such an image is a page of stamps; one section shows what was imaged.
"""

from math import ceil
from typing import Any

from numpy.typing import NDArray
from pydicom.dataset import Dataset

from hashing.images.attributes import code_strings, numbers, read

GROUP, CREATOR, COUNT = 0x0019, "SIEMENS MR HEADER", 0x0A  # NumberOfImagesInMosaic


def middle_section(picture: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    """The middle one of a mosaic's sections; any other picture as it is.

    Image Type (0008,0008) says whether it is a mosaic. The private count of sections says how many there are, or else
    Acquisition Matrix (0018,1310) how large they are; if neither does, the picture stays whole.

    Parameters
    ----------
    picture : (rows, columns)
        The sections fill a square grid, line by line.
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
    """Sections by the private element; 0 if it is absent or damaged."""
    try:
        return max(0, int(dataset.private_block(GROUP, CREATOR)[COUNT].value))
    except (KeyError, TypeError, ValueError):
        return 0


def _count_by_size(dataset: Dataset, rows: int) -> int:
    """Places in the grid if the sections have as many rows as were acquired; 0 if that is not said."""
    matrix = numbers({"AcquisitionMatrix": read(dataset, "AcquisitionMatrix")}, "AcquisitionMatrix")
    side = max((rows_or_columns for rows_or_columns in matrix if rows_or_columns), default=0)
    return int(rows // side) ** 2 if side > 0 else 0
