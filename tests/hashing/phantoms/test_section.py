"""Cross-sections."""

import numpy as np
import pytest

from hashing.phantoms.body.shape import Part, ellipsoid, thread
from hashing.phantoms.section import Plane, section

VALUES = {"liver": 60.0, "blood": 200.0, "grey matter": 38.0}


def draw(parts: list[Part], z_mm: float = 0.0, grain: int = 0) -> np.ndarray:
    return section(parts, Plane(z_mm, 128, 1.0, 10.0), VALUES.__getitem__, -1000.0, grain)


def test_a_ball_covers_its_area_at_its_place() -> None:
    image = draw([ellipsoid("liver", (20, 30, 0), (15, 10, 10))])

    rows, columns = np.nonzero(image > -470)
    assert len(rows) == pytest.approx(np.pi * 15 * 10, rel=0.02)
    assert columns.mean() == pytest.approx(63.5 + 20, abs=0.1)
    assert rows.mean() == pytest.approx(63.5 + 30 - 10, abs=0.1)
    assert set(np.unique(image[(image < -999) | (image > 59)])) == {-1000.0, 60.0}


def test_a_turned_ball_covers_the_same_area() -> None:
    image = draw([ellipsoid("liver", (0, 10, 0), (30, 10, 10), angle=0.7)])

    assert (image > -470).sum() == pytest.approx(np.pi * 300, rel=0.02)


def test_a_plane_beyond_a_body_shows_air() -> None:
    assert np.all(draw([ellipsoid("liver", (0, 0, 0), (30, 10, 10))], z_mm=11.0) == -1000)


def test_a_later_part_displaces_an_earlier_one() -> None:
    ball, vessel = ellipsoid("liver", (0, 10, 0), (30, 30, 30)), thread("blood", [(0, 10, -20), (0, 10, 20)], 5.0)

    assert draw([ball, vessel])[63, 63] == 200
    assert draw([vessel, ball])[63, 63] == 60


def test_a_body_outside_the_field_is_left_out() -> None:
    assert np.all(draw([ellipsoid("liver", (500, 0, 0), (30, 10, 10))]) == -1000)


def test_the_grain_belongs_to_the_person() -> None:
    rough: list[Part] = [ellipsoid("liver", (0, 10, 0), (40, 40, 40), ripple_mm=3.0, texture=20.0)]

    assert np.array_equal(draw(rough, grain=4), draw(rough, grain=4))
    assert not np.array_equal(draw(rough, grain=4), draw(rough, grain=5))


def test_folds_cut_into_the_border_and_leave_the_depth() -> None:
    smooth: list[Part] = [ellipsoid("grey matter", (0, 10, 0), (50, 50, 50))]
    folded: list[Part] = [ellipsoid("grey matter", (0, 10, 0), (50, 50, 50), fold_mm=15.0, fold_width=0.3)]

    assert (draw(folded) > 0).sum() < 0.95 * (draw(smooth) > 0).sum()
    assert np.all(draw(folded)[44:84, 44:84] == 38)
