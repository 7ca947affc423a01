"""The measures in which one chest differs from another."""

from dataclasses import dataclass
from math import pi

from hashing.phantoms.body.person import Person


@dataclass(frozen=True, slots=True)
class Build:
    """Measures of one chest in mm of a grown man, before it is stretched to the person's size.

    Attributes
    ----------
    width, depth, length
        Stretch along x, y and z.
    fat
        Thickness of the fat layer.
    heart, heart_x, heart_turn
        Size relative to the usual, x of the middle, and turn of the long axis (radians).
    domes
        z of the right and the left diaphragm.
    arch
        Radius of the aorta.
    rib_drop
        How much lower a rib ends than it starts.
    breast
        Size relative to the usual; 0 for none.
    sway, sway_phase, stoop
        Sideways bend of the spine, the phase of that bend along z, and the forward bend.
    trachea_x
        Distance of the windpipe from the middle, in x.
    """

    width: float
    depth: float
    length: float
    fat: float
    heart: float
    heart_x: float
    heart_turn: float
    domes: tuple[float, float]
    arch: float
    rib_drop: float
    breast: float
    sway: float
    sway_phase: float
    stoop: float
    trachea_x: float

    @property
    def scale(self) -> tuple[float, float, float]:
        """Stretch along x, y and z."""
        return self.width, self.depth, self.length


def build(person: Person) -> Build:
    """Measures of a person's chest, the same at every visit."""
    random = person.random(2)
    old = max(person.age_years(0) - 45, 0) / 40
    right_dome = float(random.uniform(-84, -56))
    enlarged = "enlarged heart" in person.findings
    return Build(
        width=person.scale * float(random.uniform(0.91, 1.08)),
        depth=person.scale * float(random.uniform(0.84, 1.16) + 0.06 * old),
        length=person.scale * float(random.uniform(0.88, 1.08)),
        fat=person.girth_mm / person.scale,
        heart=float(random.uniform(1.28, 1.46) if enlarged else random.uniform(0.90, 1.06)),
        heart_x=float(random.uniform(11, 21)),
        heart_turn=float(random.uniform(0.35, 0.75)),
        domes=(right_dome, right_dome - float(random.uniform(4, 22))),
        arch=float(random.uniform(10.5, 13) + 4.5 * old),
        rib_drop=float(random.uniform(46, 80)),
        breast=float(random.uniform(0.75, 1.35)) if person.sex == "F" and person.age_years(0) > 13 else 0.0,
        sway=float(random.normal(0, 2.5 + 4 * old)),
        sway_phase=float(random.uniform(0, 2 * pi)),
        stoop=float(random.uniform(3, 9) + 9 * old),
        trachea_x=float(random.normal(0, 2.5)),
    )
