"""An anatomy: the parts of a body, and the findings that images of it show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hashing.phantoms.body.loops import Floats
from hashing.phantoms.body.shape import Part, Solid


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding, and the heights in mm between which sections show it."""

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
    arms
        Parts that frontal radiographs show beside the body. In all other images the arms are raised.
    width_mm, back_mm
        Widest extent along x, and greatest y.
    top_mm, bottom_mm
        z of level 0 and of level 1. Both are landmarks, so that equal levels show equal anatomy in all patients.
    findings
        The findings of the body, with their heights.
    """

    parts: tuple[Part, ...]
    arms: tuple[Part, ...]
    width_mm: float
    back_mm: float
    top_mm: float
    bottom_mm: float
    findings: tuple[Finding, ...]

    def height(self, level: float) -> float:
        """Height z of a level, in mm."""
        return self.top_mm + level * (self.bottom_mm - self.top_mm)

    def findings_at(self, level: float | None) -> tuple[str, ...]:
        """Names of the findings that a section at a level shows; for None, a projection, the names of all findings."""
        z = None if level is None else self.height(level)
        return tuple(f.name for f in self.findings if z is None or f.low_mm <= z <= f.high_mm)


def skin_extent(parts: Sequence[Part]) -> tuple[float, float]:
    """Width and greatest y of the skin, in mm."""
    skin = next(part for part in parts if isinstance(part, Solid) and part.tissue == "skin")
    return 2 * float(skin.outline[:, 2].max()), float((skin.outline[:, 1] + skin.outline[:, 3]).max())


def tissue_finding(name: str, parts: Sequence[Part], tissue: str) -> list[Finding]:
    """Finding at the heights where the first solid of a tissue has more than a tenth of its girth.

    The list is empty if no part is a solid of that tissue.
    """
    for part in parts:
        if isinstance(part, Solid) and part.tissue == tissue:
            width = part.outline[:, 2]
            heights = part.heights[width > 0.1 * width.max()]
            return [Finding(name, float(heights[0]), float(heights[-1]))]
    return []


def slow_waves(solid_heights: Floats, random: np.random.Generator, size: float) -> Floats:
    """Slow waves along the heights of a solid, (knots, 4): one wave for each column of its outline."""
    waves = random.uniform(45.0, 110.0, 4)
    phases = random.uniform(0.0, 2 * np.pi, 4)
    return (size * np.sin(solid_heights[:, None] / waves + phases)).astype(np.float32)
