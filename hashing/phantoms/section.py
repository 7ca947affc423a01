"""Cross-sections: images of a plane through an anatomy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hashing.phantoms.body.loops import Floats, paint_discs
from hashing.phantoms.body.shape import Part, Solid, Tube
from hashing.phantoms.noise import SIZE, noise_tile


@dataclass(frozen=True, slots=True)
class Plane:
    """An axial plane: a grid of square pixels around the axis of the body.

    Attributes
    ----------
    z_mm
        Height of the plane.
    size
        Number of rows and of columns, at most 512.
    spacing_mm
        Pixel spacing.
    centre_y_mm
        y of the middle row.
    """

    z_mm: float
    size: int
    spacing_mm: float
    centre_y_mm: float

    def span(self, centre_mm: float, reach_mm: float, middle_mm: float) -> tuple[slice, Floats]:
        """Grid lines within reach of a centre, and their distances from it. ``middle_mm`` is the middle of the grid."""
        first = middle_mm - (self.size - 1) / 2 * self.spacing_mm
        low = max(int((centre_mm - reach_mm - first) / self.spacing_mm), 0)
        high = min(int((centre_mm + reach_mm - first) / self.spacing_mm) + 1, self.size)
        lines = np.arange(low, max(high, low), dtype=np.float32) * np.float32(self.spacing_mm)
        return slice(low, max(high, low)), lines + np.float32(first - centre_mm)

    def pixels(self, points: Floats) -> tuple[Floats, Floats]:
        """Columns and rows, with fractions, of points (n, 3) in mm."""
        half, spacing = np.float32((self.size - 1) / 2), np.float32(self.spacing_mm)
        return points[:, 0] / spacing + half, (points[:, 1] - np.float32(self.centre_y_mm)) / spacing + half


def section(parts: Sequence[Part], plane: Plane, value: Callable[[str], float], air: float, grain: int) -> Floats:
    """Paint the image of a plane through parts.

    Parameters
    ----------
    parts
        Parts in painting order: a later part displaces an earlier one.
    value
        Function from the name of a tissue to its pixel value.
    air
        Pixel value where no part is.
    grain
        Selects the noise in borders and textures. A person has one grain, so that sections at one height agree.

    Returns
    -------
    (size, size) float32
        Pixel values, in the units of ``value``.
    """
    canvas = np.full((plane.size, plane.size), air, np.float32)
    for part in parts:
        if isinstance(part, Tube):
            _paint_tube(canvas, part, plane, value(part.tissue))
        elif part.heights[0] < plane.z_mm < part.heights[-1]:
            _paint_solid(canvas, part, plane, value(part.tissue), grain)
    return canvas


def _paint_solid(canvas: Floats, solid: Solid, plane: Plane, value: float, grain: int) -> None:
    centre_x, centre_y, half_width, half_depth = (float(number) for number in solid.at(plane.z_mm)[:, 0])
    if min(half_width, half_depth) < 0.4 * plane.spacing_mm:
        return
    cos, sin = float(np.cos(solid.angle)), float(np.sin(solid.angle))
    margin = 2 * plane.spacing_mm + 2 * solid.ripple_mm
    columns, u = plane.span(centre_x, float(np.hypot(half_width * cos, half_depth * sin)) + margin, 0.0)
    reach_y = float(np.hypot(half_width * sin, half_depth * cos)) + margin
    rows, v = plane.span(centre_y, reach_y, plane.centre_y_mm)
    if solid.angle == 0.0:
        across, down = (u / half_width) ** 2, ((v / half_depth) ** 2)[:, None]
        inside = (1.0 - across) - down * (1.0 - np.float32(solid.squareness) * across)
    else:
        along = ((cos * u)[None, :] + (sin * v)[:, None]) / half_width
        over = ((cos * v)[:, None] - (sin * u)[None, :]) / half_depth
        inside = 1.0 - along * along - over * over
    # 1 - (x/a)² - (y/b)² falls by about 2/a a millimetre at the border: this makes it a distance in pixels
    inside *= 1.0 / (1.0 / half_width + 1.0 / half_depth) / plane.spacing_mm
    _disturb(inside, solid, plane, rows, columns, grain)
    _blend(canvas[rows, columns], inside, value, solid, _cut(5.0, rows, columns, grain + int(plane.z_mm)))


def _disturb(inside: Floats, solid: Solid, plane: Plane, rows: slice, columns: slice, grain: int) -> None:
    """Move the border by noise which changes slowly between planes, and crease it; large solids get slower noise."""
    if not (solid.ripple_mm or solid.fold_mm):
        return
    wave, turn = (20.0 if solid.fold_mm or inside.size < 150**2 else 48.0), plane.z_mm / 14.0
    noise = np.cos(turn) * _cut(wave, rows, columns, grain) + np.sin(turn) * _cut(wave, rows, columns, grain + 7)
    if solid.ripple_mm:
        inside += np.float32(solid.ripple_mm / plane.spacing_mm) * noise
    if solid.fold_mm:
        noise *= np.float32(1 / solid.fold_width)
        inside -= np.float32(solid.fold_mm / plane.spacing_mm) * np.exp(-noise * noise)


def _blend(target: Floats, inside: Floats, value: float, solid: Solid, texture: Floats) -> None:
    """Paint a solid over a piece of the image, as far as its pixels lie inside."""
    inside += 0.5
    np.clip(inside, 0.0, 1.0, out=inside)
    change = np.float32(value) - target
    if solid.texture:
        change += np.float32(solid.texture) * texture
    change *= inside
    target += change


def _cut(wavelength_px: float, rows: slice, columns: slice, grain: int) -> Floats:
    """The piece of noise that belongs to these pixels."""
    start = (grain * 37) % (SIZE - 512)
    return noise_tile(wavelength_px)[
        start + rows.start : start + rows.stop, start + columns.start : start + columns.stop
    ]


def _paint_tube(canvas: Floats, tube: Tube, plane: Plane, value: float) -> None:
    above = tube.points[:, 2] - np.float32(plane.z_mm)
    cut = np.abs(above) < tube.radii
    if cut.any():
        radii = np.sqrt(tube.radii[cut] ** 2 - above[cut] ** 2) / np.float32(plane.spacing_mm)
        paint_discs(canvas, np.float32(value), *plane.pixels(tube.points[cut]), radii)
