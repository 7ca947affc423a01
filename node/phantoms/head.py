"""The head of a person: scalp, skull, brain, ventricles, eyes and sinuses, and the findings."""

from math import cos, pi

import numpy as np

from node.phantoms.person import Person
from node.phantoms.shape import Anatomy, Finding, Part, Solid, ellipsoid, pile, scaled, thread

VERTEX_MM, BASE_MM = 62.0, -46.0
"""Levels 0 and 1: near the top of the brain, and the orbits."""


def head(person: Person) -> Anatomy:
    """Head of a person, the same at every visit."""
    random = person.random(11)
    age = person.age_years(0)
    size = 0.93 if age < 16 else 1.0
    scale = np.float32([size * random.uniform(0.92, 1.08), size * random.uniform(0.92, 1.08), size])
    shrunk = 1.0 - 0.05 * max(age - 50, 0) / 40
    width = float(random.uniform(0.75, 1.1)) + 8 * (1 - shrunk)
    if "enlarged ventricles" in person.findings:
        width += 1.1
    parts = [*_shells(float(random.uniform(3, 7))), *_face(), *_brain(shrunk), *_ventricles(width), *_hindbrain()]
    if "brain tumour" in person.findings:
        parts += _tumour(person)
    sized = tuple(scaled(part, scale) for part in parts)
    return Anatomy(sized, VERTEX_MM * size, BASE_MM * size, _findings(person, sized, size))


def _findings(person: Person, parts: tuple[Part, ...], size: float) -> tuple[Finding, ...]:
    """Heights at which sections show each finding of the head."""
    found = []
    if "enlarged ventricles" in person.findings:
        found.append(Finding("enlarged ventricles", -14.0 * size, 30.0 * size))
    for part in parts:
        if isinstance(part, Solid) and part.tissue == "tumour":
            found.append(Finding("brain tumour", float(part.heights[0]), float(part.heights[-1])))
    return tuple(found)


def _egg(tissue: str, less: float, bottom: float = -75.0, **details: float) -> Solid:
    """Shell of the skull's shape, ``less`` mm inside the skin: round above, straight below."""
    rows = []
    for turn in np.linspace(0.0, pi / 2, 12):
        girth = np.sin(turn) ** 0.9
        rows.append((12 + (88 - less) * cos(turn), 0.0, 4.0, (78 - less) * girth, (98 - less) * girth))
    taper = 1.0 if bottom < -74 else 0.0
    rows += [
        (-40.0, 0.0, 5.0, 74 - less, 94 - less),
        (bottom, 0.0, 8.0, taper * 66 - less * taper, taper * 86 - less * taper),
    ]
    return pile(tissue, rows, power=2.15, **details)


def _shells(scalp: float) -> list[Part]:
    return [
        _egg("skin", 0.0),
        _egg("fat", 2.0, texture=0.03),
        _egg("muscle", 1.5 + scalp, ripple_mm=0.4),
        _egg("cortical bone", 3.0 + scalp),
        _egg("spongy bone", 5.0 + scalp, ripple_mm=0.5, texture=0.03),
        _egg("cortical bone", 8.0 + scalp),
        _egg("dura", 10.0 + scalp),
    ]


def _face() -> list[Part]:
    """Orbits with eyes, air cells and the base of the skull, in front and below."""
    parts: list[Part] = [
        ellipsoid("muscle", (0, -58, -62), (60, 44, 30)),
        ellipsoid("spongy bone", (0, 20, -72), (52, 60, 26), texture=0.05, ripple_mm=2.0),
        ellipsoid("airway", (0, -66, -52), (15, 24, 22), ripple_mm=1.5),
        ellipsoid("airway", (8, -80, -18), (16, 7, 12), ripple_mm=1.5),
    ]
    for side in (-1, 1):
        parts += [
            ellipsoid("cortical bone", (side * 33, -64, -42), (23, 29, 21)),
            ellipsoid("fat", (side * 33, -64, -42), (21, 27, 19), texture=0.02),
            ellipsoid("eye", (side * 33, -76, -42), (12.5, 12.5, 12.5)),
            thread("muscle", [(side * 18, -36, -42), (side * 22, -52, -42), (side * 24, -70, -42)], 2.0),
            thread("white matter", [(side * 10, -30, -41), (side * 24, -48, -42), (side * 33, -64, -42)], 2.4),
            ellipsoid("airway", (side * 58, 22, -58), (10, 14, 16), ripple_mm=3.0),
        ]
    return parts


