"""The chest of a person at a visit, with its findings."""

from dataclasses import replace

import numpy as np

from hashing.phantoms.body import circulation, skeleton, torso
from hashing.phantoms.body.anatomy import Anatomy, Finding, skin_extent, tissue_finding
from hashing.phantoms.body.build import Build, build
from hashing.phantoms.body.person import Person
from hashing.phantoms.body.shape import Part, Solid, ellipsoid

APEX_MM, BASE_MM = 118.0, -150.0
"""Levels 0 and 1 of the unscaled chest: the apex and the base of the lungs."""
EFFUSION_MM = (-165.0, -28.0)
"""Heights between which fluid is more than a thin line."""


def chest(person: Person, visit: int) -> Anatomy:
    """Chest of a person at a visit (0 or 1). Visits differ a little in stance, breath and findings, not in build."""
    measures = build(person)
    scale = np.array(measures.scale, np.float32)
    lean, turn = person.random(9, visit).normal(0.0, (0.02, 0.05))
    parts = tuple(part.transformed(scale, lean, turn) for part in _parts(person, visit, measures))
    arms = tuple(part.transformed(scale, lean, turn) for part in torso.arms(measures))
    high = float(scale[2])
    findings = _findings(person, parts, high)
    return Anatomy(parts, arms, *skin_extent(parts), APEX_MM * high, BASE_MM * high, findings)


def _parts(person: Person, visit: int, measures: Build) -> list[Part]:
    breath = 1.0 + 0.02 * float(person.random(3, visit).normal())
    whole = {side: torso.lung(side, breath, person.random(4, side + 1)) for side in (-1, 1)}
    opacity = _opacity(person, visit, whole)
    over: list[Part] = [
        *torso.diaphragm(measures, breath),
        *circulation.mediastinum(),
        *torso.abdomen(measures, person.random(5)),
        *circulation.heart(measures),
        *circulation.great_vessels(measures),
        *opacity,
    ]
    covers = [part for part in over if isinstance(part, Solid) and part.within == "muscle"]
    lungs: list[Part] = []
    for side, lung in whole.items():
        depth = _effusion_depth(person, visit, side)
        air = _lifted(lung, depth) if depth else lung
        fluid = [replace(lung, tissue="fluid", texture=4.0, within="fluid")] if depth else []
        lungs += [*fluid, air, circulation.lung_vessels(air, side, covers, person.random(6, side + 1))]
    body = [*torso.breasts(measures), *torso.wall(measures), *lungs, *over, *circulation.airways(measures)]
    return [*body, *skeleton.spine(measures), *skeleton.ribs(measures), *skeleton.shoulders()]


def _findings(person: Person, parts: tuple[Part, ...], high: float) -> tuple[Finding, ...]:
    """Heights at which sections show each finding of the chest."""
    tissues = {"enlarged heart": "heart", "nodule": "lesion", "mass": "lesion"}
    findings = [part for name in person.findings for part in tissue_finding(name, parts, tissues.get(name, ""))]
    if "effusion" in person.findings:
        findings.append(Finding("effusion", EFFUSION_MM[0] * high, EFFUSION_MM[1] * high))
    return tuple(findings)


def _effusion_depth(person: Person, visit: int, side: int) -> float:
    """Distance in mm by which fluid lifts the base of a lung off the chest wall; 0 if that side has no effusion."""
    if "effusion" not in person.findings or side != person.side:
        return 0.0
    return float(person.random(7).uniform(38, 66)) * (1.0, 1.25)[visit]


def _lifted(lung: Solid, depth_mm: float) -> Solid:
    """The lung over an effusion. It is thinner towards the base, and pressed to the front and the middle."""
    fill = np.clip((-5.0 - lung.heights) / 120.0, 0.0, 1.0) ** 1.4
    lift = (depth_mm * fill)[:, None].astype(np.float32)
    side = np.sign(lung.outline[:, :1])
    moved = lung.outline + np.concatenate([-0.45 * side * lift, -0.85 * lift, -0.55 * lift, -0.95 * lift], axis=1)
    moved[:, 2:] = np.maximum(moved[:, 2:], 0.0)
    raised = np.where(lung.heights < 0, lung.heights * np.float32(1 - 0.006 * depth_mm), lung.heights)
    return replace(lung, outline=moved, heights=raised.astype(np.float32))


def _opacity(person: Person, visit: int, lungs: dict[int, Solid]) -> list[Part]:
    """The nodule or mass of a person, at a height where neither heart nor diaphragm hides it."""
    size = {"nodule": (10.0, 14.0), "mass": (23.0, 34.0)}
    kind = next((name for name in size if name in person.findings), None)
    if kind is None:
        return []
    random = person.random(8)
    radius = float(random.uniform(*size[kind])) * (1.0, 1.15)[visit]
    z = float(random.uniform(-40, 70))
    x, y, a, b = (float(value) for value in lungs[person.side].at(z)[:, 0])
    centre = (x + 0.3 * person.side * a, y + float(random.uniform(-0.4, 0.4)) * b, z)
    lumps = [(centre, radius)]
    if kind == "mass":  # lobed, as tumours are
        lumps += [(_near(centre, 0.4 * radius, random), 0.7 * radius) for _ in "ab"]
    return [ellipsoid("lesion", at, (r, 0.9 * r, 1.05 * r), ripple_mm=0.1 * r, texture=6.0) for at, r in lumps]


def _near(centre: tuple[float, float, float], far_mm: float, random: np.random.Generator) -> tuple[float, float, float]:
    x, y, z = np.array(centre) + random.normal(0, far_mm, 3)
    return float(x), float(y), float(z)
