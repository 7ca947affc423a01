"""A finished model, fitted to the images of one site: its trunk stays, its head goes on learning.

With labels, pairs of images that share one come together and others apart. Without labels the head learns from itself:
two variations of an image get the same code. Either way codes stay near those of the model before, so that what it knew
of other images is not lost, and images of a tenth of the patients are kept apart to say whether it was worth it.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hashing.codes import coded
from hashing.data.examples import with_validation
from hashing.evaluation.judgement import judge
from hashing.evaluation.protocol import GroundTruth, by_codes, validation_task
from hashing.methods.base import Head, Nested, Objective, Sum, Targets
from hashing.methods.known_pairs import Agreement, KnownPairLikelihood
from hashing.model.network import HashNetwork, resized
from hashing.progress import progress
from hashing.training.augmentation import vary
from hashing.training.like_before import HeadWithMemory, LikeBefore
from hashing.training.loop import Learner, Schedule, TrainingBatch, fit

ENCODED_TOGETHER = 16
MIN_LABELLED = 2
"""Validation images with labels that are needed to say how well a model retrieves."""


@dataclass(frozen=True, slots=True)
class SiteImages:
    """Images of a site.

    Attributes
    ----------
    images : (n, 224, 224) uint8
        As `hashing.images.pixels.preprocess` makes them.
    modalities
        Modality (0008,0060) of each image.
    patients
        Patient of each image.
    labels
        Labels of each image; empty where none are known.
    """

    images: NDArray[np.uint8]
    modalities: tuple[str, ...]
    patients: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]

    @property
    def truth(self) -> GroundTruth:
        """Labels, patients and parts: a tenth of the patients are for validation."""
        names = tuple(sorted({label for some in self.labels for label in some}))
        rows = np.zeros((len(self.labels), len(names)), bool)
        for row, some in zip(rows, self.labels, strict=True):
            row[[names.index(name) for name in some]] = True
        splits = np.array([with_validation(patient, "train") for patient in self.patients])
        return GroundTruth(rows, names, np.array(self.patients), splits, np.array(self.modalities))


@dataclass(frozen=True, slots=True)
class FineTuning:
    """How long and how fast to learn, and how much each part counts.

    Attributes
    ----------
    steps, batch, learning_rate
        Length and height of the schedule. A batch shows each of its images twice, in two variations.
    pairs, agreement, before
        Weights of `KnownPairLikelihood`, of `Agreement`, and of `LikeBefore`.
    seed
        Seed of draws and variations.
    """

    steps: int = 500
    batch: int = 64
    learning_rate: float = 3e-4
    pairs: float = 1.0
    agreement: float = 1.0
    before: float = 2.0
    seed: int = 0


def fine_tune(network: HashNetwork, code_lengths: tuple[int, ...], site: SiteImages, how: FineTuning) -> HashNetwork:
    """The network with a head that learned from the training part of a site's images; class scores stay as they are.

    Parameters
    ----------
    code_lengths
        Nested lengths of the learned bits; the longest is that of the head's codes.

    Raises
    ------
    ValueError
        There are too few images to learn from.
    """
    torch.manual_seed(how.seed)
    truth = site.truth
    rows = truth.part("train")
    if len(rows) < 2:
        raise ValueError(f"{len(rows)} images to learn from: index more, or label more of them")
    head = deepcopy(network.head).requires_grad_()
    kept = [part for name, part in head.named_children() if name in ("classifier", "standardised")]
    trunk = network.trunk.eval()
    learner = Learner(nn.Identity(), HeadWithMemory(head, network.head), _objective(code_lengths, site, how), kept)
    source = _Source(trunk, network.input_size, head, site, how)
    fit(learner, Schedule(1, how.learning_rate, 0.0, 1e-4, patience=0), how.steps, source, lambda _: 0.0, how.seed)
    return HashNetwork(network.trunk, head.eval().requires_grad_(requires_grad=False), network.input_size).eval()


def score(network: HashNetwork, site: SiteImages) -> float | None:
    """MAP of the codes among labelled validation images of different patients; None where there are too few."""
    truth = site.truth
    rows = truth.part("validation")
    if not truth.names or truth.labels[rows].any(axis=1).sum() < MIN_LABELLED:
        return None
    relaxed = np.zeros((len(site.images), network.code_length), np.float32)
    for start in range(0, len(rows), ENCODED_TOGETHER):
        some = rows[start : start + ENCODED_TOGETHER]
        with torch.inference_mode():
            outputs = network(torch.from_numpy(site.images[some]).unsqueeze(1))
        relaxed[some] = outputs[:, : network.code_length].numpy()
    values = judge(validation_task(truth), by_codes(coded(relaxed)))["MAP"]
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _objective(code_lengths: tuple[int, ...], site: SiteImages, how: FineTuning) -> Objective:
    n_kinds = len(set(site.modalities))
    parts: list[tuple[float, Objective]] = [(how.agreement, Agreement()), (how.before, LikeBefore())]
    if any(site.labels):
        pairs = Nested(lambda length: KnownPairLikelihood(length, n_kinds, graded=True), code_lengths)
        parts.append((how.pairs, pairs))
    return Sum(parts)


class _Source:
    """Batches of maps of a site's images, each image as it is and varied."""

    def __init__(self, trunk: nn.Module, size: int, head: Head, site: SiteImages, how: FineTuning) -> None:
        self.trunk, self.size, self.strides, self.site, self.how = trunk, size, head.strides, site, how
        truth = site.truth
        self.rows = truth.part("train")
        kinds, kind = np.unique(np.array(site.modalities), return_inverse=True)
        columns = np.column_stack([truth.labels, np.eye(len(kinds), dtype=bool)[kind]])
        said = np.tile(np.asarray(truth.labels.any(axis=1)), (truth.labels.shape[1], 1)).T  # of the labels of its image
        self.labels = torch.from_numpy(columns.astype(np.float32))
        self.known = torch.from_numpy(np.column_stack([said, np.ones((len(kind), len(kinds)))]).astype(np.float32))
        self.patients = torch.from_numpy(np.unique(truth.groups, return_inverse=True)[1])

    def __call__(self, epoch: int) -> Iterator[TrainingBatch]:
        """The batches of an epoch."""
        rng = np.random.default_rng((self.how.seed, epoch))
        size = min(self.how.batch // 2, len(self.rows))
        for _ in progress(range(self.how.steps), "fine-tuning", self.how.steps):
            rows = rng.choice(self.rows, size, replace=False)
            images = torch.from_numpy(self.site.images[rows]).unsqueeze(1).float()
            twice = np.tile(rows, 2)
            targets = Targets(self.labels[twice], self.known[twice], self.patients[twice])
            yield TrainingBatch(
                self._maps(torch.cat([resized(images, self.size), vary(images, self.size, rng)])), targets
            )

    def _maps(self, images: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():  # not inference mode: the head's gradient passes through what is made here
            maps: tuple[Tensor, ...] = self.trunk.maps(images, self.strides)  # type: ignore[operator]
        return maps
