"""Pairs of images of a batch: how alike they are, how much they weigh, and how likely they are.

Pairs of images of one patient never count: codes shall not learn who somebody is.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


class Pairs(NamedTuple):
    """All pairs of a batch, as three tensors (batch, batch).

    Attributes
    ----------
    similar
        1 where the two images share a label, else 0.
    overlap
        Jaccard overlap of their labels.
    counted
        1 where the two images are of different patients, else 0.
    """

    similar: Tensor
    overlap: Tensor
    counted: Tensor


def pairs(labels: Tensor, patients: Tensor) -> Pairs:
    """How alike the images of a batch are, from labels (batch, n_labels) of 0 and 1 and patients (batch,)."""
    shared = labels @ labels.T
    sizes = labels.sum(dim=1)
    either = sizes[:, None] + sizes[None] - shared
    different = (patients[:, None] != patients[None]).to(labels.dtype)
    return Pairs((shared > 0).to(labels.dtype), shared / either.clamp(min=1), different)


def mean_over(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of the values; 0 where all weights are 0."""
    return (values * weights).sum() / weights.sum().clamp(min=1e-9)


def similar_share(labels: NDArray[np.bool_]) -> float:
    """Share of similar pairs among all pairs of training images with labels (n, n_labels)."""
    sets, counts = np.unique(labels, axis=0, return_counts=True)  # far fewer label sets than images
    similar = (sets.astype(np.int64) @ sets.T.astype(np.int64)) > 0
    shares = counts / counts.sum()
    return float(np.clip(shares @ similar @ shares, 1e-6, 1 - 1e-6))


def balanced_weights(likeness: Pairs, share: float) -> Tensor:
    """Weights (batch, batch) that make up for the rarity of similar pairs.

    Similar pairs weigh overlap / share, all others 1 / (1 - share). The share of similar pairs is that of the training
    set: the share of a batch is noisy, and may be zero. Read literally, the overlap of the paper would silence all
    dissimilar pairs.

    References
    ----------
    Cao et al., HashNet, ICCV 2017, eq. 4.
    """
    similar = likeness.similar * likeness.overlap / share
    return likeness.counted * (similar + (1 - likeness.similar) / (1 - share))


def pair_likelihood(logits: Tensor, similar: Tensor) -> Tensor:
    """Negative log likelihood -(s x - log(1 + e^x)) of each pair, with logits x and similarity s, without overflow."""
    return functional.softplus(logits) - similar * logits


def product(relaxed: Tensor) -> Tensor:
    """Inner products (batch, batch) of all pairs of relaxed codes."""
    return relaxed @ relaxed.T


def quantization(relaxed: Tensor) -> Tensor:
    """Mean squared distance of relaxed codes from their signs, per bit."""
    return (relaxed.abs() - 1).square().mean()


def bimodal_prior(codes: Tensor) -> Tensor:
    """Mean of log cosh(|u| - 1) over relaxed codes in (-1, 1), a smooth distance from -1 or 1.

    References
    ----------
    Zhu et al., Deep Hashing Network, AAAI 2016, eq. 7.
    """
    return torch.log(torch.cosh(codes.abs() - 1)).mean()


def cosines(vectors: Tensor) -> Tensor:
    """Cosines (batch, batch) of all pairs of vectors (batch, n)."""
    unit = functional.normalize(vectors)
    return torch.mm(unit, unit.T)
