"""The chest of a person: body wall, bones, lungs, heart, vessels, upper abdomen, and the findings."""

from dataclasses import dataclass, replace
from math import cos, pi, sin

import numpy as np

from node.phantoms.person import Person
from node.phantoms.shape import Anatomy, Finding, Part, Solid, Tube, ellipsoid, pile, scaled, thread

APEX_MM, BASE_MM = 118.0, -150.0
"""Lung apex and lowest lung of the unscaled chest: levels 0 and 1."""


@dataclass(frozen=True, slots=True)
class Build:
    """What makes one chest differ from the next; drawn once a person, in unscaled mm or ratios."""

    width: float
    depth: float
    length: float
    heart: float
    heart_turn: float
    heart_x: float
    dome: tuple[float, float]
    arch: float
    bend: tuple[float, float]
    rib_drop: float
    breast: float
    fat: float
    kyphosis: float


def chest(person: Person, visit: int) -> Anatomy:
    """Chest of a person at a visit (0 or 1): the same build, findings a little further on."""
    build = _build(person)
    breath = 1.0 + 0.02 * float(person.random(1, visit).normal())
    lungs = {side: _lung(build, side, breath) for side in (-1, 1)}
    parts: list[Part] = [*_breasts(build), *_wall(build)]
    for side, lung in lungs.items():
        depth = _effusion_depth(person, visit, side)
        parts += [replace(lung, tissue="fluid", within="fluid"), _compressed(lung, depth)] if depth else [lung]
    parts += [*_domes(build, breath), *_mediastinum(build), *_abdomen(build)]
    parts += [*_heart(build), *_great_vessels(build), *_spine(build)]
    parts += [*_vessels(person, lungs), *_airways(build)]
    parts += [*_ribs(build), *_shoulders(build), *_opacity(person, visit, lungs)]
    scale = np.float32([person.scale * build.width, person.scale * build.depth, person.scale * build.length])
    high = float(scale[2])
    sized = tuple(scaled(part, scale) for part in parts)
    return Anatomy(sized, APEX_MM * high, BASE_MM * high, _findings(person, sized, high))


def _findings(person: Person, parts: tuple[Part, ...], high: float) -> tuple[Finding, ...]:
    """Heights at which sections show each finding of the chest."""
    found = []
    for name in person.findings:
        tissue = {"enlarged heart": "heart", "nodule": "lesion", "mass": "lesion"}.get(name)
        solids = [part for part in parts if isinstance(part, Solid) and part.tissue == tissue]
        if solids:
            middle, half = (solids[0].heights[-1] + solids[0].heights[0]) / 2, np.ptp(solids[0].heights) / 2
            found.append(Finding(name, float(middle - 0.9 * half), float(middle + 0.9 * half)))
        elif name == "effusion":
            found.append(Finding(name, -190.0 * high, -20.0 * high))
    return tuple(found)


def _build(person: Person) -> Build:
    random = person.random(2)
    enlarged = "enlarged heart" in person.findings
    old = max(person.age_years(0) - 50, 0) / 40
    return Build(
        width=float(random.uniform(0.92, 1.08)),
        depth=float(random.uniform(0.86, 1.16)),
        length=float(random.uniform(0.90, 1.08)),
        heart=float(random.uniform(1.32, 1.5) if enlarged else random.uniform(0.88, 1.06)),
        heart_turn=float(random.uniform(0.35, 0.75)),
        heart_x=float(random.uniform(10, 20)),
        dome=(float(random.uniform(-82, -58)), float(random.uniform(-96, -72))),
        arch=float(random.uniform(10, 13) + 4 * old),
        bend=(float(random.normal(0, 3 + 5 * old)), float(random.uniform(0, 2 * pi))),
        rib_drop=float(random.uniform(48, 78)),
        breast=float(random.uniform(0.7, 1.35)) if person.sex == "F" and person.age_years(0) > 13 else 0.0,
        fat=person.girth_mm,
        kyphosis=float(random.uniform(4, 10) + 8 * old),
    )


