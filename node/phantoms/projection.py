"""Line integrals through an anatomy along parallel rays: the physics of a radiograph."""

from collections.abc import Sequence

import numpy as np

from node.phantoms.shape import Anatomy, Floats, Part, Solid, Tube
from node.phantoms.tissue import TISSUES

_HIDES = ("muscle", "lung", "air")
"""A solid within one of these covers what was painted before it; one within another tissue lies inside such a solid."""


def projection(anatomy: Anatomy, z: Floats, across: Floats, *, lateral: bool = False) -> Floats:
    """Attenuation along y at each (z, x), or along x at each (z, y) if ``lateral``.

    Returns
    -------
    (n_z, n_across)
        Length of water that attenuates as much, mm.
    """
    total = np.zeros((len(z), len(across)), np.float32)
    for index, part in enumerate(anatomy.parts):
        excess = TISSUES[part.tissue].density - TISSUES[part.within].density
        if isinstance(part, Tube):
            _add_tube(total, part, excess, z, across, lateral)
        elif part.tissue == "lung" or (part.within == "air" and part.tissue == "fat"):
            _add_visible(total, part, anatomy.parts[index + 1 :], excess, z, across, lateral)
        elif excess:
            rows, columns = _shadow(part, z, across, lateral)
            enter, leave = part.chords(z[rows], across[columns], lateral=lateral)
            total[rows, columns] += excess * (leave - enter)
    return total


def _shadow(solid: Solid, z: Floats, across: Floats, lateral: bool) -> tuple[slice, slice]:
    """Rows and columns that a solid can darken; z runs from the head down."""
    low, high = solid.heights[0], solid.heights[-1]
    rows = slice(*np.searchsorted(-z, [-high, -low]))
    axis = 1 if lateral else 0
    reach = solid.outline[:, 2 + axis] if solid.angle == 0.0 else solid.outline[:, 2:].max(axis=1)
    centre = solid.outline[:, axis]
    return rows, slice(*np.searchsorted(across, [(centre - reach).min(), (centre + reach).max()]))


def _add_visible(
    total: Floats, solid: Solid, later: Sequence[Part], excess: float, z: Floats, across: Floats, lateral: bool
) -> None:
    """Add the part of a solid's chords that no later solid displaces."""
    rows, columns = _shadow(solid, z, across, lateral)
    z, across = z[rows], across[columns]
    enter, leave = solid.chords(z, across, lateral=lateral)
    hit = leave > enter
    low, high = enter[hit], leave[hit]
    starts, stops = [], []
    for other in later:
        if isinstance(other, Solid) and other.within in _HIDES:
            start, stop = (np.clip(edge[hit], low, high) for edge in other.chords(z, across, lateral=lateral))
            if (stop > start).any():
                starts.append(start)
                stops.append(stop)
    length = high - low
    if starts:
        length -= _union(np.stack(starts, axis=1), np.stack(stops, axis=1))
    view = total[rows, columns]
    view[hit] += excess * length


def _union(starts: Floats, stops: Floats) -> Floats:
    """Length covered by the union of intervals, (n, k) to (n,): Klee's sweep from start to start."""
    order = np.argsort(starts, axis=1)
    starts, stops = np.take_along_axis(starts, order, 1), np.take_along_axis(stops, order, 1)
    reached = np.maximum.accumulate(stops, axis=1)
    free = starts.copy()
    np.maximum(free[:, 1:], reached[:, :-1], out=free[:, 1:])
    return np.asarray(np.maximum(stops - free, 0.0).sum(axis=1))


def _add_tube(total: Floats, tube: Tube, excess: float, z: Floats, across: Floats, lateral: bool) -> None:
    """Spread the volume of each ball over its shadow."""
    spacing = float(across[1] - across[0])
    column = (tube.points[:, 1 if lateral else 0] - across[0]) / spacing
    row = (z[0] - tube.points[:, 2]) / spacing
    radius = np.maximum(tube.radii / spacing, 0.8)[:, None, None]
    window = np.arange(-int(radius.max()) - 1, int(radius.max()) + 2)
    rows, columns = np.rint(row).astype(np.intp)[:, None] + window, np.rint(column).astype(np.intp)[:, None] + window
    distance = ((rows - row[:, None]) ** 2)[:, :, None] + ((columns - column[:, None]) ** 2)[:, None, :]
    shadow = np.sqrt(np.maximum(1.0 - distance / radius**2, 0.0))
    volume = np.pi * tube.radii**2 * tube.steps * excess / spacing**2
    shadow *= (volume / np.maximum(shadow.sum(axis=(1, 2)), 1e-6))[:, None, None]
    inside = (shadow != 0.0) & ((rows >= 0) & (rows < len(z)))[:, :, None]
    inside &= ((columns >= 0) & (columns < len(across)))[:, None, :]
    where = (rows[:, :, None] * len(across) + columns[:, None, :])[inside]
    total += np.bincount(where, shadow[inside], total.size).reshape(total.shape).astype(np.float32)