def _brain(shrunk: float) -> list[Part]:
    """Hemispheres: fluid, cortex and white matter, their folds made by noise; the falx between them."""
    parts: list[Part] = [ellipsoid("cerebrospinal fluid", (0, 6, 10), (64.5, 82, 69), power=2.15)]
    for side in (-1, 1):
        hemisphere = {"slant_x": 0.0, "slant_y": 0.0}
        parts += [
            ellipsoid(
                "grey matter", (side * 31.5, 6, 9), (31 * shrunk, 80 * shrunk, 67 * shrunk), ripple_mm=1.8, **hemisphere
            ),
            ellipsoid(
                "white matter", (side * 30, 6, 9), (26 * shrunk, 72 * shrunk, 60 * shrunk), ripple_mm=4.2, texture=0.012
            ),
        ]
    parts += [
        ellipsoid("white matter", (0, 2, 14), (16, 36, 8)),
        pile("dura", [(76, 0, 6, 0.0, 60), (60, 0, 6, 0.9, 76), (24, 0, 6, 0.9, 80), (23, 0, 6, 0, 0)]),
    ]
    return parts


def _ventricles(width: float) -> list[Part]:
    parts: list[Part] = []
    fluid = "cerebrospinal fluid"
    for side in (-1, 1):
        parts += [
            ellipsoid("grey matter", (side * 20, -14, 8), (8, 20, 14)),
            ellipsoid("grey matter", (side * 11, 8, 2), (9.5, 16, 12)),
            ellipsoid("grey matter", (side * 27, -4, 2), (6, 20, 12)),
            thread(
                fluid,
                [
                    (side * 6, -36, 8),
                    (side * 8, -20, 17),
                    (side * 9, 4, 22),
                    (side * 16, 28, 16),
                    (side * 25, 34, 0),
                    (side * 30, 12, -14),
                ],
                [4.5 * width, 5 * width, 4.5 * width, 6 * width, 4.5 * width, 2.5 * width],
            ),
        ]
    return [*parts, ellipsoid(fluid, (0, 4, 0), (2.2 * width, 14, 12))]


def _hindbrain() -> list[Part]:
    parts: list[Part] = [ellipsoid("cerebrospinal fluid", (0, 44, -42), (50, 36, 27))]
    for side in (-1, 1):
        parts += [
            ellipsoid("grey matter", (side * 22, 46, -42), (25, 30, 22), ripple_mm=0.8),
            ellipsoid("white matter", (side * 20, 42, -42), (14, 17, 13), ripple_mm=2.5),
        ]
    return [
        *parts,
        ellipsoid("cerebrospinal fluid", (0, 4, -34), (22, 22, 16)),
        ellipsoid("white matter", (0, 12, -40), (15, 14, 34)),
        ellipsoid("cerebrospinal fluid", (0, 28, -42), (7, 5, 12)),
    ]


def _tumour(person: Person) -> list[Part]:
    random = person.random(12)
    radius = float(random.uniform(11, 20))
    centre = (
        person.side * float(random.uniform(28, 38)),
        float(random.uniform(-36, 40)),
        float(random.uniform(14, 40)),
    )
    axes = (radius, radius * float(random.uniform(0.85, 1.15)), radius)
    return [
        ellipsoid("oedema", centre, (1.5 * axes[0], 1.6 * axes[1], 1.5 * axes[2]), ripple_mm=3.5),
        ellipsoid("tumour", centre, axes, ripple_mm=1.8, texture=0.02),
        ellipsoid("fluid", centre, (0.45 * axes[0], 0.5 * axes[1], 0.5 * axes[2]), ripple_mm=1.5),
    ]
