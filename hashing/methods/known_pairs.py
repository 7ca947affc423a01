"""Objectives of a model for several kinds of image, whose labels come from sets that do not know each other's."""

import torch
from torch import Tensor

from hashing.methods.base import HeadOutputs, Objective, Targets
from hashing.methods.pairs import mean_over, pair_likelihood, product, quantization


class KnownPairLikelihood(Objective):
    """Likelihood of pairs as DPSH has it (Li et al., IJCAI 2016, eq. 5), balanced by class and over sets.

    The last columns of `Targets.labels` are kinds of image, the others labels; each is there where it is above 0. Two
    images of different kinds are unlike. Two of one kind are alike if they share a label, unlike if they share none of
    those that are known of both, and do not count if none is. Pairs of one patient never count. The means over alike
    pairs, over unlike pairs of one kind, and over pairs of different kinds weigh the same, so that none drowns another.

    Parameters
    ----------
    code_length
        Bits.
    n_kinds
        Number of the last columns that are kinds; 0 where all images are of one.
    scale
        Logit of a pair of equal codes of -1 and 1.
    balance
        0: each pair weighs the same. 1: each label does, however rare it is.
    eta
        Weight of the distance of relaxed codes from their signs.
    graded
        Alike pairs weigh by the Jaccard overlap of their labels, in which rare labels count more; otherwise by the
        labels that they share.
    """

    def __init__(
        self,
        code_length: int,
        n_kinds: int,
        scale: float = 3.0,
        balance: float = 0.5,
        eta: float = 0.1,
        *,
        graded: bool = False,
    ) -> None:
        super().__init__()
        self.factor, self.n_kinds, self.graded = scale / code_length, n_kinds, graded
        self.balance, self.eta = balance, eta

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
        """Loss of a batch: a scalar."""
        present = (targets.labels > 0).float()
        n_labels = present.shape[1] - self.n_kinds
        labels, kinds, known = present[:, :n_labels], present[:, n_labels:], targets.known[:, :n_labels]
        counted = (targets.patients[:, None] != targets.patients[None]).float()
        one_kind = kinds @ kinds.T * counted if self.n_kinds else counted
        rarity = labels.sum(dim=0).clamp(min=1) ** -self.balance  # (n_labels,)
        alike = self._alikeness(labels * rarity) * one_kind
        weights = (labels * rarity).sum(dim=1) / labels.sum(dim=1).clamp(min=1)  # (batch,)
        unlike = one_kind * (known @ known.T > 0) * (alike == 0) * weights[:, None] * weights[None]
        logits = self.factor * product(outputs.relaxed)
        parts = [
            mean_over(pair_likelihood(logits, torch.ones_like(logits)), alike),
            mean_over(pair_likelihood(logits, torch.zeros_like(logits)), unlike),
            mean_over(pair_likelihood(logits, torch.zeros_like(logits)), counted * (one_kind == 0)),
        ]
        return torch.stack(parts).mean() + self.eta * quantization(outputs.relaxed)

    def _alikeness(self, weighted: Tensor) -> Tensor:
        """Weight (batch, batch) of each pair as alike, from the weight (batch, n_labels) of each label in an image."""
        shared = weighted @ weighted.T
        if not self.graded:
            return shared
        sizes = weighted.square().sum(dim=1)
        overlap = shared / (sizes[:, None] + sizes[None] - shared).clamp(min=1e-9)
        rarity = (sizes / (weighted > 0).sum(dim=1).clamp(min=1)).sqrt()  # (batch,)
        return overlap * rarity[:, None] * rarity[None]


class Agreement(Objective):
    """Two variations of one image get the same code: mean squared difference of the tanh of their relaxed codes.

    The second half of a batch shows the images of the first half in the same order, varied in another way.
    """

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:  # noqa: ARG002 - reads no labels
        """Loss of a batch: a scalar."""
        first, second = torch.tanh(outputs.relaxed).chunk(2)
        return (first - second).square().mean()
