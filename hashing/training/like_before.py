"""A head that goes on learning and stays near what it was."""

import torch
from torch import Tensor

from hashing.methods.base import Head, HeadOutputs, Objective, Targets


class LikeBefore(Objective):
    """Relaxed codes stay near those that the head gave before training: mean squared difference of their tanh.

    The head of before reads the same maps; `HeadWithMemory` gives its codes as the output `features`.
    """

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:  # noqa: ARG002 - reads no labels
        """Loss of a batch: a scalar."""
        assert outputs.features is not None
        return (torch.tanh(outputs.relaxed) - torch.tanh(outputs.features)).square().mean()


class HeadWithMemory(Head):
    """A head in training beside itself as it was: relaxed codes of both, those of before as `features`.

    Parameters
    ----------
    head
        The head to train.
    before
        A copy of it, which stays as it is.
    """

    def __init__(self, head: Head, before: Head) -> None:
        super().__init__(head.channels, head.code_length, head.n_labels)
        self.head, self.before = head, before.eval().requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> "HeadWithMemory":
        """Training mode, but for the head of before."""
        super().train(mode)
        self.before.eval()
        return self

    def forward(self, maps: tuple[Tensor, ...]) -> HeadOutputs:
        """Outputs of the head."""
        outputs: HeadOutputs = self.head(maps)
        with torch.no_grad():
            before: HeadOutputs = self.before(maps)
        return outputs._replace(features=before.relaxed)
