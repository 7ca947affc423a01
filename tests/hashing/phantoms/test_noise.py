"""Noise tiles."""

import numpy as np
import pytest

from hashing.phantoms.noise import SIZE, noise_patch, noise_tile


@pytest.mark.parametrize("wavelength_px", [0.0, 2.6, 20.0])
def test_a_tile_has_mean_nought_and_deviation_one(wavelength_px: float) -> None:
    noise = noise_tile(wavelength_px)

    assert noise.shape == (SIZE, SIZE)
    assert noise.mean() == pytest.approx(0, abs=1e-3)
    assert noise.std() == pytest.approx(1, abs=1e-3)


def test_neighbours_agree_in_smooth_noise_and_not_in_white() -> None:
    def likeness(wavelength_px: float) -> float:
        noise = noise_tile(wavelength_px)
        return float((noise[:, 1:] * noise[:, :-1]).mean())

    assert abs(likeness(0.0)) < 0.01
    assert likeness(20.0) > 0.95


def test_a_tile_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        noise_tile(0.0)[0, 0] = 1


def test_a_cut_depends_on_the_generator_alone() -> None:
    one, same, other = (noise_patch(0.0, (64, 80), np.random.default_rng(seed)) for seed in (1, 1, 2))

    assert one.shape == (64, 80)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
