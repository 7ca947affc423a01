"""Hashing towards fixed, nearly orthogonal class targets.

OrthoHash (Hoe et al., NeurIPS 2021) in its multi-label form; with nested targets also for the leading parts of a code.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hashing.methods.base import HeadOutputs, Nested, Objective, Targets

N_CANDIDATES = 2000
"""Random candidates for each target in `spread_targets`."""


class TargetCrossEntropy(Objective):
    """Cross-entropy of the cosine between a relaxed code and the targets of its classes.

    `Targets.labels` are the shares of the classes in each image; rows sum to one.

    Parameters
    ----------
    targets : (n_classes, code_length) bool
        Target of each class.
    scale, margin
        s and m of a_c = s (cos(h, o_c) - m y_c), Hoe et al. eq. 6 and 7.
    """

    def __init__(self, targets: NDArray[np.bool_], scale: float = 8.0, margin: float = 0.2) -> None:
        super().__init__()
        self.scale, self.margin = scale, margin
        self.register_buffer("targets", signs(targets))
        self.targets: Tensor

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
        """Loss of a batch: a scalar."""
        return target_cross_entropy(outputs.relaxed, self.targets, targets.labels, self.scale, self.margin)


def nested_target_cross_entropy(n_classes: int, code_lengths: tuple[int, ...], seed: int) -> Nested:
    """`TargetCrossEntropy` at each nested code length, with targets whose leading bits serve the shorter lengths."""
    targets = spread_targets(n_classes, code_lengths, np.random.default_rng(seed))
    return Nested(lambda length: TargetCrossEntropy(targets[:, :length]), code_lengths)


def target_cross_entropy(relaxed: Tensor, targets: Tensor, weights: Tensor, scale: float, margin: float) -> Tensor:
    """Cross-entropy of softmax(s (cos(h, o_c) - m y_c)), with a weight for each class.

    Parameters
    ----------
    relaxed : (batch, code_length)
        Relaxed codes h.
    targets : (n_classes, code_length)
        Class targets o_c of -1 and 1.
    weights : (batch, n_classes)
        Share of each class in an image; rows sum to one. y_c is 1 where the share is positive.
    scale, margin
        s and m.

    Returns
    -------
    () scalar
        Mean over the batch.

    References
    ----------
    Hoe et al., NeurIPS 2021, eq. 6 and 7.
    """
    cosines = functional.normalize(relaxed) @ functional.normalize(targets).T  # (batch, n_classes)
    logits = scale * (cosines - margin * (weights > 0))
    return -(weights * logits.log_softmax(dim=1)).sum(dim=1).mean()


def spread_targets(n_classes: int, code_lengths: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Class targets whose leading bits are far apart at every nested code length.

    Each class takes the best of many random candidates. A candidate is as good as its least Hamming distance to the
    targets before it and to their opposites, as a share of the code length and averaged over the code lengths.

    Returns
    -------
    (n_classes, max(code_lengths)) bool
    """
    targets = np.empty((n_classes, max(code_lengths)), bool)
    for row in range(n_classes):
        candidates = rng.random((N_CANDIDATES, max(code_lengths))) < 0.5
        targets[row] = candidates[np.argmax(_separation(candidates, targets[:row], code_lengths))]
    return targets


def signs(bits: NDArray[np.bool_]) -> Tensor:
    """Bits as float: 1 for True, -1 for False."""
    return torch.from_numpy(np.where(bits, 1.0, -1.0).astype(np.float32))


def _separation(
    candidates: NDArray[np.bool_], chosen: NDArray[np.bool_], code_lengths: tuple[int, ...]
) -> NDArray[np.float64]:
    if not len(chosen):
        return np.zeros(len(candidates))
    differing = candidates[:, None, :] != chosen[None, :, :]  # (candidates, chosen, bits)
    shares = [differing[:, :, :length].mean(axis=2) for length in code_lengths]
    least = [np.minimum(share, 1 - share).min(axis=1) for share in shares]
    return np.asarray(np.mean(least, axis=0))
