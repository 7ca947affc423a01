"""Hashing towards fixed, nearly orthogonal class targets, for several code lengths at once.

OrthoHash (Hoe et al., NeurIPS 2021) in its multi-label form, summed over the leading parts of one long code so that
each part is a code of its own.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

CANDIDATES = 2000


class NestedOrthogonalLoss(nn.Module):
    """Cross-entropy of the cosine between a relaxed code and its class targets, at each nested code length.

    Parameters
    ----------
    n_classes
        Number of classes.
    code_lengths
        Nested code lengths, bits; the longest is the network's output.
    scale, margin
        s and m of a_c = s (cos(h, o_c) - m y_c), Hoe et al. eq. 6 and 7.
    seed
        Of the targets.
    """

    def __init__(
        self, n_classes: int, code_lengths: tuple[int, ...], scale: float = 8.0, margin: float = 0.2, seed: int = 0
    ) -> None:
        super().__init__()
        self.code_lengths, self.scale, self.margin = code_lengths, scale, margin
        targets = spread_targets(n_classes, code_lengths, np.random.default_rng(seed))
        self.register_buffer("targets", torch.from_numpy(np.where(targets, 1.0, -1.0).astype(np.float32)))
        self.targets: Tensor

    def forward(self, relaxed: Tensor, weights: Tensor) -> Tensor:
        """Mean loss of a batch.

        Parameters
        ----------
        relaxed : (batch, max(code_lengths))
            Pre-codes.
        weights : (batch, n_classes)
            Share of each class in an image; rows sum to one.

        Returns
        -------
        () scalar
        """
        losses = [
            target_cross_entropy(relaxed[:, :length], self.targets[:, :length], weights, self.scale, self.margin)
            for length in self.code_lengths
        ]
        return torch.stack(losses).mean()


def target_cross_entropy(relaxed: Tensor, targets: Tensor, weights: Tensor, scale: float, margin: float) -> Tensor:
    """Cross-entropy of softmax(s (cos(h, o_c) - m y_c)), Hoe et al. eq. 6 and 7, with a weight for each class.

    Parameters
    ----------
    relaxed, targets : (batch, code_length), (n_classes, code_length)
    weights : (batch, n_classes)
        Share of each class in an image; rows sum to one.

    Returns
    -------
    () scalar
    """
    cosines = functional.normalize(relaxed) @ functional.normalize(targets).T  # (batch, n_classes)
    logits = scale * (cosines - margin * (weights > 0))
    return -(weights * logits.log_softmax(dim=1)).sum(dim=1).mean()


def spread_targets(n_classes: int, code_lengths: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Class targets whose leading bits are far apart at every nested code length.

    Each class takes, of many random candidates, the one whose least Hamming distance to the classes before it and to
    their opposites, as a share of the code length and averaged over the code lengths, is greatest.

    Returns
    -------
    (n_classes, max(code_lengths)) bool
    """
    targets = np.empty((n_classes, max(code_lengths)), bool)
    for row in range(n_classes):
        candidates = rng.random((CANDIDATES, max(code_lengths))) < 0.5
        targets[row] = candidates[np.argmax(_separation(candidates, targets[:row], code_lengths))]
    return targets


def _separation(
    candidates: NDArray[np.bool_], chosen: NDArray[np.bool_], code_lengths: tuple[int, ...]
) -> NDArray[np.float64]:
    if not len(chosen):
        return np.zeros(len(candidates))
    differing = candidates[:, None, :] != chosen[None, :, :]  # (candidates, chosen, bits)
    shares = [differing[:, :, :length].mean(axis=2) for length in code_lengths]
    least = [np.minimum(share, 1 - share).min(axis=1) for share in shares]
    return np.asarray(np.mean(least, axis=0))
