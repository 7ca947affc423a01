"""Measures of a chest."""

from dataclasses import replace

import numpy as np

from hashing.phantoms.body.build import build
from hashing.phantoms.body.person import person


def test_a_build_belongs_to_the_person() -> None:
    assert build(person(4, 0)) == build(person(4, 0))
    assert build(person(4, 0)) != build(person(5, 0))


def test_every_enlarged_heart_is_larger_than_every_other() -> None:
    people = [person(number, 0) for number in range(100)]

    usual = [build(replace(who, findings=())).heart for who in people]
    large = [build(replace(who, findings=("enlarged heart",))).heart for who in people]

    assert min(large) > 1.15 * max(usual)


def test_builds_spread_widely() -> None:
    builds = [build(person(number, 0)) for number in range(100)]

    for name in ("width", "depth", "length", "fat"):
        values = [getattr(one, name) for one in builds]
        assert max(values) > 1.5 * min(values)
    assert np.std([one.domes[0] for one in builds]) > 4


def test_the_right_dome_is_the_higher() -> None:
    for number in range(50):
        right, left = build(person(number, 0)).domes
        assert right > left
