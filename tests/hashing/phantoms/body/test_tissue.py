"""Physics of the tissues."""

import pytest

from hashing.phantoms.body.tissue import TISSUES, spin_echo


def test_density_orders_air_lung_fat_flesh_and_bone() -> None:
    names = ["airway", "lung", "fat", "muscle", "spongy bone", "cortical bone"]
    densities = [TISSUES[name].density for name in names]

    assert densities == sorted(densities)
    assert TISSUES["air"].density == 0


def signals(repetition_ms: float, echo_ms: float, inversion_ms: float = 0.0) -> dict[str, float]:
    names = ("white matter", "grey matter", "cerebrospinal fluid", "fat")
    return {name: spin_echo(TISSUES[name], repetition_ms, echo_ms, inversion_ms) for name in names}


def test_t1_shows_white_above_grey_above_fluid() -> None:
    t1 = signals(480, 12)

    assert t1["fat"] > t1["white matter"] > t1["grey matter"] > t1["cerebrospinal fluid"]


def test_t2_shows_fluid_above_grey_above_white() -> None:
    t2 = signals(4200, 98)

    assert t2["cerebrospinal fluid"] > t2["grey matter"] > t2["white matter"]


def test_an_inversion_pulse_takes_the_fluid_away() -> None:
    flair = signals(9000, 110, 2300)

    assert flair["cerebrospinal fluid"] < 0.2 * flair["white matter"]


def test_a_long_wait_and_an_early_echo_give_the_protons() -> None:
    assert spin_echo(TISSUES["fat"], 1e6, 1e-6) == pytest.approx(TISSUES["fat"].protons)