def _wall(build: Build) -> list[Part]:
    """Skin, fat, muscle and the fat inside the abdomen."""
    rows = [
        (260, 62, 62),
        (205, 60, 60),
        (180, 66, 62),
        (160, 84, 66),
        (140, 122, 76),
        (120, 148, 86),
        (90, 152, 96),
        (40, 152, 103),
        (-20, 153, 107),
        (-100, 150, 106),
        (-180, 146, 104),
        (-330, 146, 102),
    ]
    neck = {260: 0.3, 205: 0.3, 180: 0.35, 160: 0.5, 140: 0.75}
    belly = {-100: 1.15, -180: 1.4, -330: 1.5}
    fat = {z: build.fat * neck.get(z, belly.get(z, 1.0)) for z, _, _ in rows}
    outer = [(z, 0.0, 4.0 - 0.25 * fat[z], a + fat[z], b + fat[z]) for z, a, b in rows]
    skin = pile("skin", outer, power=2.4, within="air")
    fat_layer = pile(
        "fat", [(z, x, y, a - 2, b - 2) for z, x, y, a, b in outer], power=2.4, texture=10.0, within="skin"
    )
    muscle = pile("muscle", [(z, 0.0, 4.0, a, b) for z, a, b in rows], power=2.4, texture=6.0, within="fat")
    belly_fat = pile("fat", [(-110, 0, -2, 0, 0), (-150, 0, -2, 126, 78), (-330, 0, -4, 130, 80)], texture=10.0)
    return [skin, fat_layer, muscle, belly_fat]


def _breasts(build: Build) -> list[Part]:
    if not build.breast:
        return []
    size = build.breast * (0.8 + build.fat / 60)
    centre = (78.0, -92.0 - 0.6 * build.fat, -48.0)
    shell = ellipsoid("fat", centre, (62 * size, 46 * size, 54 * size), slant_y=0.25, texture=10.0, within="air")
    x, y, z = centre
    gland = ellipsoid(
        "gland", (x, y - 8 * size, z - 6), (40 * size, 26 * size, 34 * size), slant_y=0.25, ripple_mm=6.0, within="fat"
    )
    return [shell, shell.mirrored(), gland, gland.mirrored()]


_CAGE = [
    (118, 44, 22, 4, 5),
    (114, 45, 20, 17, 22),
    (104, 49, 18, 29, 40),
    (84, 56, 14, 45, 60),
    (50, 63, 9, 57, 75),
    (0, 68, 5, 65, 84),
    (-60, 71, 4, 67, 88),
    (-120, 72, 4, 67, 88),
    (-150, 73, 6, 66, 86),
]
"""Inner rib cage of one side, left: z, centre x, centre y, half-width, half-depth."""


def _lung(build: Build, side: int, breath: float) -> Solid:
    low = [(-158, 74, 20, 60, 70), (-166, 78, 34, 30, 36), (-169, 79, 38, 0, 0)]
    rows = [(119.5, 44.0, 22.0, 0.0, 0.0), *_CAGE, *low]
    placed = [(z if z > 0 else z * breath, side * x, y, a, b) for z, x, y, a, b in rows]
    return pile("lung", placed, power=2.2, texture=32.0)


def _domes(build: Build, breath: float) -> list[Part]:
    parts: list[Part] = []
    for side, top in zip((-1, 1), build.dome, strict=True):
        top = top * breath
        t = np.linspace(0.0, 1.0, 14)
        rows = [
            (top - 82 * (1 - cos(u * pi / 2)), side * 69.0, 2.0 + 6 * u, 70 * sin(u * pi / 2), 90 * sin(u * pi / 2))
            for u in t
        ]
        rows.append((-330.0, side * 69.0, 6.0, 70.0, 90.0))
        parts.append(pile("muscle", rows))
    return parts


