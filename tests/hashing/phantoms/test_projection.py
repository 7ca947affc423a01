"""Radiographs are sums of sections."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from hashing.phantoms.body.chest import chest
from hashing.phantoms.body.person import person
from hashing.phantoms.body.shape import Part, Solid, ellipsoid, thread
from hashing.phantoms.body.tissue import TISSUES
from hashing.phantoms.projection import Detector, projection
from hashing.phantoms.section import Plane, section

X = (np.arange(400) - 199.5).astype(np.float32)


def at_height(parts: list[Part], z: float, lateral: bool) -> NDArray[np.float32]:
    detector = Detector(np.array([z + 1, z, z - 1], np.float32), X, lateral)
    return np.asarray(projection(parts, detector)[1])


@pytest.mark.parametrize("lateral", [False, True])
@pytest.mark.parametrize("level", [0.1, 0.3, 0.5, 0.7])
def test_a_row_of_a_radiograph_sums_the_section_at_its_height(level: float, lateral: bool) -> None:
    anatomy = chest(person(1, 0), 1)
    parts = [replace(p, texture=0.0, ripple_mm=0.0) if isinstance(p, Solid) else p for p in anatomy.parts]
    z = anatomy.height(level)

    row = at_height(parts, z, lateral)

    density = section(parts, Plane(z, 400, 1.0, 0.0), lambda name: TISSUES[name].density, 0.0, 0)
    summed = density.sum(axis=1 if lateral else 0)
    assert np.abs(row - summed).mean() < 0.02 * summed.max()


def test_a_ball_of_bone_in_flesh_adds_its_excess_along_the_ray() -> None:
    flesh: Part = ellipsoid("muscle", (0, 0, 0), (80, 60, 80), within="air")
    ball: Part = ellipsoid("spongy bone", (10, 0, 0), (10, 10, 10))

    extra = at_height([flesh, ball], 0.0, False) - at_height([flesh], 0.0, False)

    excess = TISSUES["spongy bone"].density - TISSUES["muscle"].density
    assert extra.max() == pytest.approx(20 * excess, rel=0.01)
    assert extra.sum() == pytest.approx(np.pi * 100 * excess, rel=0.01)


def test_a_tube_has_the_same_mass_from_every_side() -> None:
    tube: list[Part] = [thread("cortical bone", [(-40, -30, -20), (40, 30, 20)], 5.0)]
    z = (60 - np.arange(121)).astype(np.float32)

    front, side = (projection(tube, Detector(z, X, lateral)).sum() for lateral in (False, True))

    assert front == pytest.approx(side, rel=0.01)
