"""Chest radiographs: the shadow of a chest, as a detector sees it and a workstation shows it."""

from dataclasses import dataclass

import numpy as np

from node.phantoms.noise import cut
from node.phantoms.projection import projection
from node.phantoms.shape import Anatomy, Floats


@dataclass(frozen=True, slots=True)
class Exposure:
    """How one radiograph is taken.

    Attributes
    ----------
    lateral
        Left lateral instead of postero-anterior.
    size
        Rows and columns, even.
    spacing_mm
        Detector pixel spacing.
    shift_mm
        Where the patient stands: to the left or the back, and up.
    contrast
        Width of the grey scale, mm of water: small is hard.
    bits
        Bits stored.
    inverted
        MONOCHROME1: high values dark.
    """

    lateral: bool
    size: int
    spacing_mm: float
    shift_mm: tuple[float, float]
    contrast: float
    bits: int
    inverted: bool


def radiograph(anatomy: Anatomy, exposure: Exposure, random: np.random.Generator) -> np.ndarray:
    """Stored values of a radiograph, (size, size) uint8 or uint16; bone is light unless ``inverted``."""
    half = exposure.size // 2
    steps = (np.arange(half, dtype=np.float32) - (half - 1) / 2) * np.float32(2 * exposure.spacing_mm)
    water = projection(anatomy, exposure.shift_mm[1] - steps, steps - exposure.shift_mm[0], lateral=exposure.lateral)
    grey = _grey(_doubled(water), exposure.contrast, random)
    _mark(grey, exposure.lateral)
    if exposure.inverted:
        grey = 1.0 - grey
    kind = np.uint8 if exposure.bits == 8 else np.uint16
    return np.rint(grey * (2**exposure.bits - 1)).astype(kind)


def _grey(water: Floats, contrast: float, random: np.random.Generator) -> Floats:
    """Grey in [0, 1] of a thickness of water: noisy film, its slow changes damped as workstations do."""
    quanta = np.exp(np.clip(water, 0.0, 320.0) * 0.008)
    noisy = water + 0.9 * quanta * cut(0.0, (water.shape[0], water.shape[1]), random)
    slow = _slow(water)
    body = water[water > 20.0]
    middle = float(np.median(body)) if body.size else 100.0
    level = (noisy - 0.4 * slow - 0.6 * middle) / contrast
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(level, -8.0, 8.0))), np.float32) * np.minimum(
        water / 6.0 + 0.02, 1.0
    )


def _slow(image: Floats) -> Floats:
    """Image blurred over about a sixteenth of its side."""
    block = image.shape[0] // 32
    small = image.reshape(32, block, 32, block).mean(axis=(1, 3))
    at = (np.arange(image.shape[0]) + 0.5) / block - 0.5
    for _ in range(2):
        small = _blend(_blend(small, at).T, at).T if _ else _soft(small)
    return small


def _soft(small: Floats) -> Floats:
    padded = np.pad(small, 1, mode="edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return np.asarray((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16)


def _blend(image: Floats, at: Floats) -> Floats:
    """Rows of an image at fractional positions."""
    low = np.clip(np.floor(at).astype(np.intp), 0, image.shape[0] - 2)
    share = np.clip(at - low, 0.0, 1.0)[:, None].astype(np.float32)
    return np.asarray(image[low] * (1 - share) + image[low + 1] * share, np.float32)


def _doubled(image: Floats) -> Floats:
    at = (np.arange(2 * image.shape[0]) - 0.5) / 2
    return np.ascontiguousarray(_blend(_blend(image, at).T, at).T)


def _mark(grey: Floats, lateral: bool) -> None:
    """A lead letter L at the patient's left."""
    size = grey.shape[0]
    top, left, thick = size // 14, size - size // 10 if not lateral else size // 20, max(size // 110, 2)
    grey[top : top + 6 * thick, left : left + thick] = 1.0
    grey[top + 5 * thick : top + 6 * thick, left : left + 4 * thick] = 1.0
