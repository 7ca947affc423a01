"""The head: shells, brain and findings."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from hashing.phantoms.body.anatomy import Anatomy
from hashing.phantoms.body.head import head
from hashing.phantoms.body.person import person
from hashing.phantoms.body.shape import Solid
from hashing.phantoms.section import Plane, section

WELL = replace(person(20, 3), findings=(), side=1)
CODES = {"cerebrospinal fluid": 1.0, "tumour": 2.0, "grey matter": 3.0, "white matter": 4.0, "cortical bone": 5.0}


def tissues(anatomy: Anatomy, level: float) -> NDArray[np.float32]:
    plane = Plane(anatomy.height(level), 220, 1.0, 5.0)
    parts = [replace(part, texture=0.0) if isinstance(part, Solid) else part for part in anatomy.parts]
    return section(parts, plane, lambda name: CODES.get(name, 6.0), 0.0, 0)


def test_bone_surrounds_the_brain() -> None:
    row = tissues(head(WELL), 0.4)[110]

    bone, white = np.nonzero(row == 5.0)[0], np.nonzero(row == 4.0)[0]
    assert bone[0] < white[0] < white[-1] < bone[-1]


def test_a_section_shows_white_and_grey_matter_and_fluid() -> None:
    image = tissues(head(WELL), 0.4)

    areas = {name: int((image == code).sum()) for name, code in CODES.items()}
    assert areas["white matter"] > 3000
    assert areas["grey matter"] > 1500
    assert areas["cerebrospinal fluid"] > 500
    assert areas["tumour"] == 0


def test_enlarged_ventricles_hold_more_fluid_in_the_middle() -> None:
    middle = slice(70, 150)
    usual, large = (
        int((tissues(head(who), 0.45)[middle, middle] == 1.0).sum())
        for who in (WELL, replace(WELL, findings=("enlarged ventricles",)))
    )

    assert large > 2 * usual


@pytest.mark.parametrize("side", [-1, 1])
def test_a_tumour_is_where_the_truth_says(side: int) -> None:
    anatomy = head(replace(WELL, findings=("brain tumour",), side=side))
    (found,) = anatomy.findings
    level = ((found.low_mm + found.high_mm) / 2 - anatomy.top_mm) / (anatomy.bottom_mm - anatomy.top_mm)

    columns = np.nonzero(tissues(anatomy, level) == 2.0)[1]

    assert len(columns) > 150
    assert side * (columns.mean() - 109.5) > 15
    assert anatomy.findings_at(level) == ("brain tumour",)
    assert anatomy.findings_at(1.0) == ()


def test_heads_differ_in_shape() -> None:
    widths = [head(person(number, 0)).width_mm for number in range(20)]

    assert max(widths) > 1.08 * min(widths)
