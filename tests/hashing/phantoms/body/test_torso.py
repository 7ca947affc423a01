"""The trunk."""

from dataclasses import replace

import numpy as np
import pytest

from hashing.phantoms.body.build import build
from hashing.phantoms.body.person import person
from hashing.phantoms.body.shape import Solid
from hashing.phantoms.body.torso import arms, breasts, diaphragm, lung, wall

BUILD = build(person(1, 0))


def solids(parts: list, tissue: str) -> list[Solid]:  # type: ignore[type-arg]
    return [part for part in parts if isinstance(part, Solid) and part.tissue == tissue]


@pytest.mark.parametrize("side", [-1, 1])
def test_the_wall_holds_the_lungs(side: int) -> None:
    muscle = solids(wall(BUILD), "muscle")[0]
    air = lung(side, 1.0, np.random.default_rng(0))

    for z, (x, y, a, b) in zip(air.heights, air.outline, strict=True):
        edge = np.array([[x + side * a, y, z], [x, y - b, z], [x, y + b, z]], np.float32)
        assert muscle.contains(edge).all()


def test_fat_lies_between_skin_and_muscle() -> None:
    skin, fat, muscle = (solids(wall(replace(BUILD, fat=30.0)), tissue)[0] for tissue in ("skin", "fat", "muscle"))

    widths = [float(part.at(0.0)[2, 0]) for part in (muscle, fat, skin)]
    assert widths[1] - widths[0] == pytest.approx(28, abs=0.5)
    assert widths[2] - widths[1] == pytest.approx(2, abs=0.1)


def test_breasts_stand_out_of_the_skin_where_the_build_has_them() -> None:
    assert breasts(replace(BUILD, breast=0.0)) == []

    shell = solids(breasts(replace(BUILD, breast=1.0)), "fat")[0]
    x, y, _, b = shell.at(float(shell.heights.mean()))[:, 0]
    skin = solids(wall(BUILD), "skin")[0]
    assert not skin.contains(np.array([[x, y - b, shell.heights.mean()]], np.float32)).any()


def test_the_diaphragm_rises_to_its_domes() -> None:
    right, left = solids(diaphragm(BUILD, 1.0), "muscle")

    assert (right.heights[-1], left.heights[-1]) == pytest.approx(BUILD.domes, abs=0.01)
    assert right.at(-150.0)[0, 0] < 0 < left.at(-150.0)[0, 0]


def test_arms_hang_beside_the_trunk() -> None:
    flesh = solids(arms(BUILD), "muscle")[0]

    assert flesh.at(-100.0)[0, 0] - flesh.at(-100.0)[2, 0] > solids(wall(BUILD), "muscle")[0].at(-100.0)[2, 0]
