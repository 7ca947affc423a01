"""The head of a person: scalp, skull, brain, ventricles, eyes and sinuses, and the findings."""

from dataclasses import replace
from math import cos, pi, sin
from typing import Any

import numpy as np

from hashing.phantoms.body.anatomy import Anatomy, Finding, skin_extent, tissue_finding
from hashing.phantoms.body.person import Person
from hashing.phantoms.body.shape import Part, Solid, ellipsoid, pile, thread, with_mirror_image

VERTEX_MM, BASE_MM = 64.0, -46.0
"""Heights of level 0, near the top of the brain, and of level 1, at the orbits."""

_FLUID = "cerebrospinal fluid"


def head(person: Person) -> Anatomy:
    """Head of a person. It is the same at every visit."""
    random = person.random(11)
    age = person.age_years(0)
    size = 0.93 if age < 16 else 1.0
    scale = np.array([size * random.uniform(0.92, 1.08), size * random.uniform(0.92, 1.08), size], np.float32)
    withered = max(age - 50, 0) / 40
    wide = float(random.uniform(0.7, 1.0)) + 0.45 * withered
    if "enlarged ventricles" in person.findings:
        wide += 1.0
    parts = [
        *_shells(float(random.uniform(2.5, 6.5))),
        *_face(),
        *_brain(0.22 + 0.16 * withered + 0.05 * float(random.random())),
        *_depths(),
        *_ventricles(wide),
        *_hindbrain(),
    ]
    if "brain tumour" in person.findings:
        parts += _tumour(person)
    sized = tuple(part.transformed(scale) for part in parts)
    return Anatomy(sized, (), *skin_extent(sized), VERTEX_MM * size, BASE_MM * size, _findings(person, sized, size))


def _findings(person: Person, parts: tuple[Part, ...], size: float) -> tuple[Finding, ...]:
    """The findings of the head, with the heights at which sections show them."""
    wide = [Finding("enlarged ventricles", -8.0 * size, 32.0 * size)]
    return tuple(
        (wide if "enlarged ventricles" in person.findings else []) + tissue_finding("brain tumour", parts, "tumour")
    )


def _egg(tissue: str, inset_mm: float, ripple_mm: float = 0.0, texture: float = 0.0) -> Solid:
    """A shell in the shape of the skull, `inset_mm` inside the skin: round above, straight below."""
    rows = []
    for turn in np.linspace(0.0, pi / 2, 12):
        girth = sin(turn) ** 0.9
        half = (max(78 * girth - inset_mm * sin(turn), 0.0), max(98 * girth - inset_mm * sin(turn), 0.0))
        rows.append((10 + (90 - inset_mm) * cos(turn), 0.0, 4.0, *half))
    rows += [(-40.0, 0.0, 5.0, 73 - inset_mm, 93 - inset_mm), (-80.0, 0.0, 8.0, 64 - inset_mm, 84 - inset_mm)]
    return pile(tissue, rows, squareness=0.18, ripple_mm=ripple_mm, texture=texture)


def _shells(scalp_mm: float) -> list[Part]:
    return [
        _egg("skin", 0.0),
        _egg("fat", 1.8, texture=0.03),
        _egg("muscle", 1.5 + scalp_mm, ripple_mm=0.4),
        _egg("cortical bone", 2.8 + scalp_mm),
        _egg("spongy bone", 4.8 + scalp_mm, ripple_mm=0.6, texture=0.03),
        _egg("cortical bone", 7.6 + scalp_mm),
        _egg("dura", 9.6 + scalp_mm),
    ]


def _face() -> list[Part]:
    """Orbits with eyes, air cells, and the base of the skull, in front and below."""
    one_side: list[Part] = [
        ellipsoid("cortical bone", (33, -58, -42), (23, 28, 21)),
        ellipsoid("fat", (33, -58, -42), (21, 26, 19), texture=0.02),
        ellipsoid("eye", (33, -71, -42), (12.5, 12.5, 12.5)),
        thread("muscle", [(18, -36, -42), (22, -52, -42), (24, -70, -42)], 2.0),
        thread("muscle", [(40, -36, -42), (46, -52, -42), (46, -68, -42)], 2.0),
        thread("white matter", [(10, -30, -41), (24, -48, -42), (33, -64, -42)], 2.4),
        ellipsoid("airway", (58, 22, -58), (10, 14, 16), ripple_mm=3.0),
        ellipsoid("muscle", (66, -34, -40), (9, 26, 34), ripple_mm=1.0),
    ]
    return [
        ellipsoid("skin", (0, -54, -66), (62, 48, 44)),
        ellipsoid("fat", (0, -54, -66), (60, 46, 42), texture=0.03),
        ellipsoid("muscle", (0, -48, -64), (56, 42, 36), ripple_mm=1.5),
        ellipsoid("spongy bone", (0, 20, -74), (52, 60, 24), texture=0.05, ripple_mm=2.0),
        *(part for piece in one_side for part in with_mirror_image(piece)),
        ellipsoid("airway", (0, -66, -52), (15, 24, 22), ripple_mm=1.5),
        ellipsoid("airway", (8, -84, -14), (17, 6, 11), ripple_mm=1.5),
    ]


