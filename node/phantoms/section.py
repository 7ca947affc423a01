"""Cross-sections: what a plane through an anatomy shows, tissue by tissue."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from node.phantoms.noise import SIZE, tile
from node.phantoms.shape import Anatomy, Floats, Solid, Tube
from node.phantoms.tissue import TISSUES, Tissue


@dataclass(frozen=True, slots=True)
class Plane:
    """Axial grid of square pixels centred on the axis of the body.

    Attributes
    ----------
    size
        Rows and columns.
    spacing_mm
        Pixel spacing.
    centre_y_mm
        y of the middle row.
    """

    size: int
    spacing_mm: float
    centre_y_mm: float = 0.0

    @property
    def x(self) -> Floats:
        """Centres of the columns, mm."""
        return ((np.arange(self.size) - (self.size - 1) / 2) * self.spacing_mm).astype(np.float32)

    @property
    def y(self) -> Floats:
        """Centres of the rows, mm."""
        return self.x + np.float32(self.centre_y_mm)


def section(
    anatomy: Anatomy, z: float, plane: Plane, value: Callable[[Tissue], float], grain: int = 0, air: float = 0.0
) -> Floats:
    """Image of the plane at height z, (size, size), in units of ``value``.

    ``grain`` chooses the texture, so that one person keeps it.
    """
    canvas = np.full((plane.size, plane.size), air, np.float32)
    x, y = plane.x, plane.y
    for part in anatomy.parts:
        if isinstance(part, Solid):
            _paint_solid(canvas, part, z, x, y, value(TISSUES[part.tissue]), grain)
        else:
            _paint_tube(canvas, part, z, x, y, value(TISSUES[part.tissue]))
    return canvas


def _paint_solid(canvas: Floats, solid: Solid, z: float, x: Floats, y: Floats, value: float, grain: int) -> None:
    centre_x, centre_y, half_width, half_depth = (float(number) for number in solid.at(z)[:, 0])
    spacing = float(x[1] - x[0])
    if min(half_width, half_depth) < 0.4 * spacing:
        return
    cos, sin = float(np.cos(solid.angle)), float(np.sin(solid.angle))
    margin = 2 * spacing + 2 * solid.ripple_mm
    reach_x = float(np.hypot(half_width * cos, half_depth * sin)) + margin
    reach_y = float(np.hypot(half_width * sin, half_depth * cos)) + margin
    columns = slice(*np.searchsorted(x, [centre_x - reach_x, centre_x + reach_x]))
    rows = slice(*np.searchsorted(y, [centre_y - reach_y, centre_y + reach_y]))
    u, v = x[columns] - centre_x, y[rows] - centre_y
    if solid.angle == 0.0:
        inside = (1.0 - np.abs(u / half_width) ** solid.power)[None, :] - (np.abs(v / half_depth) ** solid.power)[
            :, None
        ]
    else:
        along = ((cos * u)[None, :] + (sin * v)[:, None]) / half_width
        over = ((cos * v)[:, None] - (sin * u)[None, :]) / half_depth
        inside = 1.0 - along * along - over * over
    inside *= 2.0 / (1.0 / half_width + 1.0 / half_depth) / solid.power / spacing
    if solid.ripple_mm:
        inside += (solid.ripple_mm / spacing) * _texture(24.0, rows, columns, grain)
    inside += 0.5
    np.clip(inside, 0.0, 1.0, out=inside)
    target = canvas[rows, columns]
    change = value - target
    if solid.texture:
        change += solid.texture * _texture(6.0, rows, columns, grain)
    change *= inside
    target += change


def _texture(wavelength_px: float, rows: slice, columns: slice, grain: int) -> Floats:
    start = (grain * 37) % (SIZE - 512)
    return tile(wavelength_px)[start + rows.start : start + rows.stop, start + columns.start : start + columns.stop]


def _paint_tube(canvas: Floats, tube: Tube, z: float, x: Floats, y: Floats, value: float) -> None:
    cut = np.abs(tube.points[:, 2] - z) < tube.radii
    if not cut.any():
        return
    spacing = float(x[1] - x[0])
    points, radii = tube.points[cut], tube.radii[cut]
    radius = np.sqrt(radii**2 - (points[:, 2] - z) ** 2) / spacing
    column, row = (points[:, 0] - x[0]) / spacing, (points[:, 1] - y[0]) / spacing
    reach = int(radius.max()) + 2
    window = np.arange(-reach, reach + 1)
    columns = np.rint(column).astype(np.intp)[:, None] + window
    rows = np.rint(row).astype(np.intp)[:, None] + window
    distance = np.sqrt(
        ((columns - column[:, None]) ** 2)[:, None, :] + ((rows - row[:, None]) ** 2)[:, :, None], dtype=np.float32
    )
    inside = np.clip(radius[:, None, None] - distance + 0.5, 0.0, 1.0)
    size = canvas.shape[0]
    valid = ((columns >= 0) & (columns < size))[:, None, :] & ((rows >= 0) & (rows < size))[:, :, None] & (inside > 0)
    where = (rows[:, :, None] * size + columns[:, None, :])[valid]
    cover = np.zeros(size * size, np.float32)
    np.maximum.at(cover, where, inside[valid].astype(np.float32))
    touched = np.unique(where)
    flat = canvas.reshape(-1)
    flat[touched] += cover[touched] * (value - flat[touched])
