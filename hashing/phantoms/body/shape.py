"""Solids and tubes, whose cross-sections and shadows both have a closed form.

Coordinates are the patient's, in mm: x to the left, y to the back, z to the head (DICOM PS3.3 C.7.6.2.1.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hashing.phantoms.body import loops
from hashing.phantoms.body.loops import Floats


@dataclass(frozen=True, slots=True)
class Solid:
    """A pile of ellipses, one at each height, interpolated between knots.

    Attributes
    ----------
    tissue
        Name of the tissue in ``TISSUES``.
    heights : (knots,)
        z of the knots, ascending, mm.
    outline : (knots, 4)
        Centre x, centre y, half-width (x), half-depth (y), mm.
    angle
        Turn of the ellipses about z, radians, from x towards y.
    squareness
        0 for an ellipse, towards 1 for a rectangle (a squircle, x² + y² - squareness x² y² = 1: Fernandez Guasti 1992).
        Only for ``angle`` 0.
    ripple_mm, texture
        How far noise moves the border of a section (mm) and its values (units of the image).
    fold_mm, fold_width
        Depth of the creases in the border of a section (mm), as in a brain, and how wide they gape (about 0.2 to 1).
    within
        Name of the tissue that it displaces in a radiograph.
    """

    tissue: str
    heights: Floats
    outline: Floats
    angle: float = 0.0
    squareness: float = 0.0
    ripple_mm: float = 0.0
    texture: float = 0.0
    fold_mm: float = 0.0
    fold_width: float = 0.0
    within: str = "muscle"

    def at(self, z: float | Floats) -> Floats:
        """Ellipse at each z, (4, n): centre x, centre y, half-width, half-depth. Outside, the half-axes are 0."""
        z = np.atleast_1d(np.asarray(z, np.float32))
        upper = np.clip(np.searchsorted(self.heights, z), 1, len(self.heights) - 1)
        low, high = self.heights[upper - 1], self.heights[upper]
        share = np.clip((z - low) / (high - low), 0.0, 1.0)
        columns = self.outline.T
        rows = columns[:, upper - 1] * (1 - share) + columns[:, upper] * share
        rows[2:, (z < self.heights[0]) | (z > self.heights[-1])] = 0.0
        return np.asarray(rows)

    @property
    def form(self) -> Floats:
        """Cosine and sine of the angle, and the squareness, (3,)."""
        return np.array([np.cos(self.angle), np.sin(self.angle), self.squareness], np.float32)

    def rays(self, z: Floats, *, lateral: bool) -> Floats:
        """Ellipses that rays along y (x if ``lateral``) meet at each z, (n, 6): see `loops.add_chord_shadow`."""
        centre_x, centre_y, half_width, half_depth = self.at(z)
        turn = self.angle
        if lateral:
            centre_x, centre_y, half_width, half_depth, turn = centre_y, centre_x, half_depth, half_width, -turn
        half_width, half_depth = np.maximum(half_width, 1e-3), np.maximum(half_depth, 1e-3)
        reach = np.hypot(half_width * np.cos(turn), half_depth * np.sin(turn))
        lean = np.cos(turn) * np.sin(turn) * (half_depth**2 - half_width**2) / reach**2
        depth, squareness = half_width * half_depth / reach, np.full(len(z), self.squareness)
        return np.column_stack([centre_x, 1 / reach, centre_y, depth, lean, squareness]).astype(np.float32)

    def contains(self, points: Floats) -> NDArray[np.bool_]:
        """True for each of the points (n, 3 or more) that lies inside."""
        return np.asarray(loops.points_inside(points, self.heights, self.outline, self.form))

    def mirrored(self) -> Self:
        """Mirror image on the other side of the body."""
        return replace(self, outline=self.outline * np.array([-1, 1, 1, 1], np.float32), angle=-self.angle)

    def transformed(self, scale: Floats, lean: float = 0.0, turn: float = 0.0) -> Self:
        """The solid stretched along x, y and z, then moved along x by ``lean`` per mm of z and ``turn`` per mm of y."""
        outline = self.outline * scale[[0, 1, 0, 1]]
        heights = self.heights * scale[2]
        outline[:, 0] += lean * heights + turn * outline[:, 1]
        return replace(self, heights=heights, outline=outline.astype(np.float32))


@dataclass(frozen=True, slots=True)
class Tube:
    """A tube: balls strung along curves, for ribs, vessels and airways.

    Attributes
    ----------
    tissue, within
        Names of the tissue that it is made of, and of the tissue that it displaces in a radiograph.
    points : (n, 3)
        Centres, mm, at most about a radius apart.
    radii, steps : (n,)
        Radius of each ball, and the length of curve that it stands for, mm.
    """

    tissue: str
    points: Floats
    radii: Floats
    steps: Floats
    within: str = "muscle"

    def mirrored(self) -> Self:
        """Mirror image on the other side of the body."""
        return replace(self, points=self.points * np.array([-1, 1, 1], np.float32))

    def transformed(self, scale: Floats, lean: float = 0.0, turn: float = 0.0) -> Self:
        """The tube stretched and moved as `Solid.transformed` does it; its balls stay round."""
        size = np.cbrt(scale.prod())
        points = self.points * scale
        points[:, 0] += lean * points[:, 2] + turn * points[:, 1]
        return replace(self, points=points.astype(np.float32), radii=self.radii * size, steps=self.steps * size)


Part = Solid | Tube


def with_mirror_image(part: Part) -> list[Part]:
    """A part and its mirror image."""
    return [part, part.mirrored()]


def pile(tissue: str, rows: Sequence[tuple[float, float, float, float, float]], **details: Any) -> Solid:
    """Solid through rows of (z, centre x, centre y, half-width, half-depth), in any order, smooth between them.

    Half-axes of 0 close the ends. ``details`` are attributes of Solid.
    """
    table = np.array(sorted(rows), np.float64)
    fine = np.unique(np.concatenate([np.linspace(table[0, 0], table[-1, 0], 48), table[:, 0]]))
    outline = _smooth(fine, table[:, 0], table[:, 1:])
    return Solid(tissue, fine.astype(np.float32), outline.astype(np.float32), **details)


def ellipsoid(
    tissue: str,
    centre: tuple[float, float, float],
    axes: tuple[float, float, float],
    slant: tuple[float, float] = (0.0, 0.0),
    **details: Any,
) -> Solid:
    """Ellipsoid with half-axes along x, y and z, in mm. ``slant`` shifts its centre in x and y per mm of height."""
    rise = -np.cos(np.linspace(0.0, np.pi, 25))
    girth = np.sqrt(np.maximum(1.0 - rise**2, 0.0))
    middle = np.array(centre[:2]) + rise[:, None] * axes[2] * np.array(slant)
    outline = np.column_stack([middle, axes[0] * girth, axes[1] * girth])
    return Solid(tissue, (centre[2] + axes[2] * rise).astype(np.float32), outline.astype(np.float32), **details)


def thread(
    tissue: str,
    knots: Sequence[tuple[float, float, float]],
    radius: float | Sequence[float],
    within: str = "muscle",
) -> Tube:
    """Tube along a smooth curve through knots (x, y, z). It has one radius, or one radius for each knot, in mm."""
    table = np.array(knots, np.float64)
    radii = np.broadcast_to(np.asarray(radius, np.float64), len(table))
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(table, axis=0), axis=1))])
    along = np.linspace(0.0, length[-1], max(int(length[-1] / (0.6 * radii.min())) + 1, 2))
    points = _smooth(along, length, np.column_stack([table, radii])).astype(np.float32)
    return Tube(tissue, points[:, :3], points[:, 3], np.full(len(along), along[1], np.float32), within)


def _smooth(at: NDArray[np.float64], knots: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of cubics that go through the knots and never overshoot (Fritsch and Butland, SISSC 5, 1984)."""
    step = np.diff(knots)[:, None]
    rise = np.diff(values, axis=0) / step
    left, right = rise[:-1], rise[1:]
    same = left * right > 0
    mean = np.where(same, 2.0 * left * right / np.where(same, left + right, 1.0), 0.0)
    slope = np.concatenate([rise[:1], mean, rise[-1:]])
    piece = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(step) - 1)
    width = step[piece]
    t = (at - knots[piece])[:, None] / width
    start = (1 + 2 * t) * (1 - t) ** 2 * values[piece] + t * (1 - t) ** 2 * width * slope[piece]
    return np.asarray(start + t**2 * (3 - 2 * t) * values[piece + 1] + t**2 * (t - 1) * width * slope[piece + 1])
