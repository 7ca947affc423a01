"""Objectives of classifiers: they read a head's logits and no codes."""

from torch import Tensor
from torch.nn import functional

from hashing.methods.base import HeadOutputs, Objective, Targets


class Classification(Objective):
    """Binary cross-entropy of each label that is known; the mean over all known labels of the batch.

    Parameters
    ----------
    positive_weights : (n_labels,)
        Weight of the loss of images that have a label; 1 for every label where none are given.
    """

    positive_weights: Tensor | None

    def __init__(self, positive_weights: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("positive_weights", positive_weights)

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
        """Loss of a batch: a scalar."""
        assert outputs.logits is not None
        present = (targets.labels > 0).to(outputs.logits.dtype)
        losses = functional.binary_cross_entropy_with_logits(
            outputs.logits, present, reduction="none", pos_weight=self.positive_weights
        )
        return (losses * targets.known).sum() / targets.known.sum().clamp(min=1)


class ShareCrossEntropy(Objective):
    """Cross-entropy with the shares of classes as soft targets: softmax of the logits learns shares that sum to one."""

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
        """Loss of a batch: a scalar."""
        assert outputs.logits is not None
        return functional.cross_entropy(outputs.logits, targets.labels)
