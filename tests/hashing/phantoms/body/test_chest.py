"""The chest: tissues where they belong, and findings where the truth says they are."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from hashing.phantoms.body.anatomy import Anatomy
from hashing.phantoms.body.chest import chest
from hashing.phantoms.body.person import Person, person
from hashing.phantoms.body.tissue import TISSUES
from hashing.phantoms.section import Plane, section

HEALTHY = replace(person(20, 3), findings=(), side=1)


def hounsfield(anatomy: Anatomy, level: float) -> NDArray[np.float32]:
    plane = Plane(anatomy.height(level), 400, 1.0, 0.0)
    return section(anatomy.parts, plane, lambda name: TISSUES[name].hounsfield, -1000.0, 0)


def ill(finding: str, side: int = 1) -> Person:
    return replace(HEALTHY, findings=(finding,), side=side)


def part_mean(image: NDArray[np.float32], x: float, y: float) -> float:
    """Mean of 9 x 9 mm around a place, the body's axis at pixel 200."""
    return float(image[int(y) + 196 : int(y) + 205, int(x) + 196 : int(x) + 205].mean())


def air(image: NDArray[np.float32]) -> int:
    return int(((image > -950) & (image < -650)).sum())


def test_lung_liver_and_bone_have_their_numbers_at_their_places() -> None:
    anatomy = chest(HEALTHY, 0)

    middle, low = hounsfield(anatomy, 0.4), hounsfield(anatomy, 1.05)

    assert part_mean(middle, 75, 10) == pytest.approx(-840, abs=60)
    assert part_mean(middle, -75, 10) == pytest.approx(-840, abs=60)
    assert part_mean(low, -75, 0) == pytest.approx(60, abs=15)
    assert middle.max() == pytest.approx(760, abs=30)
    assert part_mean(middle, 0, -190) == -1000


def test_level_nought_is_the_apex_and_level_one_the_base_of_the_lungs() -> None:
    for number in range(4):
        anatomy = chest(replace(person(number, 0), findings=()), 0)

        sizes = [air(hounsfield(anatomy, level)) for level in (-0.1, 0.1, 0.5, 1.25)]
        assert max(sizes[0], sizes[3]) < 0.02 * sizes[2]  # no more than the edges of gas
        assert 0.05 * sizes[2] < sizes[1] < sizes[2]


def test_an_enlarged_heart_is_larger_for_the_same_chest() -> None:
    small, large = chest(HEALTHY, 0), chest(ill("enlarged heart"), 0)

    widths = []
    for anatomy in (small, large):
        heart = next(part for part in anatomy.parts if part.tissue == "heart")
        widths.append(2 * float(heart.outline[:, 2].max()) / anatomy.width_mm)  # type: ignore[union-attr]
    assert widths[1] > 1.2 * widths[0]
    assert air(hounsfield(large, 0.6)) < air(hounsfield(small, 0.6))


@pytest.mark.parametrize("side", [-1, 1])
def test_an_effusion_takes_air_from_the_base_of_its_side_only(side: int) -> None:
    healthy, wet = hounsfield(chest(HEALTHY, 0), 0.8), hounsfield(chest(ill("effusion", side), 0), 0.8)

    halves = {-1: slice(0, 200), 1: slice(200, 400)}
    assert air(wet[:, halves[side]]) < 0.75 * air(healthy[:, halves[side]])
    assert air(wet[:, halves[-side]]) == pytest.approx(air(healthy[:, halves[-side]]), rel=0.02)


def test_an_effusion_leaves_the_upper_lung_alone() -> None:
    healthy, wet = hounsfield(chest(HEALTHY, 0), 0.2), hounsfield(chest(ill("effusion"), 0), 0.2)

    assert air(wet) == pytest.approx(air(healthy), rel=0.02)


@pytest.mark.parametrize(("finding", "low_mm", "high_mm"), [("nodule", 14, 34), ("mass", 35, 100)])
def test_a_lesion_is_where_the_truth_says_and_of_its_size(finding: str, low_mm: float, high_mm: float) -> None:
    healthy, anatomy = chest(HEALTHY, 0), chest(ill(finding), 0)
    (found,) = anatomy.findings
    middle = (found.low_mm + found.high_mm) / 2
    level = (middle - anatomy.top_mm) / (anatomy.bottom_mm - anatomy.top_mm)

    changed = np.abs(hounsfield(anatomy, level) - hounsfield(healthy, level)) > 400

    assert found.name == finding
    assert anatomy.findings_at(level) == (finding,)
    assert low_mm < np.ptp(np.nonzero(changed.any(axis=0))[0]) < high_mm
    assert changed[:, 200:].sum() > 20 * changed[:, :200].sum()
    assert anatomy.findings_at(level + 0.5) == ()


def test_findings_grow_between_the_visits() -> None:
    sizes = []
    for visit in (0, 1):
        (found,) = chest(ill("mass"), visit).findings
        sizes.append(found.high_mm - found.low_mm)

    assert sizes[1] == pytest.approx(1.15 * sizes[0], rel=0.02)


def test_a_projection_shows_all_findings() -> None:
    anatomy = chest(replace(HEALTHY, findings=("enlarged heart", "effusion", "nodule")), 0)

    assert set(anatomy.findings_at(None)) == {"enlarged heart", "effusion", "nodule"}


def test_women_have_breasts_and_men_have_not() -> None:
    tissues = {sex: {part.tissue for part in chest(replace(HEALTHY, sex=sex), 0).parts} for sex in "FM"}

    assert tissues["F"] - tissues["M"] == {"gland"}


def test_two_visits_of_one_person_are_more_alike_than_two_people() -> None:
    one, again, other = (
        hounsfield(anatomy, 0.5) for anatomy in (chest(HEALTHY, 0), chest(HEALTHY, 1), chest(person(21, 3), 0))
    )

    assert np.abs(one - again).mean() < 0.6 * np.abs(one - other).mean()
