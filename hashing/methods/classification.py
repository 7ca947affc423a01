"""Objectives of classifiers: they read a head's logits and no codes."""

from torch import Tensor
from torch.nn import functional

from hashing.methods.base import HeadOutputs, Objective, Targets


class Classification(Objective):
    """Binary cross-entropy of each label that is known; the mean over all known labels of the batch."""

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
        """Loss of a batch: a scalar."""
        assert outputs.logits is not None
        present = (targets.labels > 0).to(outputs.logits.dtype)
        losses = functional.binary_cross_entropy_with_logits(outputs.logits, present, reduction="none")
        return (losses * targets.known).sum() / targets.known.sum().clamp(min=1)


class ShareCrossEntropy(Objective):
    """Cross-entropy with the shares of classes as soft targets: softmax of the logits learns shares that sum to one."""

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
        """Loss of a batch: a scalar."""
        assert outputs.logits is not None
        return functional.cross_entropy(outputs.logits, targets.labels)
