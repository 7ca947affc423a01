"""Where a learner's batches come from: cached features, or images varied anew in each epoch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hashing.data.datasets import Dataset
from hashing.evaluation.protocol import Rows, Truth
from hashing.progress import progress
from hashing.training.augmentation import vary
from hashing.training.loop import Batch, Learner
from hashing.training.sampling import balanced, uniform

ENCODING_BATCH = 64


@dataclass(frozen=True, slots=True)
class Draw:
    """How batches are drawn: "uniform" or "balanced" sampling, their size, and the seed."""

    sampling: str
    batch: int
    seed: int

    def rows(self, truth: Truth, rows: Rows, epoch: int) -> list[Rows]:
        """The rows of each batch of an epoch, the same for the same epoch.

        Raises
        ------
        ValueError
            Sampling has another name.
        """
        rng = np.random.default_rng((self.seed, epoch))
        if self.sampling == "uniform":
            return list(uniform(rows, self.batch, rng))
        if self.sampling == "balanced":
            groups = np.unique(truth.groups, return_inverse=True)[1]
            return list(balanced(rows, truth.labels, groups, self.batch, rng))
        raise ValueError(f"sampling is {self.sampling!r}: choose uniform or balanced")


class Source(Protocol):
    """Batches for training, and inputs for encoding."""

    truth: Truth
    steps: int

    def __call__(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch."""

    def inputs(self, rows: Rows) -> Iterator[Tensor]:
        """What the learner sees of some images, unvaried, in parts."""


class FeatureSource:
    """Batches of cached features.

    Parameters
    ----------
    values : (n, n_features) float32
    rows
        Those to train on.
    """

    def __init__(self, values: NDArray[np.float32], truth: Truth, rows: Rows, draw: Draw) -> None:
        self.truth, self.rows, self.draw = truth, rows, draw
        self.steps = max(1, len(rows) // draw.batch)
        self.values = torch.from_numpy(values)
        self.labels, self.groups = _targets(truth)

    def __call__(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch."""
        for rows in map(torch.from_numpy, self.draw.rows(self.truth, self.rows, epoch)):
            yield Batch(self.values[rows], self.labels[rows], self.groups[rows])

    def inputs(self, rows: Rows) -> Iterator[Tensor]:
        """Features of some images, in one part."""
        yield self.values[torch.from_numpy(rows)]


class ImageSource:
    """Batches of images, each varied as `hashing.training.augmentation.vary` does.

    Parameters
    ----------
    rows
        Those to train on.
    size
        Side of the images, pixels.
    """

    def __init__(self, dataset: Dataset, truth: Truth, rows: Rows, size: int, draw: Draw) -> None:
        self.dataset, self.truth, self.rows, self.size, self.draw = dataset, truth, rows, size, draw
        self.steps = max(1, len(rows) // draw.batch)
        self.labels, self.groups = _targets(truth)

    def __call__(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch."""
        rng = np.random.default_rng((self.draw.seed, epoch, 1))
        drawn = self.draw.rows(self.truth, self.rows, epoch)
        for rows in progress(drawn, f"epoch {epoch + 1}, {self.size} px", len(drawn)):
            pictures = torch.from_numpy(self.dataset.images[rows]).unsqueeze(1).float()
            varied = vary(pictures, self.size, rng).to(memory_format=torch.channels_last)
            yield Batch(varied, self.labels[rows], self.groups[rows])

    def inputs(self, rows: Rows) -> Iterator[Tensor]:
        """Images without variation."""
        return image_tensors(self.dataset, rows, self.size)


def relaxed_codes(learner: Learner, source: Source, rows: Rows) -> NDArray[np.float32]:
    """What a learner makes of some images: (n, code_length)."""
    learner.eval()
    device = next(learner.head.parameters()).device
    with torch.inference_mode():
        parts = [learner(inputs.to(device)).float().cpu() for inputs in source.inputs(rows)]
    return np.asarray(torch.cat(parts).numpy())


def image_tensors(dataset: Dataset, rows: Rows, size: int) -> Iterator[Tensor]:
    """Batches of images as networks take them: (batch, 1, size, size), 0 to 255."""
    for batch in np.array_split(rows, max(1, -(-len(rows) // ENCODING_BATCH))):
        yield scaled(torch.from_numpy(dataset.images[batch]).unsqueeze(1).float(), size)


def scaled(images: Tensor, size: int) -> Tensor:
    """Images (batch, 1, side, side) as (batch, 1, size, size), laid out for convolution."""
    resized = functional.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    return resized.to(memory_format=torch.channels_last)


def _targets(truth: Truth) -> tuple[Tensor, Tensor]:
    groups = np.unique(truth.groups, return_inverse=True)[1]
    return torch.from_numpy(truth.labels).float(), torch.from_numpy(groups)
