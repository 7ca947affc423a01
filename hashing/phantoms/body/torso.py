"""The trunk: skin, fat and muscle, arms, breasts, lungs, diaphragm, and the organs below it."""

from dataclasses import replace
from math import cos, pi, sin
from typing import Any

import numpy as np

from hashing.phantoms.body.anatomy import slow_waves
from hashing.phantoms.body.build import Build
from hashing.phantoms.body.shape import Part, Solid, ellipsoid, pile, thread, with_mirror_image

CAGE = (
    (118.0, 44.0, 22.0, 4.0, 5.0),
    (114.0, 45.0, 20.0, 17.0, 22.0),
    (104.0, 49.0, 18.0, 29.0, 40.0),
    (84.0, 56.0, 14.0, 45.0, 60.0),
    (50.0, 63.0, 9.0, 57.0, 75.0),
    (0.0, 68.0, 5.0, 65.0, 84.0),
    (-60.0, 71.0, 4.0, 68.0, 88.0),
    (-120.0, 72.0, 4.0, 68.0, 88.0),
    (-160.0, 73.0, 6.0, 66.0, 86.0),
    (-230.0, 73.0, 6.0, 60.0, 82.0),
)
"""Rows of the inner rib cage of the left side: z, centre x, centre y, half-width, half-depth, in mm."""

_WALL = (
    (260.0, 58.0, 60.0, 0.3),
    (205.0, 56.0, 58.0, 0.3),
    (180.0, 61.0, 60.0, 0.35),
    (160.0, 80.0, 65.0, 0.5),
    (140.0, 118.0, 76.0, 0.75),
    (120.0, 143.0, 86.0, 0.9),
    (90.0, 151.0, 96.0, 1.0),
    (40.0, 152.0, 103.0, 1.0),
    (-20.0, 153.0, 107.0, 1.0),
    (-100.0, 151.0, 106.0, 1.15),
    (-180.0, 146.0, 104.0, 1.4),
    (-330.0, 146.0, 102.0, 1.5),
)
"""Rows of the muscle wall: z, half-width and half-depth in mm, and the share of the fat layer on it."""


def wall(build: Build) -> list[Part]:
    """Skin, fat and muscle around the trunk."""
    fat = [share * build.fat for *_, share in _WALL]
    outer = [(z, 0.0, 4.0 - 0.25 * f, a + f, b + f) for (z, a, b, _), f in zip(_WALL, fat, strict=True)]
    inner = [(z, 0.0, 4.0, a, b) for z, a, b, _ in _WALL]
    skin = pile("skin", outer, squareness=0.39, within="air")
    layer = pile(
        "fat", [(z, x, y, a - 2, b - 2) for z, x, y, a, b in outer], squareness=0.39, texture=9.0, within="skin"
    )
    muscle = pile("muscle", inner, squareness=0.39, ripple_mm=1.5, texture=7.0, within="fat")
    seam = pile("fat", [(110, 92, -74, 0, 0), (80, 90, -80, 42, 2.2), (10, 98, -78, 0, 0)], ripple_mm=1.5)
    back = pile(
        "fat", [(120, 62, 62, 0, 0), (70, 64, 84, 44, 1.8), (-70, 66, 94, 46, 1.8), (-150, 60, 90, 0, 0)], ripple_mm=1.5
    )
    armpit = ellipsoid("fat", (122, 0, 62), (9, 30, 46), ripple_mm=4.0)
    return [
        skin,
        layer,
        muscle,
        *with_mirror_image(replace(seam, angle=0.3)),
        *with_mirror_image(replace(back, angle=-0.2)),
        *with_mirror_image(armpit),
    ]


def arms(build: Build) -> list[Part]:
    """Shoulders and upper arms, which hang at the sides, with their bones."""
    fat = 0.6 * build.fat
    rows = [(138, 150, 6, 0, 0), (130, 152, 6, 30, 26), (100, 163, 6, 50, 44), (60, 178, 6, 47, 46)]
    rows += [(0, 193, 8, 41, 42), (-120, 208, 8, 38, 40), (-330, 222, 8, 36, 38)]
    shell = pile("fat", [(z, x, y, a + fat * (a > 0), b + fat * (a > 0)) for z, x, y, a, b in rows], within="air")
    flesh = pile("muscle", rows, within="fat")
    shaft = [(172.0, 6.0, 84.0), (184.0, 6.0, 50.0), (198.0, 8.0, -30.0), (216.0, 8.0, -200.0)]
    bone = thread("cortical bone", shaft, [14.0, 11.0, 10.0, 10.0])
    marrow = thread("spongy bone", shaft, [12.0, 7.0, 5.5, 5.5], within="cortical bone")
    ball = thread("spongy bone", [(166.0, 4.0, 101.0), (168.0, 4.0, 96.0)], 23.0)
    return [part for piece in (shell, flesh, ball, bone, marrow) for part in with_mirror_image(piece)]


