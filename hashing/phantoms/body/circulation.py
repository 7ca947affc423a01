"""The middle of the chest: heart, great vessels, airways, and the vessels of the lungs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashing.phantoms.body.build import Build
from hashing.phantoms.body.shape import Part, Solid, Tube, ellipsoid, pile, thread

Knot = tuple[float, float, float]
Points = NDArray[np.float64]

_MIDDLE = (
    (160.0, 0.0, 12.0, 20.0, 28.0),
    (128.0, 0.0, 8.0, 27.0, 34.0),
    (104.0, -1.0, 4.0, 33.0, 46.0),
    (76.0, 1.0, 0.0, 37.0, 56.0),
    (50.0, 1.0, -2.0, 36.0, 62.0),
    (28.0, 3.0, -2.0, 36.0, 62.0),
    (0.0, 3.0, 2.0, 33.0, 60.0),
    (-60.0, 8.0, 6.0, 34.0, 60.0),
    (-120.0, 8.0, 6.0, 38.0, 66.0),
    (-200.0, 2.0, 20.0, 24.0, 50.0),
    (-330.0, 0.0, 24.0, 20.0, 46.0),
)
"""Rows of the bed of the mediastinum: z, centre x, centre y, half-width, half-depth, in mm."""


_TRUNKS = np.array(
    [(12, -22, 46), (20, 14, 40), (34, -16, 8), (30, 26, -14), (20, 20, -56), (15, -18, -50)], np.float64
)
"""Ends of the six trunks of the left lung, relative to its hilum, in mm."""


def mediastinum() -> list[Part]:
    """The fatty bed of the heart and the vessels, and the muscle beside the spine."""
    bed = pile("mediastinum", _MIDDLE, texture=14.0, ripple_mm=2.5)
    return [
        bed,
        pile("muscle", [(150, 0, 44, 24, 14), (60, 0, 64, 24, 15), (-100, 0, 66, 32, 18), (-330, 0, 60, 50, 26)]),
    ]


def heart(build: Build) -> list[Part]:
    """The heart: pericardial fat, muscle, and the four chambers."""
    size, turn = build.heart, build.heart_turn
    x, y, z = build.heart_x + 20 * (size - 1), -24 - 10 * (size - 1), -44 - 14 * (size - 1)
    axes, slant = (64 * size, 47 * size**0.7, 56 * size**0.7), (-0.34, -0.1)
    fat = (axes[0] + 3, axes[1] + 3, axes[2] + 2)
    sized: dict[str, Any] = {"within": "heart"}
    turned: list[Solid] = [
        ellipsoid("fat", (x, y, z), fat, slant),
        ellipsoid("heart", (x, y, z), axes, slant, within="fat"),
        ellipsoid("blood", (x + 26 * size, y + 6, z - 8), (25 * size, 15 * size, 32 * size), (-0.3, 0), **sized),
        ellipsoid(
            "blood", (x - 10 * size, y - 20 * size, z - 4), (32 * size, 14 * size, 34 * size), (-0.3, 0), **sized
        ),
    ]
    left_atrium = ellipsoid("blood", (x - 14 * size, y + 26 * size, z + 22), (30 * size, 15 * size, 20 * size), **sized)
    right_atrium = ellipsoid("blood", (x - 42 * size, y, z + 4), (16 * size, 22 * size, 32 * size), ripple_mm=1.0)
    return [*(replace(part, angle=turn) for part in turned), left_atrium, right_atrium]


def great_vessels(build: Build) -> list[Part]:
    """Aorta, caval veins, pulmonary arteries, and the vessels to the neck. The wide vessels shape the silhouette."""
    bed = "mediastinum"
    return [
        *_aorta(build),
        pile("blood", [(112, -26, -8, 0, 0), (100, -28, -10, 9, 9), (40, -33, -14, 10, 10), (-10, -32, -14, 12, 12)]),
        ellipsoid("blood", (30, -8, 26), (19, 26, 20), (-0.2, 0.0)),
        thread("blood", [(-24, 4, -60), (-22, 8, -110), (-18, 20, -320)], [11, 12, 11], bed),
        thread("blood", [(12, -34, -6), (24, -22, 24), (32, -2, 32)], [15, 15, 13], bed),
        thread("blood", [(36, 2, 30), (46, 10, 20), (54, 18, -2), (58, 22, -24)], [11, 10, 7.5, 5.5], "lung"),
        thread("blood", [(16, -14, 26), (-8, -6, 24), (-34, 0, 16)], [10, 10, 10], bed),
        thread("blood", [(-36, 0, 16), (-46, 8, 4), (-54, 16, -16), (-58, 20, -36)], [10.5, 9, 7.5, 5.5], "lung"),
        thread("blood", [(2, -10, 76), (-8, -8, 98), (-22, -2, 126), (-26, 0, 170)], 6.0, bed),
        thread("blood", [(16, 4, 74), (22, 2, 100), (26, 0, 130), (26, 0, 170)], 5.0, bed),
    ]


def _aorta(build: Build) -> list[Part]:
    r = build.arch
    out = 1.6 * (r - 10)
    arch: list[Knot] = [
        (2, -22, -12),
        (-14, -30, 28),
        (-8, -24, 60),
        (12, -4, 72),
        (26 + out, 20, 68),
        (30 + out, 36, 48),
    ]
    lumen = [r + 3, r + 4, r + 3, r + 1, r + 1, r]
    down = [
        (52.0, 30 + out, 38.0),
        (0.0, 29 + out, 46.0),
        (-60.0, 27 + out / 2, 46.0),
        (-130.0, 19.0, 42.0),
        (-330.0, 6.0, 34.0),
    ]
    return [
        thread("blood", arch, lumen, "mediastinum"),
        ellipsoid("blood", (26 + out, 24, 60 + r / 3), (r + 4, r + 8, r + 7), ripple_mm=1.0),
        pile("blood", [(z, x, y, r, r) for z, x, y in down]),
    ]


def airways(build: Build) -> list[Part]:
    """The windpipe, the main bronchi, and the gullet."""
    off = build.trachea_x
    trachea = [(off / 2, 4, 200), (off, 10, 120), (off - 2, 14, 80), (-2, 18, 48)]
    return [
        thread("airway", trachea, 8.2),
        thread("airway", [(-2, 18, 48), (14, 20, 34), (34, 24, 18), (48, 28, -4)], [7, 6, 5, 3.5]),
        thread("airway", [(-2, 18, 48), (-16, 20, 34), (-30, 24, 14), (-42, 30, -12)], [7.5, 7, 5.5, 4]),
        thread("muscle", [(4, 30, 160), (6, 34, 60), (8, 36, -40), (12, 30, -150)], 7.0, "mediastinum"),
    ]


def lung_vessels(lung: Solid, side: int, covers: Sequence[Solid], random: np.random.Generator) -> Tube:
    """The vessels of one lung, as a tree from its hilum: six trunks, their boughs, and twigs.

    The twigs reach all of the lung that ``covers`` leave free.
    """
    hilum = np.array([side * 46.0, 14.0, 6.0])
    ends = hilum + np.array([side, 1, 1]) * _TRUNKS + random.normal(0, 5, _TRUNKS.shape)
    trunks = _branches(hilum + random.normal(0, 5, ends.shape), ends, (4.4, 2.2), random)
    tips = _inside(lung, 110, 0.85, random)
    boughs = _branches(_forks(trunks, tips, hilum, random), tips, (2.2, 1.1), random)
    tips = _inside(lung, 420, 0.97, random)
    twigs = _branches(_forks(boughs, tips, hilum, random), tips, (1.3, 0.75), random)
    balls = np.concatenate([layer.reshape(-1, 5) for layer in (trunks, boughs, twigs)]).astype(np.float32)
    balls = balls[lung.contains(balls)]
    for cover in covers:
        balls = balls[~cover.contains(balls)]
    return Tube("blood", balls[:, :3], balls[:, 3], balls[:, 4], within="lung")


def _inside(lung: Solid, n: int, reach: float, random: np.random.Generator) -> Points:
    """Points spread evenly over the heights and cross-sections of a lung, (n, 3)."""
    z = random.uniform(lung.heights[0] + 12, lung.heights[-1] - 12, n)
    x, y, a, b = lung.at(z.astype(np.float32))
    radius, turn = reach * np.sqrt(random.uniform(0.05, 1.0, n)), random.uniform(0, 2 * np.pi, n)
    return np.column_stack([x + radius * a * np.cos(turn), y + radius * b * np.sin(turn), z])


def _nearest(points: Points, among: Points) -> NDArray[np.intp]:
    return np.asarray(((points[:, None] - among[None]) ** 2).sum(axis=2).argmin(axis=1))


def _forks(parents: Points, tips: Points, hilum: Points, random: np.random.Generator) -> Points:
    """Points where the branches to the tips leave their parents: somewhere along the parent that ends nearest."""
    chosen = parents[_nearest(0.75 * tips + 0.25 * hilum, parents[:, -1, :3])]
    where = random.uniform(0.25, 1.0, len(tips)) * (chosen.shape[1] - 1)
    return np.asarray(chosen[np.arange(len(tips)), where.astype(np.intp), :3])


def _branches(starts: Points, ends: Points, radii: tuple[float, float], random: np.random.Generator) -> Points:
    """Bent and tapering branches, (branches, balls, 5): x, y, z, radius and step of each ball."""
    length = np.linalg.norm(ends - starts, axis=1)
    bend = (starts + ends) / 2 + random.normal(0, 0.12, starts.shape) * length[:, None]
    t = np.linspace(0.0, 1.0, max(int(np.quantile(length, 0.9) / (1.4 * min(radii))), 2))[None, :, None]
    points = (1 - t) ** 2 * starts[:, None] + 2 * t * (1 - t) * bend[:, None] + t**2 * ends[:, None]
    shape = (*points.shape[:2], 1)
    taper = np.broadcast_to(radii[0] + (radii[1] - radii[0]) * t, shape)
    return np.concatenate([points, taper, np.broadcast_to((length / t.size)[:, None, None], shape)], axis=2)
