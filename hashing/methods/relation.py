"""An objective that keeps codes apart whose features are unlike."""

import torch
from torch import Tensor

from hashing.methods.base import HeadOutputs, Objective, Targets
from hashing.methods.pairs import cosines


class Relation(Objective):
    """Distances of codes follow those of the features that the head saw."""

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:  # noqa: ARG002 - reads no labels
        """Loss of a batch: a scalar."""
        assert outputs.features is not None
        return relation_loss(outputs.relaxed, outputs.features)


def relation_loss(relaxed: Tensor, features: Tensor) -> Tensor:
    """How far cosines of codes are from cosines of features.

    Parameters
    ----------
    relaxed : (batch, code_length)
    features : (batch, n_features)
        Standardised.

    Returns
    -------
    () scalar
        Mean squared difference over all pairs.

    References
    ----------
    Relational knowledge distillation, Park et al., CVPR 2019, on cosines.
    """
    return (cosines(torch.tanh(relaxed)) - cosines(features)).square().mean()
