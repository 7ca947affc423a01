"""Variations of training images: what may differ between two pictures of one thing."""

import io
from math import radians

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from hashing.data.datasets import KINDS

HEAD_MR = KINDS.index("head MR")
MOSAIC_SHARE, INVERTED_SHARE, CROPPED_SHARE, CONTRAST_SHARE = 0.15, 0.1, 0.3, 0.5
MIN_SIDE, MAX_SIDE = 48, 224
"""Range of the resolutions that `degrade` draws, pixels."""
MIN_QUALITY, MAX_QUALITY = 40, 95
"""Range of the JPEG qualities that `degrade` draws."""
VARIATION = 2
"""Version of the variations of training images: another number makes trained trunks and results anew."""


def degrade(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Each image reduced to a random resolution, encoded as JPEG of a random quality, and enlarged again.

    Resolution and compression tell which file or hospital an image comes from, and where these are tied to a label,
    a network that sees them learns no finding. Training images of all sets therefore vary in both.

    Parameters
    ----------
    images : (batch, 1, side, side)
        Grey values, 0 to 255.

    Returns
    -------
    (batch, 1, side, side)
        Grey values, 0 to 255.
    """
    sides = np.exp(rng.uniform(np.log(MIN_SIDE), np.log(MAX_SIDE), len(images))).round().astype(int)
    qualities = rng.integers(MIN_QUALITY, MAX_QUALITY + 1, len(images))
    degraded = [
        _sized(_compressed(_sized(image, min(int(side), image.shape[-1])), int(quality)), image.shape[-1])
        for image, side, quality in zip(images, sides, qualities, strict=True)
    ]
    return torch.stack(degraded)


def _compressed(image: Tensor, quality: int) -> Tensor:
    """The image (1, side, side) through JPEG."""
    encoded = io.BytesIO()
    pixels = image[0].round().clamp(0, 255).to(torch.uint8).numpy()
    Image.fromarray(pixels).save(encoded, "jpeg", quality=quality)
    with Image.open(encoded) as decoded:
        return torch.from_numpy(np.array(decoded)).float()[None]


def vary(images: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """Training images as another machine or position might have shown them.

    Images are degraded, turned, scaled, shifted, brightened and sometimes blurred; never mirrored, since laterality is
    information.

    Parameters
    ----------
    images : (batch, 1, side, side)
        Grey values, 0 to 255.

    Returns
    -------
    (batch, 1, size, size)
        Grey values, 0 to 255.
    """
    scaled = functional.interpolate(degrade(images, rng), size=(size, size), mode="bilinear", antialias=True)
    n = len(scaled)
    angle, scale = rng.uniform(-radians(10), radians(10), n), rng.uniform(0.9, 1.1, n)
    shift = rng.uniform(-0.06, 0.06, (n, 2, 1))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    affine = np.concatenate([turn / scale[:, None, None], shift], axis=2).astype(np.float32)  # (batch, 2, 3)
    grid = functional.affine_grid(torch.from_numpy(affine), list(scaled.shape), align_corners=False)
    moved = functional.grid_sample(scaled, grid, align_corners=False)
    return _repaint(moved, rng)


def _repaint(images: Tensor, rng: np.random.Generator) -> Tensor:
    n = len(images)
    contrast, brightness, gamma = (
        torch.from_numpy(rng.uniform(low, high, (n, 1, 1, 1)).astype(np.float32))
        for low, high in ((0.85, 1.15), (-0.1, 0.1), (0.75, 1.35))
    )
    unit = (images / 255).clamp(0, 1).pow(gamma)
    painted = ((unit - 0.5) * contrast + 0.5 + brightness * (unit > 0)).clamp(0, 1) * 255
    blurred = torch.from_numpy(rng.random(n) < 0.25)
    painted[blurred] = functional.avg_pool2d(painted[blurred], 3, stride=1, padding=1, count_include_pad=False)
    return painted


def disguise(images: Tensor, kinds: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
    """Images as other equipment might have shown them.

    Some head MR become a mosaic of sections, as some scanners store them, or inverted. Some images of any kind are
    cropped, with black added at two sides, or get another contrast curve.

    Parameters
    ----------
    images : (batch, 1, side, side)
        Grey values, 0 to 255.
    kinds : (batch,)
        Index into `hashing.data.datasets.KINDS`.
    """
    shown = images.clone()
    heads = np.flatnonzero(kinds == HEAD_MR)
    for row in range(len(images)):
        if kinds[row] == HEAD_MR and rng.random() < MOSAIC_SHARE:
            shown[row] = _mosaic(images[rng.permutation(heads)], int(rng.integers(2, 8)))
        if kinds[row] == HEAD_MR and rng.random() < INVERTED_SHARE:
            shown[row] = 255 - shown[row]
        if rng.random() < CROPPED_SHARE:
            shown[row] = _cropped(shown[row], rng)
        if rng.random() < CONTRAST_SHARE:
            shown[row] = _contrasted(shown[row], rng)
    return shown


def roughen(images: Tensor, kinds: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
    """Images as very different equipment might have shown them, for features that shall not depend on it.

    Some images are cropped, of another contrast, inverted if they are radiographs or MR, of lower resolution, noisy, or
    smaller in the frame. Most MR get a random curve of intensities, as sequences differ.

    Parameters
    ----------
    images : (batch, 1, side, side)
        Grey values, 0 to 255.
    kinds : (batch,)
        Index into `hashing.data.datasets.KINDS`.
    """
    return torch.stack([_roughened(image, KINDS[kind], rng) for image, kind in zip(images, kinds, strict=True)])


def _roughened(image: Tensor, kind: str, rng: np.random.Generator) -> Tensor:
    shown, side = image, image.shape[-1]
    if rng.random() < 0.35:
        shown = _cropped(shown, rng)
    if kind.endswith("MR") and rng.random() < 0.6:
        shown = _curved(shown, rng)
    elif rng.random() < CONTRAST_SHARE:
        shown = _contrasted(shown, rng)
    if kind.endswith(("MR", "radiograph")) and rng.random() < INVERTED_SHARE:
        shown = 255 - shown
    if rng.random() < 0.4:
        shown = _sized(_sized(shown, int(rng.integers(48, 128))), side)
    if rng.random() < 0.2:
        noise = torch.from_numpy(rng.normal(0, rng.uniform(2, 15), shown.shape).astype(np.float32))
        shown = (shown + noise).clamp(0, 255)
    return _in_frame(shown, rng) if rng.random() < 0.15 else shown


def _contrasted(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Grey values stretched and bent."""
    return 255 * (image / 255 * rng.uniform(0.7, 1.6)).clamp(0, 1) ** rng.uniform(0.5, 2.0)


def _curved(image: Tensor, rng: np.random.Generator, points: int = 6, unordered_share: float = 0.15) -> Tensor:
    """Grey values through a random curve, mostly a rising one that leaves black black."""
    heights = rng.random(points)
    if rng.random() >= unordered_share:
        heights.sort()
    first = 0.0 if rng.random() < 0.8 else heights[0]
    curve = np.interp(np.arange(256), np.linspace(0, 255, points + 1), [first, *heights]) * 255
    return torch.from_numpy(curve.astype(np.float32))[image.round().long().clamp(0, 255)]


def _in_frame(image: Tensor, rng: np.random.Generator) -> Tensor:
    """The image smaller, anywhere in a black frame."""
    side = image.shape[-1]
    small = int(side * rng.uniform(0.45, 0.9))
    left, top = (int(offset) for offset in rng.integers(0, side - small + 1, 2))
    return functional.pad(_sized(image, small), (left, side - small - left, top, side - small - top))


def _sized(image: Tensor, side: int) -> Tensor:
    sized = functional.interpolate(image[None], size=(side, side), mode="bilinear", antialias=side < image.shape[-1])
    return sized[0]


def _mosaic(images: Tensor, tiles: int) -> Tensor:
    """`tiles` x `tiles` small pictures, the images in turn: (1, side, side)."""
    side = images.shape[-1]
    small = functional.interpolate(images, size=side // tiles, mode="bilinear", antialias=True)
    rows = [torch.cat([small[(tiles * i + j) % len(small)] for j in range(tiles)], dim=2) for i in range(tiles)]
    joined = torch.cat(rows, dim=1)  # (1, side // tiles * tiles, same)
    return functional.pad(joined, (0, side - joined.shape[2], 0, side - joined.shape[1]))


def _cropped(image: Tensor, rng: np.random.Generator) -> Tensor:
    """A part of (1, side, side), fitted into the square as `hashing.images.pixels.preprocess` would."""
    side = image.shape[-1]
    height, width = (int(side * share) for share in rng.uniform(0.6, 1.0, 2))
    top, left = rng.integers(0, side - height + 1), rng.integers(0, side - width + 1)
    scale = side / max(height, width)
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    part = image[None, :, top : top + height, left : left + width]
    fitted = functional.interpolate(part, size=shape, mode="bilinear", antialias=True)[0]
    above, before = (side - shape[0]) // 2, (side - shape[1]) // 2
    return functional.pad(fitted, (before, side - shape[1] - before, above, side - shape[0] - above))
