"""Bodies in space that have both a cross-section and a shadow in closed form.

Coordinates are the patient's, in mm: x to the left, y to the back, z to the head (DICOM PS3.3 C.7.6.2.1.1).
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Solid:
    """A pile of ellipses, one at each height, interpolated between knots.

    Attributes
    ----------
    tissue
        Name in ``TISSUES``.
    heights : (knots,)
        z of the knots, ascending, mm.
    outline : (knots, 4)
        Centre x, centre y, half-width (x), half-depth (y), mm.
    angle
        Turn of the ellipses about z, radians, from x towards y.
    power
        Exponent of the superellipse; above 2 is boxier. Only for ``angle`` 0.
    ripple_mm, texture
        How far noise moves the border (mm) and the values (units of the image).
    within
        Tissue it displaces, as far as a radiograph is concerned.
    """

    tissue: str
    heights: Floats
    outline: Floats
    angle: float = 0.0
    power: float = 2.0
    ripple_mm: float = 0.0
    texture: float = 0.0
    within: str = "muscle"

    def at(self, z: float | Floats) -> Floats:
        """Centre x, centre y, half-width, half-depth at each z, (4, n); the half-axes are 0 outside."""
        rows = [np.interp(z, self.heights, column) for column in self.outline[:, :2].T]
        rows += [np.interp(z, self.heights, column, left=0.0, right=0.0) for column in self.outline[:, 2:].T]
        return np.asarray(rows, np.float32).reshape(4, -1)

    def chords(self, z: Floats, across: Floats, *, lateral: bool = False) -> tuple[Floats, Floats]:
        """Where rays enter and leave, along y at each (z, x), or along x at each (z, y) if ``lateral``.

        Returns
        -------
        two arrays (n_z, n_across)
            Entry and exit, mm; equal where the ray misses.
        """
        centre_x, centre_y, half_width, half_depth = (row[:, None] for row in self.at(z))
        if lateral:
            centre_x, centre_y, half_width, half_depth = centre_y, centre_x, half_depth, half_width
        half_width, half_depth = np.maximum(half_width, 1e-3), np.maximum(half_depth, 1e-3)
        offset = across[None, :] - centre_x
        if self.angle == 0.0:
            free = np.maximum(1.0 - np.abs(offset / half_width) ** self.power, 0.0)
            half = half_depth * free ** (1.0 / self.power)
            return centre_y - half, centre_y + half
        turn = -self.angle if lateral else self.angle
        cos, sin = np.cos(turn), np.sin(turn)
        square = (sin / half_width) ** 2 + (cos / half_depth) ** 2
        cross = cos * sin * (half_width**-2 - half_depth**-2)
        half = np.sqrt(np.maximum(square - (offset / (half_width * half_depth)) ** 2, 0.0)) / square
        middle = centre_y - cross * offset / square
        return middle - half, middle + half

    def mirrored(self) -> Self:
        """The same on the other side of the body."""
        return replace(self, outline=self.outline * np.float32([-1, 1, 1, 1]), angle=-self.angle)


@dataclass(frozen=True, slots=True)
class Tube:
    """Balls strung along curves: ribs, vessels, airways.

    Attributes
    ----------
    tissue, within
        What it is made of, and what it displaces.
    points : (n, 3)
        Centres, mm, at most about a radius apart.
    radii, steps : (n,)
        Radii, and the length of curve each ball stands for, mm.
    """

    tissue: str
    points: Floats
    radii: Floats
    steps: Floats
    within: str = "muscle"

    def mirrored(self) -> Self:
        """The same on the other side of the body."""
        return replace(self, points=self.points * np.float32([-1, 1, 1]))


Part = Solid | Tube


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding and the heights between which a section shows it, mm."""

    name: str
    low_mm: float
    high_mm: float


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Parts in painting order: a later part displaces an earlier one.

    Attributes
    ----------
    parts
        Solids and tubes.
    top_mm, bottom_mm
        z of level 0 and level 1: landmarks, so that equal levels show equal anatomy in all patients.
    findings
        What is wrong, and where.
    """

    parts: tuple[Part, ...]
    top_mm: float
    bottom_mm: float
    findings: tuple[Finding, ...] = ()

    def height(self, level: float) -> float:
        """Z of a level, mm."""
        return self.top_mm + level * (self.bottom_mm - self.top_mm)

    def seen(self, z: float) -> tuple[str, ...]:
        """Names of the findings that the plane at z cuts."""
        return tuple(finding.name for finding in self.findings if finding.low_mm <= z <= finding.high_mm)


def pile(tissue: str, rows: list[tuple[float, float, float, float, float]], **details: Any) -> Solid:
    """Solid from rows of (z, centre x, centre y, half-width, half-depth), any order, smoothed between them.

    Half-axes of 0 close the ends.
    """
    table = np.array(sorted(rows), np.float64)
    fine = np.unique(np.concatenate([np.linspace(table[0, 0], table[-1, 0], 48), table[:, 0]]))
    columns = [smooth(fine, table[:, 0], column) for column in table[:, 1:].T]
    return Solid(tissue, fine.astype(np.float32), np.stack(columns, axis=1).astype(np.float32), **details)


def smooth(at: NDArray[np.float64], knots: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cubic through the values that never overshoots them (Fritsch and Butland, SIAM J. Sci. Stat. Comput. 1984)."""
    step = np.diff(knots)
    rise = np.diff(values) / step
    left, right = rise[:-1], rise[1:]
    same = left * right > 0
    mean = np.where(same, 2.0 * left * right / np.where(same, left + right, 1.0), 0.0)
    slope = np.concatenate([rise[:1], mean, rise[-1:]])
    piece = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(step) - 1)
    t, width = (at - knots[piece]) / step[piece], step[piece]
    start = (1 + 2 * t) * (1 - t) ** 2 * values[piece] + t * (1 - t) ** 2 * width * slope[piece]
    return np.asarray(start + t**2 * (3 - 2 * t) * values[piece + 1] + t**2 * (t - 1) * width * slope[piece + 1])


