"""Chest radiographs: the shadow of a chest, processed as workstations process it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashing.phantoms.body.anatomy import Anatomy
from hashing.phantoms.body.loops import Floats
from hashing.phantoms.noise import noise_patch
from hashing.phantoms.projection import Detector, projection


@dataclass(frozen=True, slots=True)
class Exposure:
    """The settings of one radiograph.

    Attributes
    ----------
    lateral
        True for left lateral, False for postero-anterior.
    size
        Number of rows and of columns, a multiple of 64.
    spacing_mm
        Detector pixel spacing.
    shift_mm
        Position of the middle of the detector: x (y if lateral) and z.
    contrast_mm, darker_mm
        Thickness of water over which the grey scale rises (a small one makes a hard picture), and thickness by which
        the middle grey is off.
    bits
        Bits stored.
    inverted
        True for MONOCHROME1: high values are dark.
    """

    lateral: bool
    size: int
    spacing_mm: float
    shift_mm: tuple[float, float]
    contrast_mm: float
    darker_mm: float
    bits: int
    inverted: bool


def radiograph(anatomy: Anatomy, exposure: Exposure, random: np.random.Generator) -> NDArray[np.unsignedinteger]:
    """Stored values of a radiograph, (size, size) uint8 or uint16. Bone is light unless ``inverted``."""
    half = exposure.size // 2  # shadows are smooth: every second ray is enough
    steps = ((np.arange(half) - (half - 1) / 2) * 2 * exposure.spacing_mm).astype(np.float32)
    across, up = (np.float32(shift) for shift in exposure.shift_mm)
    parts = anatomy.parts if exposure.lateral else anatomy.arms + anatomy.parts
    water = projection(parts, Detector(up - steps, steps + across, exposure.lateral))
    grey = _grey(water, exposure, random)
    _mark(grey, exposure.lateral)
    if exposure.inverted:
        grey = 1.0 - grey
    grey *= np.float32(2**exposure.bits - 1)
    return np.rint(grey, out=grey).astype(np.uint8 if exposure.bits == 8 else np.uint16)


def _grey(water: Floats, exposure: Exposure, random: np.random.Generator) -> Floats:
    """Grey in [0, 1] for thicknesses of water, with noise, in twice as many rows and columns.

    Slow changes are damped, as workstations damp them; the rest goes through the S of a film's curve.
    """
    slow = _slow(water)
    body = water[::4, ::4][water[::4, ::4] > 25.0]
    middle = float(np.quantile(body, 0.52)) if body.size else 100.0
    level = water - np.float32(0.22) * slow - np.float32(0.78 * middle + exposure.darker_mm)
    level /= np.float32(exposure.contrast_mm)
    grey = (1.0 + np.exp(-level)) ** np.float32(-0.65)  # an S with its toe lifted, to open the lungs
    grey *= np.minimum(water / 20.0, 1.0)
    speckle = np.float32(0.075) * np.minimum(water / 120.0, 1.5) * grey * (1.0 - grey) + np.float32(0.003)
    grey += speckle * noise_patch(0.0, grey.shape, random)
    return _resized(np.clip(grey, 0.0, 1.0), 2 * len(grey))


def _slow(image: Floats) -> Floats:
    """The image, blurred over about a sixteenth of its side."""
    size = image.shape[0]
    small = image.reshape(32, size // 32, 32, size // 32).mean(axis=(1, 3))
    padded = np.pad(small, 1, mode="edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    small = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16
    return _resized(small, size)


def _resized(image: Floats, size: int) -> Floats:
    """The image with ``size`` rows and columns, interpolated linearly between pixels."""
    at = (np.arange(size) + 0.5) * image.shape[0] / size - 0.5
    low = np.clip(np.floor(at).astype(np.intp), 0, image.shape[0] - 2)
    share = np.clip(at - low, 0.0, 1.0).astype(np.float32)
    rows = image[low] + share[:, None] * (image[low + 1] - image[low])
    return np.asarray(rows[:, low] + share * (rows[:, low + 1] - rows[:, low]))


def _mark(grey: Floats, lateral: bool) -> None:
    """Draw a lead letter L beside the patient: at the left, or in front if lateral."""
    size = len(grey)
    thick = max(size // 110, 2)
    top, left = size // 14, size // 20 if lateral else size - size // 10
    grey[top : top + 6 * thick, left : left + thick] = 1.0
    grey[top + 5 * thick : top + 6 * thick, left : left + 4 * thick] = 1.0
