"""Variations of training images: resolution and JPEG quality."""

import numpy as np
import pytest
import torch
from torch import Tensor

from hashing.training import augmentation
from hashing.training.augmentation import degrade, vary


def stripes(n: int, side: int = 224) -> Tensor:
    """Images whose columns alternate between black and white: nothing of them is left at a lower resolution."""
    columns = torch.arange(side) % 2 * 255.0
    return columns.expand(n, 1, side, side).clone()


def test_degraded_images_keep_their_size_and_range_and_vary_in_resolution() -> None:
    images = stripes(40)

    degraded = degrade(images, np.random.default_rng(0))

    assert degraded.shape == images.shape
    assert degraded.min() >= 0
    assert degraded.max() <= 255
    contrast = degraded.std(dim=(1, 2, 3))
    assert contrast.min() < 20  # of a low resolution
    assert contrast.max() > 2 * contrast.min()


def test_one_generator_degrades_images_in_one_way() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 1, 64, 64)).astype(np.float32))

    first, same, other = (degrade(images, np.random.default_rng(seed)) for seed in (1, 1, 2))

    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_resolutions_and_qualities_cover_their_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def listening(image: Tensor, quality: int) -> Tensor:
        seen.append((image.shape[-1], quality))
        return image

    monkeypatch.setattr(augmentation, "_compressed", listening)
    degrade(stripes(400), np.random.default_rng(0))

    sides, qualities = zip(*seen, strict=True)
    assert 48 <= min(sides) < 52
    assert 215 < max(sides) <= 224
    assert (min(qualities), max(qualities)) == (40, 95)


def test_every_variation_degrades_the_images_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentation, "degrade", lambda images, _: torch.zeros_like(images))

    varied = vary(stripes(2), 96, np.random.default_rng(0))

    assert varied.shape == (2, 1, 96, 96)
    assert torch.all(varied == 0)
