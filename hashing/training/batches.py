"""Where a learner's batches come from: cached maps, or images varied anew in each epoch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashing.data.datasets import Dataset
from hashing.evaluation.protocol import GroundTruth, Rows
from hashing.methods.base import HeadOutputs, Targets
from hashing.model.network import resized
from hashing.progress import progress
from hashing.training.augmentation import vary
from hashing.training.loop import Learner, TrainingBatch
from hashing.training.sampling import apart, balanced, uniform

ENCODING_BATCH = 64


@dataclass(frozen=True, slots=True)
class Sampling:
    """How batches are drawn.

    Attributes
    ----------
    name
        "uniform", "balanced" or "apart", as in `hashing.training.sampling`.
    batch
        Images of a batch.
    seed
        Seed of the draws.
    """

    name: str
    batch: int
    seed: int

    def rows(self, truth: GroundTruth, rows: Rows, epoch: int) -> list[Rows]:
        """The rows of each batch of an epoch; the same epoch gives the same rows.

        Raises
        ------
        ValueError
            Sampling has another name.
        """
        rng = np.random.default_rng((self.seed, epoch))
        if self.name == "uniform":
            return list(uniform(rows, self.batch, rng))
        if self.name in ("balanced", "apart"):
            groups = np.unique(truth.groups, return_inverse=True)[1]
            draw = balanced if self.name == "balanced" else apart
            return list(draw(rows, truth.labels, groups, self.batch, rng))
        raise ValueError(f"sampling is {self.name!r}: choose uniform, balanced or apart")


class Source(Protocol):
    """Batches for training, and inputs for encoding.

    Attributes
    ----------
    truth
        What is known of all images.
    steps
        Batches of an epoch.
    """

    truth: GroundTruth
    steps: int

    def __call__(self, epoch: int) -> Iterator[TrainingBatch]:
        """The batches of an epoch."""

    def inputs(self, rows: Rows) -> Iterator[tuple[Tensor, ...]]:
        """The learner's inputs for some images, unvaried, in parts."""


class MapSource:
    """Batches of cached features or maps.

    Parameters
    ----------
    maps
        Arrays (views, n, ...) as the head reads them: the pooled features alone, or maps at each of its strides.
        Batches draw a view of each image; view 0, of the images as they are, serves encoding.
    rows
        Rows to train on.
    """

    def __init__(
        self, maps: Sequence[NDArray[np.floating]], truth: GroundTruth, rows: Rows, sampling: Sampling
    ) -> None:
        self.maps, self.truth, self.rows, self.sampling = tuple(maps), truth, rows, sampling
        self.steps = max(1, len(rows) // sampling.batch)
        self.targets = targets_of(truth)

    def __call__(self, epoch: int) -> Iterator[TrainingBatch]:
        """The batches of an epoch."""
        rng = np.random.default_rng((self.sampling.seed, epoch, 2))
        for rows in self.sampling.rows(self.truth, self.rows, epoch):
            views = rng.integers(len(self.maps[0]), size=len(rows))
            yield TrainingBatch(self._tensors(views, rows), targets_at(self.targets, rows))

    def inputs(self, rows: Rows) -> Iterator[tuple[Tensor, ...]]:
        """Maps of some images; features, which are small, in one part."""
        small = all(array.ndim == 3 for array in self.maps)
        for part in [rows] if small else np.array_split(rows, max(1, -(-len(rows) // ENCODING_BATCH))):
            yield self._tensors(np.zeros(len(part), np.int64), part)

    def _tensors(self, views: Rows, rows: Rows) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(np.asarray(array[views, rows], np.float32)) for array in self.maps)


class ImageSource:
    """Batches of images, each varied as `hashing.training.augmentation.vary` does.

    Parameters
    ----------
    rows
        Rows to train on.
    size
        Side of the images, pixels.
    """

    def __init__(self, dataset: Dataset, truth: GroundTruth, rows: Rows, size: int, sampling: Sampling) -> None:
        self.dataset, self.truth, self.rows, self.size, self.sampling = dataset, truth, rows, size, sampling
        self.steps = max(1, len(rows) // sampling.batch)
        self.targets = targets_of(truth)

    def __call__(self, epoch: int) -> Iterator[TrainingBatch]:
        """The batches of an epoch."""
        rng = np.random.default_rng((self.sampling.seed, epoch, 1))
        drawn = self.sampling.rows(self.truth, self.rows, epoch)
        for rows in progress(drawn, f"epoch {epoch + 1}, {self.size} px", len(drawn)):
            pictures = torch.from_numpy(self.dataset.images[rows]).unsqueeze(1).float()
            varied = vary(pictures, self.size, rng).to(memory_format=torch.channels_last)
            yield TrainingBatch((varied,), targets_at(self.targets, rows))

    def inputs(self, rows: Rows) -> Iterator[tuple[Tensor, ...]]:
        """Images without variation."""
        for images in image_tensors(self.dataset, rows, self.size):
            yield (images,)


def relaxed_codes(learner: Learner, source: Source, rows: Rows) -> NDArray[np.float32]:
    """Relaxed codes (n, code_length) of some images."""
    return np.concatenate([outputs.relaxed.float().cpu().numpy() for outputs in head_outputs(learner, source, rows)])


def class_logits(learner: Learner, source: Source, rows: Rows) -> NDArray[np.float32]:
    """Logits (n, n_labels) of some images."""
    parts = [outputs.logits for outputs in head_outputs(learner, source, rows)]
    return np.concatenate([part.float().cpu().numpy() for part in parts if part is not None])


def head_outputs(learner: Learner, source: Source, rows: Rows) -> Iterator[HeadOutputs]:
    """What a learner makes of some images, in parts."""
    learner.eval()
    device = next(learner.head.parameters()).device
    for inputs in source.inputs(rows):
        with torch.inference_mode():
            yield learner(tuple(tensor.to(device) for tensor in inputs))


def targets_of(truth: GroundTruth) -> Targets:
    """Targets of all images of a set, whose labels are all known."""
    labels = torch.from_numpy(truth.labels).float()
    patients = torch.from_numpy(np.unique(truth.groups, return_inverse=True)[1])
    return Targets(labels, torch.ones_like(labels), patients)


def targets_at(targets: Targets, rows: Rows) -> Targets:
    """Targets of some images."""
    chosen = torch.from_numpy(rows)
    return Targets(targets.labels[chosen], targets.known[chosen], targets.patients[chosen])


def image_tensors(dataset: Dataset, rows: Rows, size: int) -> Iterator[Tensor]:
    """Batches of images as networks take them: (batch, 1, size, size), 0 to 255."""
    for batch in np.array_split(rows, max(1, -(-len(rows) // ENCODING_BATCH))):
        yield scaled(torch.from_numpy(dataset.images[batch]).unsqueeze(1), size)


def scaled(images: Tensor, size: int) -> Tensor:
    """Images (batch, 1, side, side) as (batch, 1, size, size), laid out for convolution."""
    return resized(images, size).to(memory_format=torch.channels_last)
