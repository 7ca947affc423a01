"""Compiled loops against slow, obvious twins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashing.phantoms.body.loops import add_ball_shadows, add_chord_shadow, paint_discs
from hashing.phantoms.body.shape import Solid, ellipsoid

small = st.floats(-20, 20, width=32)
Interval = tuple[float, float]


def solid(centre: tuple[float, float], axes: tuple[float, float], angle: float = 0.0, squareness: float = 0.0) -> Solid:
    heights = np.array([-1, 1], np.float32)
    outline = np.array([[*centre, *axes]] * 2, np.float32)
    return Solid("muscle", heights, outline, angle=angle, squareness=squareness)


def lengths(solids: list[Solid], x: np.ndarray) -> np.ndarray:
    """Chord of the first solid outside the others, by counting points along each ray."""
    y = np.linspace(-60, 60, 24_001, dtype=np.float32)
    result = []
    for place in x:
        points = np.column_stack([np.full_like(y, place), y, np.zeros_like(y)])
        kept = solids[0].contains(points)
        for other in solids[1:]:
            kept &= ~other.contains(points)
        result.append(kept.sum() * (y[1] - y[0]))
    return np.array(result)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(small, small, st.floats(2, 25), st.floats(2, 25), st.floats(-1, 1)), min_size=1, max_size=5))
def test_a_shadow_is_the_length_no_cover_hides(shapes: list[tuple[float, ...]]) -> None:
    solids = [solid((x, y), (a, b), turn) for x, y, a, b, turn in shapes]
    across = np.linspace(-40, 40, 33, dtype=np.float32)
    rays = np.stack([one.rays(np.zeros(1, np.float32), lateral=False) for one in solids])
    canvas = np.zeros((1, len(across)), np.float32)

    add_chord_shadow(canvas, rays, across, np.float32(1.0))

    assert canvas[0] == pytest.approx(lengths(solids, across), abs=0.05)


def test_a_squarish_shadow_has_the_length_of_its_body() -> None:
    body = solid((3, 1), (20, 12), squareness=0.4)
    across = np.linspace(-25, 25, 21, dtype=np.float32)
    canvas = np.zeros((1, len(across)), np.float32)

    add_chord_shadow(canvas, body.rays(np.zeros(1, np.float32), lateral=False)[None], across, np.float32(2.0))

    assert canvas[0] == pytest.approx(2 * lengths([body], across), abs=0.1)


def test_balls_cast_their_whole_volume_once() -> None:
    canvas = np.zeros((40, 40), np.float32)
    columns, rows = np.array([20.3, 9.0], np.float32), np.array([18.6, 30.0], np.float32)

    add_ball_shadows(canvas, columns, rows, np.array([6.0, 4.0], np.float32), np.array([100.0, 50.0], np.float32))

    assert canvas.sum() == pytest.approx(150, rel=0.02)


def test_balls_at_the_edge_are_cut_off() -> None:
    canvas = np.zeros((10, 10), np.float32)
    edge = np.array([0.0, 9.0, -30.0, 40.0], np.float32)

    add_ball_shadows(canvas, edge, edge, np.full(4, 3, np.float32), np.ones(4, np.float32))
    paint_discs(canvas, np.float32(1.0), edge, edge, np.full(4, 3, np.float32))

    assert canvas[5, 5] == 0
    assert canvas[0, 0] == canvas[9, 9] == 1


def test_overlapping_discs_leave_no_seam() -> None:
    canvas = np.zeros((21, 41), np.float32)
    columns = np.arange(5, 36, 2, dtype=np.float32)

    paint_discs(canvas, np.float32(7.0), columns, np.full_like(columns, 10), np.full_like(columns, 4))

    assert np.all(canvas[8:13, 5:36] == 7)
    assert np.all(canvas[:5] == 0)


def test_a_point_is_inside_where_the_equation_says_so() -> None:
    body = ellipsoid("liver", (4, -3, 10), (20, 12, 30))
    points = np.random.default_rng(0).uniform(-45, 45, (5000, 3)).astype(np.float32)

    found = body.contains(points)

    x, y, z = ((points - [4, -3, 10]) / [20, 12, 30]).T
    exact = x**2 + y**2 + z**2
    sure = np.abs(exact - 1) > 0.03  # the pile has 25 knots, not a sphere's roundness
    assert np.array_equal(found[sure], exact[sure] < 1)
    assert found.sum() > 50
