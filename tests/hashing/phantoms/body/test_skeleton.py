"""The bones of the trunk."""

import numpy as np

from hashing.phantoms.body.build import build
from hashing.phantoms.body.person import person
from hashing.phantoms.body.shape import Tube
from hashing.phantoms.body.skeleton import ribs, shoulders, spine, spine_at
from hashing.phantoms.body.torso import lung

BUILD = build(person(1, 0))


def test_there_are_eleven_pairs_of_ribs_and_each_has_its_mirror() -> None:
    bones = [part for part in ribs(BUILD) if isinstance(part, Tube) and part.tissue == "cortical bone"]

    assert len(bones) == 22
    for left, right in zip(bones[::2], bones[1::2], strict=True):
        assert left.points[:, 0].mean() > 0
        assert np.array_equal(left.points * np.array([-1, 1, 1]), right.points)


def test_ribs_run_outside_the_lungs_and_slope_down() -> None:
    inside = lung(1, 1.0, np.random.default_rng(0))
    for rib in ribs(BUILD):
        if isinstance(rib, Tube) and rib.tissue == "cortical bone" and rib.points[:, 0].mean() > 0:
            assert inside.contains(rib.points).mean() < 0.15
            assert rib.points[-1, 2] < rib.points[0, 2]


def test_the_spine_follows_its_own_course() -> None:
    body = next(part for part in spine(BUILD) if part.tissue == "cortical bone")

    for z in (-150.0, 0.0, 100.0):
        assert np.allclose(body.at(z)[:2, 0], spine_at(BUILD, z), atol=0.3)  # type: ignore[union-attr]


def test_collarbones_lie_in_front_and_shoulder_blades_behind() -> None:
    tubes = [part for part in shoulders() if isinstance(part, Tube)]

    assert min(tube.points[:, 1].min() for tube in tubes) < -60
    assert max(tube.points[:, 1].max() for tube in tubes) > 80
