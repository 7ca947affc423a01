"""Heart and vessels."""

from dataclasses import replace

import numpy as np

from hashing.phantoms.body.build import build
from hashing.phantoms.body.circulation import great_vessels, heart, lung_vessels
from hashing.phantoms.body.person import person
from hashing.phantoms.body.shape import Solid
from hashing.phantoms.body.torso import lung

BUILD = build(person(1, 0))


def test_lung_vessels_fill_their_lung_and_stay_out_of_what_covers_it() -> None:
    for side in (-1, 1):
        air = lung(side, 1.0, np.random.default_rng(0))
        covers = [part for part in heart(BUILD) if isinstance(part, Solid)]

        tree = lung_vessels(air, side, covers, np.random.default_rng(1))

        assert air.contains(tree.points).all()
        assert not any(cover.contains(tree.points).any() for cover in covers)
        assert np.ptp(tree.points[:, 2]) > 0.8 * np.ptp(air.heights)
        assert tree.radii[0] > 3 * tree.radii[-1]


def test_the_heart_lies_left_of_the_middle_and_grows_with_its_size() -> None:
    usual, large = (
        next(part for part in heart(replace(BUILD, heart=size)) if part.tissue == "heart") for size in (1.0, 1.4)
    )

    assert usual.outline[:, 0].mean() > 5  # type: ignore[union-attr]
    assert large.outline[:, 2].max() > 1.3 * usual.outline[:, 2].max()  # type: ignore[union-attr]


def test_a_wide_aorta_bulges_to_the_left() -> None:
    narrow, wide = (
        max(float((p.outline[:, 0] + p.outline[:, 2]).max()) for p in great_vessels(one) if isinstance(p, Solid))
        for one in (replace(BUILD, arch=10.5), replace(BUILD, arch=16.0))
    )

    assert wide > narrow + 5