def _brain(gape: float) -> list[Part]:
    """Fluid, cortex and white matter, which one noise folds alike, and the cleft between the halves."""
    centre = (0.0, 5.0, 9.0)
    cortex: dict[str, Any] = {"squareness": 0.23, "ripple_mm": 0.8, "fold_mm": 17.0}
    parts: list[Part] = [
        ellipsoid(_FLUID, centre, (65, 83.5, 71), squareness=0.23),
        ellipsoid("grey matter", centre, (64, 82, 69), fold_width=gape, **cortex),
        ellipsoid("white matter", centre, (60, 78, 65), fold_width=gape + 0.42, texture=0.008, **cortex),
        *with_mirror_image(ellipsoid("grey matter", (42, -8, 2), (5, 24, 15))),
        *with_mirror_image(
            thread(_FLUID, [(60, -20, -6), (52, -16, -2), (48, -4, 4), (49, 8, 10)], [3.2, 2.6, 2.2, 1.6])
        ),
    ]
    clefts = [
        [(77, 5, 0), (72, 5, 30), (64, 5, 48), (50, 5, 65), (34, 5, 74), (30, 5, 0)],
        [(34, -52, 0), (30, -52, 29), (-30, -48, 24), (-36, -48, 0)],
        [(34, 58, 0), (30, 58, 27), (-10, 58, 24), (-16, 58, 0)],
    ]
    for tissue, half in (("grey matter", 5.0), (_FLUID, 1.7), ("dura", 0.55)):
        for cleft in clefts:
            rows = [(z, 0, y, half * (long > 0), max(long - (half > 2), 0)) for z, y, long in cleft]
            parts += [pile(tissue, rows)]
    return parts


def _depths() -> list[Part]:
    """Corpus callosum and the grey nuclei."""
    one_side: list[Part] = [
        ellipsoid("grey matter", (13, -20, 12), (5.5, 11, 15)),
        replace(ellipsoid("grey matter", (25, -2, 4), (6.5, 19, 12)), angle=-0.25),
        replace(ellipsoid("grey matter", (10, 12, 5), (8.5, 15, 12)), angle=0.25),
    ]
    bridge = ellipsoid("white matter", (0, 2, 22), (20, 38, 10))
    return [bridge, *(part for piece in one_side for part in with_mirror_image(piece))]


def _ventricles(wide: float) -> list[Part]:
    one_side: list[Part] = [
        replace(ellipsoid(_FLUID, (7 + 2 * wide, -24, 12), (4.2 * wide, 12 + 2 * wide, 11 + 2 * wide)), angle=0.35),
        replace(ellipsoid(_FLUID, (7 + 2.5 * wide, 2, 22), (4.6 * wide, 28, 6 + 2 * wide)), angle=-0.12),
        replace(ellipsoid(_FLUID, (19 + 3 * wide, 33, 10), (5.4 * wide, 12 + 3 * wide, 13 + 2 * wide)), angle=-0.3),
        thread(_FLUID, [(22 + 2 * wide, 32, 2), (30, 22, -10), (31, 2, -17)], [3.6 * wide, 2.8 * wide, 1.8 * wide]),
    ]
    third = ellipsoid(_FLUID, (0, 5, 2), (1.8 * wide, 14, 12))
    return [*(part for piece in one_side for part in with_mirror_image(piece)), third]


def _hindbrain() -> list[Part]:
    """Cerebellum, brain stem and the fluid around them."""
    return [
        ellipsoid(_FLUID, (0, 44, -44), (52, 37, 26)),
        *with_mirror_image(ellipsoid("grey matter", (22, 46, -44), (27, 32, 22), ripple_mm=0.8)),
        *with_mirror_image(ellipsoid("white matter", (19, 43, -44), (17, 20, 14), fold_mm=7.0, fold_width=0.5)),
        ellipsoid("grey matter", (0, 52, -44), (6, 22, 18)),
        ellipsoid(_FLUID, (0, 0, -32), (21, 20, 13)),
        ellipsoid("white matter", (0, 12, -42), (16, 14, 36)),
        ellipsoid(_FLUID, (0, 29, -44), (7, 4.5, 11)),
    ]


def _tumour(person: Person) -> list[Part]:
    """A tumour with its swelling and its dead core, in the white matter of one side."""
    random = person.random(12)
    radius = float(random.uniform(11, 20))
    spot = [float(random.uniform(low, high)) for low, high in ((28, 36), (-34, 38), (12, 38))]
    centre = (person.side * spot[0], spot[1], spot[2])
    deep = float(random.uniform(0.85, 1.15))
    axes = (radius, radius * deep, radius)
    return [
        ellipsoid("oedema", centre, (1.4 * radius, 1.5 * radius * deep, 1.4 * radius), ripple_mm=4.0),
        ellipsoid("tumour", centre, axes, ripple_mm=1.8, texture=0.02),
        ellipsoid("fluid", centre, (0.45 * radius, 0.5 * radius * deep, 0.5 * radius), ripple_mm=1.5),
    ]
