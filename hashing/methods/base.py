"""What the objectives of all hashing methods share.

An objective is a module: relaxed codes (batch, code_length), labels (batch, n_labels) of 0 and 1, and patients (batch,)
to a scalar. Pairs of images of one patient never count: codes shall not learn who somebody is.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Setting:
    """What an objective may know before training.

    Attributes
    ----------
    labels : (n, n_labels) bool
        Of the training images.
    seed
        Of everything random in the method: targets, projections.
    """

    code_length: int
    labels: NDArray[np.bool_]
    seed: int


class Pairs(NamedTuple):
    """Pairs of a batch: (batch, batch) each.

    Attributes
    ----------
    similar
        1 where the two share a label.
    overlap
        Jaccard overlap of their labels.
    counted
        1 where they are of different patients.
    """

    similar: Tensor
    overlap: Tensor
    counted: Tensor


def pairs(labels: Tensor, groups: Tensor) -> Pairs:
    """How alike the images of a batch are."""
    shared = labels @ labels.T
    sizes = labels.sum(dim=1)
    either = sizes[:, None] + sizes[None] - shared
    different = (groups[:, None] != groups[None]).to(labels.dtype)
    return Pairs((shared > 0).to(labels.dtype), shared / either.clamp(min=1), different)


def mean_over(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean; 0 where all weights are 0."""
    return (values * weights).sum() / weights.sum().clamp(min=1e-9)


def similar_share(labels: NDArray[np.bool_]) -> float:
    """Share of similar pairs among all pairs of training images, counted over distinct label sets."""
    sets, counts = np.unique(labels, axis=0, return_counts=True)
    similar = (sets.astype(np.int64) @ sets.T.astype(np.int64)) > 0
    shares = counts / counts.sum()
    return float(np.clip(shares @ similar @ shares, 1e-6, 1 - 1e-6))


def balanced_weights(likeness: Pairs, share: float) -> Tensor:
    """Weights of pairs after Cao et al., HashNet (ICCV 2017), eq. 4, that make up for the rarity of similar ones.

    Similar pairs weigh overlap / share, others 1 / (1 - share), with the share of similar pairs in the training set:
    that of a batch is noisy, and may be zero. Read literally, the paper's overlap would silence all dissimilar pairs.
    """
    similar = likeness.similar * likeness.overlap / share
    return likeness.counted * (similar + (1 - likeness.similar) / (1 - share))


def pair_likelihood(logits: Tensor, similar: Tensor) -> Tensor:
    """Negative log likelihood of each pair, -(s x - log(1 + e^x)), without overflow."""
    return functional.softplus(logits) - similar * logits


def product(relaxed: Tensor) -> Tensor:
    """Inner products of all pairs of relaxed codes."""
    return relaxed @ relaxed.T


def quantization(relaxed: Tensor) -> Tensor:
    """Mean squared distance of relaxed codes from their signs, per bit."""
    return (relaxed.abs() - 1).square().mean()


def generator(seed: int) -> torch.Generator:
    """Random numbers that depend on the seed alone."""
    return torch.Generator().manual_seed(seed)