def breasts(build: Build) -> list[Part]:
    """Breasts: fat with a core of gland."""
    if not build.breast:
        return []
    size = build.breast * min(0.82 + build.fat / 70, 1.2)
    x, y, z = 78.0, -86.0 - 0.7 * build.fat, -46.0 - 10.0 * size
    shell = ellipsoid("fat", (x, y, z), (58 * size, 48 * size, 56 * size), (0.0, 0.3), texture=9.0, within="air")
    core = (42 * size, 27 * size, 36 * size)
    gland = ellipsoid("gland", (x, y - 8 * size, z - 6), core, (0.0, 0.3), ripple_mm=7.0, within="fat")
    return [*with_mirror_image(shell), *with_mirror_image(gland)]


def lung(side: int, breath: float, random: np.random.Generator) -> Solid:
    """One lung, from the apex to below the dome of the diaphragm. ``breath`` stretches its lower half."""
    tip = (119.5, 44.0, 22.0, 0.0, 0.0)
    rows = [(z if z > 0 else z * breath, side * x, y, a, b) for z, x, y, a, b in (tip, *CAGE[:-1])]
    rows.append((-172.0, side * 73.0, 8.0, 60.0, 80.0))
    solid = pile("lung", rows, squareness=0.32, ripple_mm=1.2, texture=30.0)
    shape = slow_waves(solid.heights, random, 3.5)
    shape[:, 2:] *= (solid.outline[:, 2:] > 30) * np.clip((solid.heights + 130) / 60, 0, 1)[:, None]
    return replace(solid, outline=solid.outline + shape)


def diaphragm(build: Build, breath: float) -> list[Part]:
    """Two domes of muscle, filled with the fat that the organs of the abdomen lie in."""
    parts: list[Part] = []
    for side, dome in zip((-1, 1), build.domes, strict=True):
        top = dome * breath
        drop = top + 158.0
        rows = [
            (top - drop * (1 - cos(turn)), side * 69.0, 2.0 + 4 * sin(turn), 73.5 * sin(turn), 93 * sin(turn))
            for turn in np.linspace(0.0, pi / 2, 12)
        ]
        rows += [(-210.0, side * 67.0, 6.0, 68.0, 86.0), (-330.0, side * 64.0, 6.0, 66.0, 84.0)]
        inner = [(z - 3.5, x, y, max(a - 3.5, 0.0), max(b - 3.5, 0.0)) for z, x, y, a, b in rows]
        parts += [pile("muscle", rows, squareness=0.23), pile("fat", inner, squareness=0.23, texture=9.0, within="fat")]
    return parts


def abdomen(build: Build, random: np.random.Generator) -> list[Part]:
    """Liver, stomach with its bubble, spleen, kidneys and gut."""
    right, left = build.domes
    drop = right + 158.0
    rows = [
        (right - 4 - drop * (1 - cos(turn)), -68.0, 1.0 + 4 * sin(turn), 69 * sin(turn), 88 * sin(turn))
        for turn in np.linspace(0.0, pi / 2, 9)
    ]
    rows += [(-200.0, -72.0, 6.0, 62.0, 80.0), (-245.0, -84.0, 10.0, 40.0, 56.0), (-275.0, -92.0, 12.0, 0.0, 0.0)]
    full = float(random.uniform(0.8, 1.15))
    liver: dict[str, Any] = {"texture": 8.0, "within": "fat"}
    return [
        pile("liver", rows, squareness=0.13, **liver),
        ellipsoid("liver", (-4, -44, right - 76), (78 * full, 36, 44), **liver),
        ellipsoid("stomach", (58, -16, left - 64), (44 * full, 44, 56), (0.3, 0.0), within="fat"),
        ellipsoid("airway", (56, -36, left - 26 - 8 * full), (30 * full, 22, 17), within="stomach"),
        ellipsoid("spleen", (110, 46, left - 66), (25, 42, 46), (0.15, 0.0), within="fat"),
        *with_mirror_image(ellipsoid("blood", (60, 50, -226), (25, 23, 52), (-0.2, 0.0), within="fat")),
        *with_mirror_image(ellipsoid("fat", (54, 44, -226), (11, 12, 26), within="fat")),
        *_gut(random),
    ]


def _gut(random: np.random.Generator) -> list[Part]:
    """Loops of bowel, some with gas."""
    parts: list[Part] = []
    for _ in range(12):
        x, z, radius = (float(random.uniform(low, high)) for low, high in ((-20, 105), (-310, -170), (13, 22)))
        y = float(random.uniform(-62, 10))
        parts.append(ellipsoid("stomach", (x, y, z), (radius, radius, 1.3 * radius), ripple_mm=3.0, within="fat"))
        if random.random() < 0.5:
            gas = (0.75 * radius, 0.45 * radius, 0.9 * radius)
            parts.append(ellipsoid("airway", (x, y - 0.4 * radius, z), gas, within="stomach"))
    return parts