def ellipsoid(
    tissue: str, centre: tuple[float, float, float], axes: tuple[float, float, float], **details: Any
) -> Solid:
    """Ellipsoid with half-axes along x, y and z, mm; ``slant_x`` and ``slant_y`` shift the centre per mm of height."""
    slant = np.array([details.pop("slant_x", 0.0), details.pop("slant_y", 0.0)])
    rise = -np.cos(np.linspace(0.0, np.pi, 25))
    girth = np.sqrt(np.maximum(1.0 - rise**2, 0.0))
    middle = np.array(centre[:2]) + rise[:, None] * axes[2] * slant
    outline = np.column_stack([middle, axes[0] * girth, axes[1] * girth])
    return Solid(tissue, (centre[2] + axes[2] * rise).astype(np.float32), outline.astype(np.float32), **details)


def thread(tissue: str, knots: list[tuple[float, float, float]], radius: float | list[float], **details: str) -> Tube:
    """Tube along a smooth curve through knots (x, y, z); one radius, or one at each knot, mm."""
    table = np.array(knots, np.float64)
    radii = np.broadcast_to(np.asarray(radius, np.float64), len(table))
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(table, axis=0), axis=1))])
    along = np.linspace(0.0, length[-1], max(int(length[-1] / (0.6 * radii.min())) + 1, 2))
    columns = [smooth(along, length, column) for column in table.T]
    points = np.stack(columns, axis=1).astype(np.float32)
    steps = np.full(len(along), along[1], np.float32)
    return Tube(tissue, points, np.interp(along, length, radii).astype(np.float32), steps, **details)


def scaled(part: Part, scale: Floats) -> Part:
    """Part stretched along x, y and z about the origin."""
    if isinstance(part, Tube):
        size = float(np.sqrt(scale[0] * scale[2]))
        return replace(part, points=part.points * scale, radii=part.radii * size, steps=part.steps * size)
    outline = part.outline * np.concatenate([scale[:2], scale[:2]])
    return replace(part, heights=part.heights * scale[2], outline=outline)
