"""The bones of the trunk: spine, ribs, breastbone, collarbones and shoulder blades."""

from math import cos, pi, sin
from typing import Any

import numpy as np

from hashing.phantoms.body.build import Build
from hashing.phantoms.body.shape import Part, Solid, pile, thread, with_mirror_image
from hashing.phantoms.body.torso import CAGE

Knot = tuple[float, float, float]
VERTEBRA_MM = 23.0


def spine(build: Build) -> list[Part]:
    """The spine: vertebral bodies with discs, arches, canal and spinous processes."""
    body, core, arch, canal, process = [], [], [], [], []
    for step in range(-160, 131):
        z = 2.0 * step
        x, y = spine_at(build, z)
        beat = cos(2 * pi * z / VERTEBRA_MM)
        waist, bone = 1.0 - 0.055 * beat, beat > -0.75
        size = 1.04 - z / 1100
        body.append((z, x, y, 17.5 * waist * size, 14.5 * waist * size))
        core.append((z, x, y, (15.9 if bone else 16.8) * waist * size, (12.9 if bone else 14.0) * waist * size))
        arch.append((z, x, y + 20, 12 + 10 * max(beat, 0.0) ** 3, 9 + 3 * beat))
        canal.append((z, x, y + 20, 8.5, 7.0))
        process.append((z - 8, x, y + 33, 2.0 + 1.5 * max(beat, 0), 4 + 7 * max(beat, 0)))
    return [
        _column("spongy bone", arch, texture=25.0),
        _column("spongy bone", process),
        _column("muscle", canal),
        _column("cortical bone", body),
        _column("spongy bone", core, texture=25.0, within="cortical bone"),
    ]


def spine_at(build: Build, z: float) -> tuple[float, float]:
    """Middle of the spine at a height, as x and y."""
    x = build.sway * sin(z / 75 + build.sway_phase)
    heights, depths = (-330.0, -100.0, 0.0, 60.0, 120.0, 200.0), (42.0, 54.0, 58.0, 54.0, 40.0, 24.0)
    return x, float(np.interp(z, heights, depths)) + build.stoop * max(cos((z - 10) / 75), 0.0)


def _column(tissue: str, rows: list[tuple[float, float, float, float, float]], **details: Any) -> Solid:
    """Solid through closely spaced rows, without smoothing."""
    table = np.array(rows, np.float32)
    return Solid(tissue, table[:, 0].copy(), table[:, 1:].copy(), **details)


def ribs(build: Build) -> list[Part]:
    """Eleven pairs of ribs around the cage. Cartilage joins the first seven pairs to the breastbone."""
    parts: list[Part] = []
    for rib in range(11):
        knots = _rib(build, rib)
        parts += with_mirror_image(thread("cortical bone", knots, [4.6, *[5.6] * (len(knots) - 1)]))
        parts += with_mirror_image(thread("spongy bone", knots, 3.7, within="cortical bone"))
        if rib < 7:
            x, y, z = knots[-1]
            bridge = [(x, y, z), (0.6 * x, y - 5, z + 3 * rib), (13.0, -86.0, z + 6 * rib)]
            parts += with_mirror_image(thread("cartilage", bridge, 4.6))
    return parts


def _rib(build: Build, rib: int) -> list[Knot]:
    """Knots of a left rib, from the spine to the front."""
    cage = np.array(sorted(CAGE))
    end = pi * (0.82 if rib < 7 else 0.82 - 0.11 * (rib - 6))
    top = 114 - VERTEBRA_MM * rib
    drop = build.rib_drop * min(1.0, 0.45 + 0.09 * rib)
    knots = []
    for turn in np.linspace(0.06 * pi, end, 16):
        z = top + 7 * sin(2.2 * turn) - drop * (1 - cos(turn)) / 2
        _, x, y, a, b = (np.interp(z - 14, cage[:, 0], column) for column in cage.T)
        bulge = 1.0 + 0.11 * sin(2 * turn) ** 2  # the cage is squarish
        knots.append((bulge * (x + a + 5) * sin(turn), y + bulge * (b + 7) * cos(turn), z))
    return knots


def shoulders() -> list[Part]:
    """Collarbones, shoulder blades with their borders and spines, and the breastbone."""
    collar: list[Knot] = [(16, -66, 90), (48, -72, 102), (92, -40, 118), (142, -10, 122)]
    border: list[Knot] = [(140, 34, 88), (124, 62, 40), (108, 86, -30), (95, 92, -44), (90, 94, -10), (86, 87, 50)]
    ridge: list[Knot] = [(84, 80, 64), (104, 72, 88), (126, 46, 104), (142, 14, 114)]
    blade = Solid(
        "cortical bone",
        np.array([-42, -20, 30, 80, 104], np.float32),
        np.array(
            [[95, 92, 0, 0], [99, 90, 9, 1.4], [106, 80, 22, 1.6], [112, 66, 32, 1.8], [114, 60, 24, 0]], np.float32
        ),
        angle=-0.65,
    )
    rows = [(90, 0, -76, 0, 0), (84, 0, -78, 24, 7), (56, 0, -86, 19, 7), (-20, 0, -94, 16, 6), (-70, 0, -94, 0, 0)]
    pieces: list[Part] = [
        thread("cortical bone", collar, [7.0, 5.8, 5.2, 6.5]),
        thread("spongy bone", collar, 3.8, within="cortical bone"),
        blade,
        thread("cortical bone", border, [5.0, 2.8, 3.0, 2.4, 1.8, 1.8]),
        thread("cortical bone", ridge, [1.8, 2.6, 3.4, 4.4]),
    ]
    return [*(part for piece in pieces for part in with_mirror_image(piece)), pile("spongy bone", rows)]
