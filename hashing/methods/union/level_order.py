"""An objective for sections through a body: what lies near in the body shall have codes that are near."""

import torch
from torch import Tensor
from torch.nn import functional

from hashing.methods.base import HeadOutputs, Objective, Targets
from hashing.methods.pairs import mean_over, product


class LevelOrder(Objective):
    """Among sections of other patients, the one at the nearer level has the nearer code.

    For an anchor a, and two sections p and n of other patients and of its kind whose levels are nearer and farther by
    at least `margin`: -log sigmoid(f (u_a u_p - u_a u_n)), the likelihood of triplets of DTSH (Wang, Shi and Kitani,
    ACCV 2016, eq. 4), for which levels take the place of labels. Images whose level is not known do not count.

    Parameters
    ----------
    code_length
        Bits.
    n_kinds
        Number of the last columns of the labels that are kinds: levels are compared within a kind.
    margin
        Least difference of the two distances in level; levels are shares of the length of the region.
    scale
        f, times the code length.
    """

    def __init__(self, code_length: int, n_kinds: int, margin: float = 0.1, scale: float = 6.0) -> None:
        super().__init__()
        self.factor, self.n_kinds, self.margin = scale / code_length, n_kinds, margin

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
        """Loss of a batch: a scalar; 0 where no three sections can be compared."""
        if targets.levels is None:
            return outputs.relaxed.new_zeros(())
        rows = torch.isfinite(targets.levels).nonzero()[:, 0]
        levels, patients = targets.levels[rows], targets.patients[rows]
        kinds = (targets.labels[rows][:, targets.labels.shape[1] - self.n_kinds :] > 0).float()
        alike = self.factor * product(torch.tanh(outputs.relaxed[rows]))  # (sections, sections)
        apart = (levels[:, None] - levels[None]).abs()
        counted = (patients[:, None] != patients[None]) & (kinds @ kinds.T > 0)
        nearer = apart[:, :, None] + self.margin < apart[:, None, :]  # (anchor, p, n)
        weights = (nearer & counted[:, :, None] & counted[:, None, :]).to(alike.dtype)
        return mean_over(functional.softplus(alike[:, None, :] - alike[:, :, None]), weights)
