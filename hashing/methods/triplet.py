"""DTSH: hashing that learns from triplets."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hashing.methods.base import Setting
from hashing.methods.pairs import mean_over, pairs, product, quantization


class DeepTripletSupervisedHashing(nn.Module):
    """DTSH: likelihood that a positive is nearer than a negative (Wang et al., ACCV 2016, eq. 6 and 8).

    -log sigmoid(t_ap - t_an - alpha) with t_ij = u_i u_j / 2; for each anchor one positive, drawn from another
    patient, and all negatives of the batch. The margin alpha is `margin` K, at most K / 2.
    """

    def __init__(self, setting: Setting, margin: float = 0.25, eta: float = 0.1) -> None:
        super().__init__()
        self.margin, self.eta = margin * setting.code_length, eta

    def forward(self, relaxed: Tensor, labels: Tensor, patients: Tensor) -> Tensor:
        """Loss of a batch."""
        likeness = pairs(labels, patients)
        positive = likeness.similar * likeness.counted
        usable = positive.any(dim=1)
        closeness = product(relaxed)[usable] / 2
        chosen = torch.multinomial(positive[usable], 1) if usable.any() else positive.new_zeros((0, 1)).long()
        gap = closeness.gather(1, chosen) - closeness - self.margin  # (anchors, batch)
        losses = -functional.logsigmoid(gap)
        negatives = ((1 - likeness.similar) * likeness.counted)[usable]
        return mean_over(losses, negatives) + self.eta * quantization(relaxed)
