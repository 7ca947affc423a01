"""Baselines that pull codes towards fixed targets of the classes: CSQ and OrthoHash."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hashing.methods.base import Setting
from hashing.methods.orthogonal import signs, target_cross_entropy
from hashing.methods.pairs import quantization


class CentralSimilarityQuantization(nn.Module):
    """CSQ: each bit is classified towards the image's hash centre (Yuan et al., CVPR 2020, eq. 5 to 7).

    The centre of an image with several labels is the majority of theirs, bit by bit; ties follow a random sign vector.
    """

    def __init__(self, setting: Setting, eta: float = 1e-4) -> None:
        super().__init__()
        self.eta = eta
        rng = np.random.default_rng(setting.seed)
        self.register_buffer("centres", signs(class_targets(setting.labels.shape[1], setting.code_length, rng)))
        self.register_buffer("tie", signs(rng.random(setting.code_length) < 0.5))
        self.centres: Tensor
        self.tie: Tensor

    def forward(self, relaxed: Tensor, labels: Tensor, patients: Tensor) -> Tensor:  # noqa: ARG002 - as all objectives
        """Loss of a batch."""
        votes = labels @ self.centres
        centre = torch.where(votes == 0, self.tie, votes.sign())
        # tanh and a binary cross-entropy of (u + 1) / 2 are one sigmoid of 2 h
        classifying = functional.binary_cross_entropy_with_logits(2 * relaxed, (centre + 1) / 2)
        return classifying + self.eta * quantization(relaxed.tanh())


class OrthoHash(nn.Module):
    """OrthoHash: cross-entropy of the cosine to orthogonal class targets (Hoe et al., NeurIPS 2021, eq. 6 and 7)."""

    def __init__(self, setting: Setting, scale: float = 8.0, margin: float = 0.2) -> None:
        super().__init__()
        self.scale, self.margin = scale, margin
        rng = np.random.default_rng(setting.seed)
        self.register_buffer("targets", signs(class_targets(setting.labels.shape[1], setting.code_length, rng)))
        self.targets: Tensor

    def forward(self, relaxed: Tensor, labels: Tensor, patients: Tensor) -> Tensor:  # noqa: ARG002 - as all objectives
        """Loss of a batch; images without a label have none."""
        labelled = labels.any(dim=1)
        weights = labels[labelled] / labels[labelled].sum(dim=1, keepdim=True)
        return target_cross_entropy(relaxed[labelled], self.targets, weights, self.scale, self.margin)


def class_targets(n_classes: int, code_length: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Orthogonal targets: rows of a Hadamard matrix in random order, with random columns inverted.

    Inverting columns keeps rows orthogonal. The constant row is left out: it would give every bit one value.

    Returns
    -------
    (n_classes, code_length) bool

    Raises
    ------
    ValueError
        There are not as many orthogonal rows.
    """
    matrix = hadamard(code_length)
    if n_classes > code_length - 1:
        raise ValueError(f"{n_classes} classes have no orthogonal targets of {code_length} bits: use longer codes")
    rows = 1 + rng.permutation(code_length - 1)[:n_classes]
    return np.asarray(matrix[rows] ^ (rng.random(code_length) < 0.5))


def hadamard(order: int) -> NDArray[np.bool_]:
    """Hadamard matrix with True for -1 whose first row is constant: Sylvester's doubling of Paley's construction.

    Raises
    ------
    ValueError
        The order is not a power of two times 1 or (a prime that leaves 3 when divided by 4) + 1.
    """
    if order == 1:
        return np.zeros((1, 1), bool)
    prime = order - 1
    if order % 4 == 0 and all(prime % divisor for divisor in range(2, int(prime**0.5) + 1)):
        return _paley(prime)
    if order % 2:
        raise ValueError(f"no Hadamard matrix of order {order} is known here: use 16, 32, 48, 64 or 128 bits")
    half = hadamard(order // 2)
    return np.block([[half, half], [half, ~half]])


def _paley(prime: int) -> NDArray[np.bool_]:
    """Paley's first construction from the quadratic residues modulo a prime = 3 (mod 4)."""
    squares = [value * value % prime for value in range(prime)]  # with zero, so that the diagonal is +1
    differences = (np.arange(prime)[None] - np.arange(prime)[:, None]) % prime
    core = np.isin(differences, squares, invert=True)
    matrix = np.zeros((prime + 1, prime + 1), bool)
    matrix[1:, 1:] = core
    matrix[1:, 0] = True
    return matrix
