"""Noise that is made once and cut at random positions: this is cheap, and the same on every machine."""

from functools import cache

import numpy as np

from hashing.phantoms.body.loops import Floats

SIZE = 1024


@cache
def noise_tile(wavelength_px: float) -> Floats:
    """Periodic noise of mean 0 and deviation 1, (SIZE, SIZE): white for wavelength 0, else smooth at that scale."""
    white = np.random.default_rng([int(10 * wavelength_px), 2718]).standard_normal((SIZE, SIZE))
    if wavelength_px:
        frequency = np.fft.fftfreq(SIZE)[:, None] ** 2 + np.fft.rfftfreq(SIZE)[None, :] ** 2
        passed = np.exp(-frequency * (0.9 * wavelength_px) ** 2)
        white = np.fft.irfft2(np.fft.rfft2(white) * passed, s=(SIZE, SIZE))
    white = (white - white.mean()) / white.std()
    result: Floats = white.astype(np.float32)
    result.flags.writeable = False
    return result


def noise_patch(wavelength_px: float, shape: tuple[int, int], random: np.random.Generator) -> Floats:
    """A piece of a noise tile at a random position, at most SIZE on a side."""
    row, column = (int(random.integers(0, SIZE - side + 1)) for side in shape)
    return noise_tile(wavelength_px)[row : row + shape[0], column : column + shape[1]]