def _mediastinum(build: Build) -> list[Part]:
    rows = [
        (150, 0, 10, 24, 34),
        (110, 1, 6, 24, 46),
        (70, 2, 0, 25, 56),
        (40, 4, -2, 28, 62),
        (0, 4, 2, 32, 60),
        (-60, 6, 8, 36, 58),
        (-120, 6, 6, 40, 66),
        (-330, 0, 8, 40, 66),
    ]
    return [pile("mediastinum", rows, texture=14.0, ripple_mm=2.0)]


def _heart(build: Build) -> list[Part]:
    size = build.heart
    middle = (build.heart_x + 16 * (size - 1), -26 - 8 * (size - 1), -46 - 8 * (size - 1))
    axes = (61 * size, 46 * size**0.8, 54 * size**0.8)
    pericardium = ellipsoid("fat", middle, (axes[0] + 3, axes[1] + 3, axes[2] + 2), slant_x=-0.32, slant_y=-0.1)
    muscle = ellipsoid("heart", middle, axes, slant_x=-0.32, slant_y=-0.1, within="fat")
    x, y, z = middle
    turn = build.heart_turn
    left = ellipsoid(
        "blood", (x + 26 * size, y + 6, z - 8), (26 * size, 16 * size, 32 * size), slant_x=-0.3, within="heart"
    )
    right = ellipsoid(
        "blood", (x - 10 * size, y - 18 * size, z - 4), (30 * size, 14 * size, 34 * size), slant_x=-0.3, within="heart"
    )
    atria = ellipsoid(
        "blood", (x - 14 * size, y + 24 * size, z + 20), (30 * size, 15 * size, 22 * size), within="heart"
    )
    atrium = ellipsoid("blood", (x - 40 * size, y - 2, z + 6), (14 * size, 20 * size, 28 * size), within="heart")
    return [replace(part, angle=turn) for part in (pericardium, muscle, left, right)] + [atria, atrium]


def _great_vessels(build: Build) -> list[Part]:
    r = build.arch
    ascending = [(4, -22, -8), (-12, -30, 30), (-6, -24, 58), (10, -4, 70), (24, 22, 64), (28, 40, 44)]
    descending = [(27, 44, 0), (25, 46, -60), (18, 44, -130), (6, 40, -200), (2, 38, -300)]
    bent = [(x + 0.8 * (r - 10) * (x > 0), y, z + (r - 10)) for x, y, z in ascending + descending]
    aorta = thread("blood", bent, [r + 2, r + 3, r + 2, r + 1, r, r, *[r - 0.5] * 4, r - 2], within="mediastinum")
    cava = thread("blood", [(-26, -10, 96), (-28, -14, 50), (-27, -14, 0)], [8, 9, 10], within="mediastinum")
    trunk = [(8, -34, -6), (18, -22, 24), (28, -2, 30), (46, 12, 24), (58, 20, 8)]
    right = [(16, -14, 26), (-8, -6, 24), (-34, 0, 20), (-48, 8, 8), (-54, 16, -10)]
    pulmonary = [thread("blood", trunk, [13, 13, 11, 9, 7]), thread("blood", right, [10, 10, 10, 9, 7])]
    branches = [
        thread("blood", [(2, -10, 74), (-8, -8, 96), (-22, -2, 126), (-26, 0, 170)], 6),
        thread("blood", [(16, 4, 72), (22, 2, 100), (26, 0, 130), (26, 0, 170)], 5),
    ]
    return [aorta, cava, *pulmonary, *branches]


def _airways(build: Build) -> list[Part]:
    trachea = [(0, 6, 190), (-1, 10, 120), (-3, 14, 80), (-2, 18, 48)]
    left = [(-2, 18, 48), (14, 20, 34), (34, 24, 18), (48, 28, 0)]
    right = [(-2, 18, 48), (-16, 20, 34), (-30, 24, 16), (-42, 30, -6)]
    return [
        thread("airway", trachea, 8.0),
        thread("airway", left, [7, 6, 5, 3.5]),
        thread("airway", right, [7, 7, 5.5, 4]),
    ]


