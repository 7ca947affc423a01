"""Regions of an image: outlines, their bounding boxes, and where a region lies in a preview (PS3.3 C.18.6)."""

import math
from collections.abc import Sequence
from typing import Final

from hashing.images.pixel_error import PixelError

Region = tuple[int, int, int, int]
"""First column, first row, last column, last row, 1-based and inclusive."""

OUTSIDE: Final = "region outside"
"""Reason of a `PixelError`."""
MIN_SIDE: Final = 4
"""Fewer pixels of a picture in one direction show nothing that could be searched for."""


def bounding_box(graphic_type: str, data: Sequence[float], *, filled: bool = False) -> Region | None:
    r"""Bounding box of an outline, None if it encloses nothing: points, lines and open polylines.

    Parameters
    ----------
    graphic_type
        RECTANGLE, ELLIPSE, CIRCLE, POLYLINE or INTERPOLATED; others enclose nothing.
    data
        Columns and rows in turn; 0\0 is the top left corner of the top left pixel (PS3.3 C.10.5.1.2, C.18.6.1.1).
    filled
        True for a polyline that is filled, which closes it.
    """
    if len(data) % 2 or not all(map(math.isfinite, data)):
        return None
    points = [(data[index], data[index + 1]) for index in range(0, len(data), 2)]
    corners = CORNERS.get(graphic_type, _nothing)(points, filled)
    if not corners:
        return None
    columns, rows = zip(*corners, strict=True)
    left, top = math.floor(min(columns)) + 1, math.floor(min(rows)) + 1
    return left, top, max(left, math.ceil(max(columns))), max(top, math.ceil(max(rows)))


def check_region(region: Region, rows: int, columns: int) -> None:
    """Raise a `PixelError` (``region outside``) if a region does not lie within an image, or is too small."""
    left, top, right, bottom = region
    if not (1 <= left <= right <= columns and 1 <= top <= bottom <= rows):
        raise PixelError(OUTSIDE, f"the region is not within {columns} columns and {rows} rows")
    if right - left + 1 < MIN_SIDE or bottom - top + 1 < MIN_SIDE:
        raise PixelError(OUTSIDE, f"the region is less than {MIN_SIDE} pixels wide or high")


def region_of_preview(region: Region, rows: int, columns: int, size: int, pixel_height: float = 1.0) -> Region:
    """The same region in a preview, which is letterboxed into a square.

    One over the whole width or height takes in the borders beside it, so that all of an image is all of its preview.

    Parameters
    ----------
    pixel_height
        Height of a pixel of the image whose width is 1.

    Raises
    ------
    PixelError
        As `check_region` does.
    """
    check_region(region, rows, columns)
    left, top, right, bottom = region
    scale = size / max(rows * pixel_height, columns)
    width, height = (max(1, round(side * scale)) for side in (columns, rows * pixel_height))
    (first_column, last_column) = _fitted(left, right, columns, width, size)
    (first_row, last_row) = _fitted(top, bottom, rows, height, size)
    return first_column, first_row, last_column, last_row


def _fitted(first: int, last: int, side: int, fitted: int, size: int) -> tuple[int, int]:
    """First and last pixel of a range after its side was scaled to `fitted` pixels and centred in one of `size`."""
    if (first, last) == (1, side):
        return 1, size
    before = (size - fitted) // 2
    return before + math.floor((first - 1) * fitted / side) + 1, before + math.ceil(last * fitted / side)


Points = list[tuple[float, float]]


def _polyline(points: Points, filled: bool) -> Points:
    return points if len(points) > 2 and (filled or points[0] == points[-1]) else []


def _rectangle(points: Points, _: bool) -> Points:
    return points if len(points) in (2, 4, 5) else []


def _circle(points: Points, _: bool) -> Points:
    """Centre, and a point of the circumference."""
    if len(points) != 2:
        return []
    (x, y), radius = points[0], math.dist(*points)
    return [(x - radius, y - radius), (x + radius, y + radius)]


def _ellipse(points: Points, _: bool) -> Points:
    """Ends of the major axis, then of the minor axis: in any direction."""
    if len(points) != 4:
        return []
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = points
    x, y = (ax + bx) / 2, (ay + by) / 2
    width, height = math.hypot(bx - ax, dx - cx) / 2, math.hypot(by - ay, dy - cy) / 2
    return [(x - width, y - height), (x + width, y + height)]


def _nothing(_points: Points, _: bool) -> Points:
    return []


CORNERS: Final = {
    "RECTANGLE": _rectangle,
    "CIRCLE": _circle,
    "ELLIPSE": _ellipse,
    "POLYLINE": _polyline,
    "INTERPOLATED": _polyline,
}
