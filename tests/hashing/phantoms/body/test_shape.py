"""Piles of ellipses and strings of balls."""

import numpy as np
import pytest

from hashing.phantoms.body.shape import ellipsoid, pile, thread, with_mirror_image


def test_an_ellipsoid_is_widest_in_the_middle_and_closed_at_its_ends() -> None:
    ball = ellipsoid("liver", (1, 2, 3), (10, 20, 30))

    middle, end, outside = (ball.at(z)[:, 0] for z in (3.0, 33.0, 50.0))

    assert middle == pytest.approx([1, 2, 10, 20], abs=0.01)
    assert end[2:] == pytest.approx([0, 0], abs=0.01)
    assert list(outside[2:]) == [0, 0]


def test_a_slanted_ellipsoid_leans_with_height() -> None:
    leaning = ellipsoid("heart", (0, 0, 0), (10, 10, 20), (0.5, 0.0))

    assert leaning.at(10.0)[0, 0] == pytest.approx(5, abs=0.2)


def test_a_pile_passes_through_its_rows_and_never_overshoots() -> None:
    rows = [(0.0, 0.0, 0.0, 5.0, 5.0), (10.0, 1.0, 0.0, 20.0, 6.0), (30.0, 1.0, 0.0, 20.0, 9.0)]
    solid = pile("fat", rows)

    for z, *row in rows:
        assert list(solid.at(z)[:, 0]) == pytest.approx(row, abs=1e-4)
    assert solid.outline[:, 2].max() <= 20.0001


def test_a_thread_is_as_long_as_its_curve_and_tapers() -> None:
    tube = thread("blood", [(0, 0, 0), (30, 0, 0), (30, 40, 0)], [4, 3, 2])

    assert tube.steps.sum() == pytest.approx(70, rel=0.05)
    assert tube.radii[0] == pytest.approx(4)
    assert tube.radii[-1] == pytest.approx(2)
    assert np.linalg.norm(np.diff(tube.points, axis=0), axis=1).max() < tube.radii.min()


def test_mirroring_twice_changes_nothing() -> None:
    solid, mirror = with_mirror_image(pile("lung", [(0, 5, 1, 2, 3), (9, 6, 1, 2, 3)], squareness=0.2))

    assert np.array_equal(mirror.mirrored().outline, solid.outline)  # type: ignore[union-attr]
    assert mirror.at(3.0)[0, 0] == -solid.at(3.0)[0, 0]  # type: ignore[union-attr]


def test_placing_stretches_and_leans() -> None:
    scale = np.array([2, 3, 4], np.float32)
    solid = ellipsoid("liver", (1, 1, 1), (5, 5, 5)).transformed(scale, lean=0.5, turn=0.1)
    tube = thread("blood", [(0, 0, 0), (0, 0, 10)], 2.0).transformed(scale)

    assert list(solid.at(4.0)[:, 0]) == pytest.approx([2 + 0.5 * 4 + 0.1 * 3, 3, 10, 15], abs=0.1)
    assert tube.points[-1, 2] == pytest.approx(40)
    assert tube.radii[0] == pytest.approx(2 * 24 ** (1 / 3))