def _abdomen(build: Build) -> list[Part]:
    right, left = build.dome
    liver = [
        pile(
            "liver",
            [
                (right - 4, -68, 0, 0, 0),
                (right - 12, -68, 0, 34, 44),
                (right - 34, -68, 2, 56, 72),
                (right - 70, -64, 4, 66, 84),
                (right - 130, -62, 6, 68, 84),
                (right - 190, -70, 10, 54, 70),
                (right - 230, -80, 14, 20, 30),
                (right - 236, -80, 14, 0, 0),
            ],
            texture=7.0,
            within="fat",
        ),
        ellipsoid("liver", (-6, -42, right - 70), (74, 38, 44), texture=7.0, within="fat"),
    ]
    stomach = ellipsoid("stomach", (62, -14, left - 52), (46, 50, 44), slant_x=0.2, within="fat")
    bubble = ellipsoid("airway", (60, -30, left - 32), (34, 26, 20), within="stomach")
    spleen = ellipsoid("spleen", (108, 52, left - 62), (28, 40, 46), slant_x=0.15, within="fat")
    kidney = ellipsoid("blood", (60, 52, -232), (24, 22, 54), slant_x=-0.2, within="fat")
    return [*liver, stomach, bubble, spleen, kidney, kidney.mirrored()]


def _spine(build: Build) -> list[Part]:
    sway, phase = build.bend
    parts: list[Part] = []
    outer, inner = [], []
    for step in range(-40, 33):
        z = step * 8.0
        x = sway * sin(z / 75 + phase)
        y = 62 + build.kyphosis * cos((z - 10) / 75)
        waist = 1.0 + 0.09 * cos(2 * pi * z / 24)
        outer.append((z, x, y, 17 * waist, 15 * waist))
        inner.append((z, x, y, 14.6 * waist, 12.6 * waist))
    rows = [(z, x, y + 24, 9, 8) for z, x, y, _, _ in outer]
    arch = pile("cortical bone", [(z, x, y + 22, 20, 13) for z, x, y, _, _ in outer])
    canal = pile("muscle", rows)
    process = pile("spongy bone", [(z, x, y + 44, 3.5, 13) for z, x, y, _, _ in outer])
    parts += [
        arch,
        process,
        canal,
        pile("cortical bone", outer),
        pile("spongy bone", inner, texture=60.0, within="cortical bone"),
    ]
    return parts


def _ribs(build: Build) -> list[Part]:
    cage = np.array(sorted(_CAGE), np.float64)
    parts: list[Part] = []
    for rib in range(11):
        top = 112 - 22.5 * rib
        end = 0.80 * pi if rib < 7 else (0.80 - 0.11 * (rib - 6)) * pi
        knots, cartilage = [], []
        for turn in np.linspace(0.07 * pi, end, 14):
            share = (1 - cos(turn)) / 2
            z = top + 6 * sin(2.2 * turn) - build.rib_drop * min(1.0, 0.45 + 0.09 * rib) * share
            _, x, y, a, b = (np.interp(z, cage[:, 0], column) for column in cage.T)
            reach_x, reach_y = x + a + 5, b + 7
            knots.append((reach_x * sin(turn), y + reach_y * cos(turn), z))
        bone = thread("cortical bone", knots, 5.4)
        marrow = thread("spongy bone", knots, 3.4, within="cortical bone")
        parts += [bone, marrow, bone.mirrored(), marrow.mirrored()]
        if rib < 6:
            x, y, z = knots[-1]
            cartilage = [(x, y, z), (0.6 * x, y - 4, z + 2), (12, -84, z + 10)]
            gristle = thread("cartilage", cartilage, 4.5)
            parts += [gristle, gristle.mirrored()]
    return parts


