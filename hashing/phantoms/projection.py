"""Line integrals through an anatomy along parallel rays: the physics of a radiograph."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hashing.phantoms.body.loops import Floats, add_ball_shadows, add_chord_shadow
from hashing.phantoms.body.shape import Part, Solid, Tube
from hashing.phantoms.body.tissue import TISSUES

_COVERS = {"lung": "muscle", "fat": "air"}
"""Tissue that the solids which can hide part of a lung, or of fat on the body, displace.

A solid that displaces another tissue lies inside one of these.
"""


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector: a grid of square pixels that faces the front or the left of the body.

    Attributes
    ----------
    z : (rows,)
        Heights of the rows, descending, mm.
    across : (columns,)
        x of the columns, or y if ``lateral``, ascending, mm.
    lateral
        True if the rays run along x instead of y.
    """

    z: Floats
    across: Floats
    lateral: bool

    @property
    def spacing_mm(self) -> float:
        """Distance between pixels, in mm."""
        return float(self.across[1] - self.across[0])


def projection(parts: Sequence[Part], detector: Detector) -> Floats:
    """Attenuation of the rays that pass through parts.

    Returns
    -------
    (rows, columns)
        Length of water in mm that attenuates as much.
    """
    total = np.zeros((len(detector.z), len(detector.across)), np.float32)
    for index, part in enumerate(parts):
        excess = TISSUES[part.tissue].density - TISSUES[part.within].density
        if isinstance(part, Tube):
            _add_tube(total, part, excess, detector)
        elif abs(excess) > 0.005:
            later = parts[index + 1 :] if part.tissue == "lung" or (part.tissue, part.within) == ("fat", "air") else ()
            _add_solid(total, part, later, excess, detector)
    return total


def _add_solid(total: Floats, solid: Solid, later: Sequence[Part], excess: float, detector: Detector) -> None:
    """Add the chords of a solid, without what later solids displace of them."""
    rows, columns = _box(solid, detector)
    over = [other for other in later if isinstance(other, Solid) and other.within == _COVERS[solid.tissue]]
    piles = [solid, *(other for other in over if _meets(solid, other))]
    rays = np.stack([pile.rays(detector.z[rows], lateral=detector.lateral) for pile in piles])
    add_chord_shadow(total[rows, columns], rays, detector.across[columns], np.float32(excess))


def _box(solid: Solid, detector: Detector) -> tuple[slice, slice]:
    """Rows and columns of the detector that a solid can darken."""
    rows = np.searchsorted(-detector.z, [-solid.heights[-1], -solid.heights[0]])
    low, high = (end[1 if detector.lateral else 0] for end in _bounds(solid))
    columns = np.searchsorted(detector.across, [low, high])
    return slice(*map(int, rows)), slice(*map(int, columns))


def _bounds(solid: Solid) -> tuple[Floats, Floats]:
    """Lowest and highest x, y and z of a solid."""
    reach = solid.outline[:, 2:] if solid.angle == 0.0 else solid.outline[:, 2:].max(axis=1, keepdims=True)
    low, high = (solid.outline[:, :2] - reach).min(axis=0), (solid.outline[:, :2] + reach).max(axis=0)
    return np.append(low, solid.heights[0]), np.append(high, solid.heights[-1])


def _meets(solid: Solid, other: Solid) -> bool:
    """True if the boxes around two solids overlap."""
    (low, high), (other_low, other_high) = _bounds(solid), _bounds(other)
    return bool((low < other_high).all() and (other_low < high).all())


def _add_tube(total: Floats, tube: Tube, excess: float, detector: Detector) -> None:
    """Add the shadows of the balls of a tube."""
    spacing = np.float32(detector.spacing_mm)
    columns = (tube.points[:, 1 if detector.lateral else 0] - detector.across[0]) / spacing
    rows = (detector.z[0] - tube.points[:, 2]) / spacing
    volumes = np.float32(np.pi) * tube.radii**2 * tube.steps * np.float32(excess) / spacing**2
    add_ball_shadows(total, columns, rows, tube.radii / spacing, volumes)
