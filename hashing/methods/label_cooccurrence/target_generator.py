"""Targets of classes that a graph network moves, and a record of how they moved."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 128
"""Width of the hidden layer and of learned inputs; the paper does not state any."""
N_MOMENTS = 20
"""Number of equal parts of the training for each of which a history has the targets."""


class TargetGenerator(nn.Module):
    """Two graph convolutions that bend fixed class targets: t_c = o_c + gamma Z2_c.

    Z1 = LeakyReLU_0.2(A Z0 W0) and Z2 = A Z1 W1, with the adjacency A. gamma is learned from 0, so that training begins
    with the fixed targets o_c. The form follows ML-GCN (Chen et al., CVPR 2019, eq. 2); the residual is our choice.

    Parameters
    ----------
    base : (n_labels, code_length)
        Fixed targets o_c of -1 and 1.
    adjacency : (n_labels, n_labels)
        As from `label_graph.adjacency`.
    seed
        Seed of the weights.
    learned_inputs
        Z0 is learned, from orthogonal vectors of `WIDTH`; otherwise Z0 are the fixed targets.
    """

    def __init__(self, base: Tensor, adjacency: Tensor, seed: int, *, learned_inputs: bool) -> None:
        super().__init__()
        n_labels, code_length = base.shape
        draws = torch.Generator().manual_seed(seed)
        self.register_buffer("base", base)
        self.register_buffer("adjacency", adjacency)
        self.base: Tensor
        self.adjacency: Tensor
        self.inputs = None
        if learned_inputs:
            self.inputs = nn.Parameter(nn.init.orthogonal_(torch.empty(n_labels, WIDTH), generator=draws))
        sizes = (WIDTH if learned_inputs else code_length, WIDTH), (WIDTH, code_length)
        first, second = (nn.init.xavier_uniform_(torch.empty(size), generator=draws) for size in sizes)
        self.first, self.second = nn.Parameter(first), nn.Parameter(second)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self) -> Tensor:
        """Real-valued targets t_c, (n_labels, code_length)."""
        inputs = self.base if self.inputs is None else self.inputs
        hidden = functional.leaky_relu(self.adjacency @ inputs @ self.first, 0.2)  # (n_labels, WIDTH)
        return self.base + self.gamma * (self.adjacency @ hidden @ self.second)


def straight_through(values: Tensor) -> Tensor:
    """Signs of real values, 1 for 0, with the gradient of tanh."""
    relaxed = torch.tanh(values)
    return torch.where(values >= 0, 1.0, -1.0) + (relaxed - relaxed.detach())


def image_targets(class_targets: Tensor, labels: Tensor, tie: Tensor) -> Tensor:
    """A binary target for each image: the signs of the sum of its classes' targets, with the gradient of tanh.

    Parameters
    ----------
    class_targets : (n_labels, code_length)
        Real-valued or binary targets t_c.
    labels : (batch, n_labels)
        1 where an image has a label, else 0.
    tie : (code_length,)
        Signs that bits take where the sum is 0, as in CSQ (Yuan et al., CVPR 2020).

    Returns
    -------
    (batch, code_length) of -1 and 1
    """
    votes = labels @ class_targets
    return torch.where(votes == 0, tie, straight_through(votes))


def target_spread(targets: Tensor, similarity: Tensor, attraction: float) -> Tensor:
    """The collapse guard ||T T' - (I + kappa R)||^2 of unit-length targets T: how far their cosines are from wanted.

    Parameters
    ----------
    targets : (n_labels, code_length)
    similarity : (n_labels, n_labels)
        R, 0 to 1, with a diagonal of 0.
    attraction
        kappa: the cosine that is wanted of the likest pair of labels; 0 wants orthogonal targets.

    Returns
    -------
    () scalar
        Sum over all ordered pairs of labels.
    """
    unit = functional.normalize(targets)
    wanted = torch.eye(len(targets), device=targets.device) + attraction * similarity
    return (unit @ unit.T - wanted).square().sum()


class TargetHistory(nn.Module):
    """Signs of the class targets before the training and at the end of each twentieth of it.

    The history is part of the weights: it survives an interruption, and belongs to the epoch whose weights are chosen.

    Parameters
    ----------
    targets : (n_labels, code_length)
        Targets before the training.
    """

    def __init__(self, targets: Tensor) -> None:
        super().__init__()
        self.register_buffer("bits", torch.zeros((N_MOMENTS + 1, *targets.shape), dtype=torch.bool))
        self.register_buffer("recorded", torch.zeros(N_MOMENTS + 1, dtype=torch.bool))
        self.bits: Tensor
        self.recorded: Tensor
        self._write(0, targets)

    def record(self, targets: Tensor, progress: float) -> None:
        """Take the targets at a share of the training, 0 to 1; later ones of the same twentieth replace earlier."""
        self._write(1 + min(int(progress * N_MOMENTS), N_MOMENTS - 1), targets)

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Shares of the training (n,), from 0, and the bits of the targets then (n, n_labels, code_length)."""
        recorded = self.recorded.cpu().numpy()
        return np.flatnonzero(recorded) / N_MOMENTS, self.bits.cpu().numpy()[recorded]

    def _write(self, moment: int, targets: Tensor) -> None:
        with torch.no_grad():
            self.bits[moment] = targets >= 0
            self.recorded[moment] = True