def _shoulders(build: Build) -> list[Part]:
    clavicle = thread("cortical bone", [(16, -66, 92), (50, -70, 104), (95, -38, 118), (140, -8, 122)], [7, 5.5, 5, 6])
    medulla = thread(
        "spongy bone", [(16, -66, 92), (50, -70, 104), (95, -38, 118), (140, -8, 122)], 3.2, within="cortical bone"
    )
    blade = Solid(
        "cortical bone",
        np.float32([-40, -20, 30, 80, 104]),
        np.float32([[92, 98, 0, 0], [96, 98, 10, 2.5], [102, 92, 28, 3], [112, 82, 42, 3.5], [120, 74, 34, 0]]),
        angle=-0.6,
    )
    sternum = pile(
        "spongy bone",
        [
            (88, 0, -78, 0, 0),
            (82, 0, -80, 22, 6),
            (50, 0, -86, 17, 6),
            (-30, 0, -94, 15, 5),
            (-66, 0, -94, 6, 4),
            (-70, 0, -94, 0, 0),
        ],
    )
    return [clavicle, clavicle.mirrored(), medulla, medulla.mirrored(), blade, blade.mirrored(), sternum]


def _vessels(person: Person, lungs: dict[int, Solid]) -> list[Part]:
    """Pulmonary vessels: each leaves the hilum for a point of the lung and thins out, forking on its way."""
    random = person.random(3)
    return [_tree(random, side, lung) for side, lung in lungs.items()]


def _tree(random: np.random.Generator, side: int, lung: Solid) -> Tube:
    points, radii, steps = [], [], []
    hilum = np.array([side * 46.0, 14.0, 6.0])
    for _ in range(58):
        z = random.uniform(-140, 108)
        x, y, a, b = lung.at(z)[:, 0]
        reach, turn = 0.9 * np.sqrt(random.uniform(0.1, 1.0)), random.uniform(0, 2 * pi)
        tip = np.array([x + reach * a * cos(turn), y + reach * b * sin(turn), z])
        middle = hilum + 0.5 * (tip - hilum) + random.normal(0, 7, 3)
        stem = hilum + 0.2 * (tip - hilum) + random.normal(0, 3, 3)
        branch = thread("blood", [tuple(hilum), tuple(stem), tuple(middle), tuple(tip)], [4.2, 3.2, 2.0, 0.9])
        points.append(branch.points)
        radii.append(branch.radii)
        steps.append(branch.steps)
    return Tube("blood", np.concatenate(points), np.concatenate(radii), np.concatenate(steps), within="lung")


def _effusion_depth(person: Person, visit: int, side: int) -> float:
    """How far fluid lifts the lung off the chest wall at the base, mm; 0 without an effusion on that side."""
    if "effusion" not in person.findings or side != person.side:
        return 0.0
    return float(person.random(4).uniform(34, 60)) * (1.0, 1.25)[visit]


def _compressed(lung: Solid, depth: float) -> Solid:
    """Lung over an effusion: thinner towards the base, lifted to the front and the middle."""
    fill = np.clip((30.0 - lung.heights) / 150.0, 0.0, 1.0) ** 1.6
    lift = (depth * fill)[:, None].astype(np.float32)
    side = np.sign(lung.outline[:, :1])
    moved = lung.outline + np.concatenate([-0.45 * side * lift, -0.85 * lift, -0.55 * lift, -0.95 * lift], axis=1)
    moved[:, 2:] = np.maximum(moved[:, 2:], 0.0)
    return replace(lung, outline=moved)


def _opacity(person: Person, visit: int, lungs: dict[int, Solid]) -> list[Part]:
    """The nodule or the mass, in the upper two thirds of the lung where nothing hides it."""
    size = {"nodule": (7.0, 11.0), "mass": (21.0, 32.0)}
    kind = next((name for name in size if name in person.findings), None)
    if kind is None:
        return []
    random = person.random(5)
    radius = float(random.uniform(*size[kind])) * (1.0, 1.15)[visit]
    z = float(random.uniform(-40, 70))
    x, y, a, b = (float(value) for value in lungs[person.side].at(z)[:, 0])
    centre = (x + 0.3 * person.side * a, y + float(random.uniform(-0.4, 0.4)) * b, z)
    return [ellipsoid("lesion", centre, (radius, 0.9 * radius, 1.05 * radius), ripple_mm=0.18 * radius, within="lung")]
