"""Regions: the boxes of outlines, and the part of a picture in them."""

import math

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from hashing.images.pixels import PixelError
from node.examples.crop import cropped, region_of_input
from node.examples.regions import bounding_box, region_of_preview

COORDINATE = st.floats(0, 200, width=32)


@pytest.mark.parametrize(
    ("kind", "data", "box"),
    [
        ("RECTANGLE", [10, 20, 30, 40], (11, 21, 30, 40)),
        ("POLYLINE", [10, 20, 30, 20, 30, 40, 10, 20], (11, 21, 30, 40)),
        ("INTERPOLATED", [10, 20, 30, 20, 30, 40, 10, 20], (11, 21, 30, 40)),
        ("CIRCLE", [50, 50, 50, 60], (41, 41, 60, 60)),
        ("ELLIPSE", [40, 50, 60, 50, 50, 45, 50, 55], (41, 46, 60, 55)),
        ("POLYLINE", [10.5, 20.5, 30.2, 20.5, 30.2, 40.1, 10.5, 20.5], (11, 21, 31, 41)),
        ("RECTANGLE", [10, 20, 10, 20], (11, 21, 11, 21)),  # at least the pixel that begins there
        ("POLYLINE", [10, 20, 30, 20, 30, 40], None),  # open: a line or an arrow
        ("POINT", [10, 20], None),
        ("MULTIPOINT", [10, 20, 30, 40], None),
        ("CIRCLE", [50, 50, 50], None),
        ("ELLIPSE", [50, 50, 50, 60], None),
        ("ELLIPSE", [math.nan] * 8, None),
        ("RECTANGLE", [], None),
        ("", [1, 2, 3, 4], None),
    ],
)
def test_an_outline_has_a_box_if_it_encloses_something(kind: str, data: list[float], box: tuple[int, ...]) -> None:
    assert bounding_box(kind, data) == box


def test_a_filled_polyline_is_closed() -> None:
    assert bounding_box("POLYLINE", [10, 20, 30, 20, 30, 40], filled=True) == (11, 21, 30, 40)


@given(COORDINATE, COORDINATE, st.floats(1, 50), st.floats(1, 50), st.floats(0, math.pi))
def test_the_box_of_a_turned_ellipse_holds_its_points_tightly(
    x: float, y: float, major: float, minor: float, angle: float
) -> None:
    cos, sin = math.cos(angle), math.sin(angle)
    ends = [(-major, 0), (major, 0), (0, -minor), (0, minor)]
    data = [value for u, v in ends for value in (x + u * cos - v * sin, y + u * sin + v * cos)]
    around = np.linspace(0, 2 * math.pi, 2000)
    columns = x + major * np.cos(around) * cos - minor * np.sin(around) * sin
    rows = y + major * np.cos(around) * sin + minor * np.sin(around) * cos

    box = bounding_box("ELLIPSE", data)

    assert box is not None
    expected = (columns.min() + 0.5, rows.min() + 0.5, columns.max() + 0.5, rows.max() + 0.5)
    assert np.allclose(box, expected, atol=0.6)


def test_a_crop_is_the_network_s_input_of_that_part() -> None:
    pixels = np.zeros((60, 80), np.uint8)
    pixels[20:40, 30:50] = 200

    image = cropped(sitk.GetImageFromArray(pixels), (31, 21, 50, 40), 32)

    assert image.shape == (32, 32)
    assert image.min() == 200


@pytest.mark.parametrize("region", [(0, 1, 10, 10), (1, 1, 81, 10), (1, 1, 10, 61), (20, 1, 10, 10), (1, 1, 3, 50)])
def test_a_region_outside_or_too_small_is_refused(region: tuple[int, int, int, int]) -> None:
    with pytest.raises(PixelError, match="region outside"):
        cropped(sitk.GetImageFromArray(np.zeros((60, 80), np.uint8)), region, 32)


@given(st.integers(20, 3000), st.integers(20, 3000), st.data())
def test_a_region_of_an_image_lies_in_its_preview_where_the_picture_does(
    rows: int, columns: int, data: st.DataObject
) -> None:
    left, top = data.draw(st.integers(2, columns - 3)), data.draw(st.integers(2, rows - 3))
    right, bottom = data.draw(st.integers(left + 3, columns)), data.draw(st.integers(top + 3, rows))

    c0, r0, c1, r1 = region_of_preview((left, top, right, bottom), rows, columns, 224)

    assert 1 <= c0 <= c1 <= 224
    assert 1 <= r0 <= r1 <= 224
    scale = 224 / max(rows, columns)
    assert abs((c1 - c0 + 1) - (right - left + 1) * scale) <= 2.5
    assert abs((r1 - r0 + 1) - (bottom - top + 1) * scale) <= 2.5


def test_the_whole_image_is_the_whole_picture_in_its_preview() -> None:
    assert region_of_preview((1, 1, 512, 256), 256, 512, 224) == (1, 1, 224, 224)
    assert region_of_preview((1, 1, 512, 128), 256, 512, 224) == (1, 57, 224, 112)


def test_pixels_that_are_no_squares_are_where_the_network_sees_them() -> None:
    picture = sitk.GetImageFromArray(np.zeros((50, 100), np.uint8))
    picture.SetSpacing([1.0, 2.0])  # type: ignore[no-untyped-call]

    assert region_of_input(picture, (51, 1, 100, 25), 224) == (113, 1, 224, 112)
