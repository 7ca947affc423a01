"""Baselines that learn from pairs of images: DSH, DPSH, DHN, HashNet, DCH, IDHN, and one after AHDL."""

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from hashing.methods.base import HeadOutputs, Objective, Setting, Targets
from hashing.methods.pairs import (
    balanced_weights,
    bimodal_prior,
    mean_over,
    pair_likelihood,
    pairs,
    product,
    quantization,
    similar_share,
)


class DeepSupervisedHashing(nn.Module):
    """DSH: similar codes together, others at least a margin apart (Liu et al., CVPR 2016, eq. 4).

    s |du|^2 / 2 + (1 - s) max(0, 2K - |du|^2) / 2 + alpha mean ||u| - 1|, du the difference of two relaxed codes.
    """

    def __init__(self, setting: Setting, alpha: float = 0.01) -> None:
        super().__init__()
        self.margin, self.alpha = 2.0 * setting.code_length, alpha

    def forward(self, relaxed: Tensor, labels: Tensor, patients: Tensor) -> Tensor:
        """Loss of a batch."""
        likeness = pairs(labels, patients)
        squares = relaxed.square().sum(dim=1)
        distance = (squares[:, None] + squares[None] - 2 * product(relaxed)).clamp(min=0)
        apart = (self.margin - distance).clamp(min=0)
        losses = (likeness.similar * distance + (1 - likeness.similar) * apart) / 2
        return mean_over(losses, likeness.counted) + self.alpha * (relaxed.abs() - 1).abs().mean()


class DeepPairwiseSupervisedHashing(nn.Module):
    """DPSH: likelihood of similarity under sigmoid(u_i u_j / 2) (Li et al., IJCAI 2016, eq. 5 and 7).

    The paper's factor 1/2 saturates the sigmoid at long codes: with `scale` it is scale / K.
    """

    def __init__(self, setting: Setting, eta: float = 0.1, scale: float | None = None) -> None:
        super().__init__()
        self.eta, self.factor = eta, 0.5 if scale is None else scale / setting.code_length

    def forward(self, relaxed: Tensor, labels: Tensor, patients: Tensor) -> Tensor:
        """Loss of a batch."""
        likeness = pairs(labels, patients)
        losses = pair_likelihood(self.factor * product(relaxed), likeness.similar)
        return mean_over(losses, likeness.counted) + self.eta * quantization(relaxed)


class DeepHashingNetwork(nn.Module):
    """DHN: weighted pair likelihood and a bimodal prior (Zhu et al., AAAI 2016, eq. 4 and 7).

    The prior is the smooth form, log cosh(|u| - 1); the weights are those of HashNet, so that the two differ only in
    how codes become binary.
    """

    def __init__(self, setting: Setting, scale: float = 10.0, prior: float = 0.1) -> None:
        super().__init__()
        self.scale, self.prior = scale / setting.code_length, prior
        self.share = similar_share(setting.labels)

    def forward(self, relaxed: Tensor, labels: Tensor, patients: Tensor) -> Tensor:
        """Loss of a batch."""
        codes = relaxed.tanh()
        likeness = pairs(labels, patients)
        losses = pair_likelihood(self.scale * product(codes), likeness.similar)
        return mean_over(losses, balanced_weights(likeness, self.share)) + self.prior * bimodal_prior(codes)


class HashNet(Objective):
    """HashNet: weighted pair likelihood, codes sharpened in training (Cao et al., ICCV 2017, eq. 5 and section 3.2).

    u = tanh(b h) with b = sqrt(1 + (final^2 - 1) p), where p is the share of the training that is done. The code of the
    authors counts steps instead, b = sqrt(1 + 0.005 t), which leaves b near 1 on a set of few steps.

    Parameters
    ----------
    final
        b at the end of the training; that of the authors' code after 20,000 steps is 10.
    """

    def __init__(self, setting: Setting, scale: float = 10.0, final: float = 10.0) -> None:
        super().__init__()
        self.scale, self.final = scale / setting.code_length, final
        self.share = similar_share(setting.labels)

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
        """Loss of a batch."""
        sharpness = sqrt(1 + (self.final**2 - 1) * targets.progress)
        codes = torch.tanh(sharpness * outputs.relaxed)
        likeness = pairs(targets.labels, targets.patients)
        losses = pair_likelihood(self.scale * product(codes), likeness.similar)
        return mean_over(losses, balanced_weights(likeness, self.share))


class DeepCauchyHashing(nn.Module):
    """DCH: similarity falls with distance as a Cauchy density does (Cao et al., CVPR 2018, eq. 5 and 6).

    w [s log(d / gamma) + log(1 + gamma / d)] with d = K (1 - cos) / 2, and log(1 + d(|h|, 1) / gamma) as prior.
    """

    def __init__(self, setting: Setting, gamma: float = 20.0, prior: float = 0.1) -> None:
        super().__init__()
        self.code_length, self.gamma, self.prior = setting.code_length, gamma * setting.code_length / 64, prior
        self.share = similar_share(setting.labels)

    def forward(self, relaxed: Tensor, labels: Tensor, patients: Tensor) -> Tensor:
        """Loss of a batch."""
        likeness = pairs(labels, patients)
        unit = functional.normalize(relaxed)
        distance = self._distance(unit @ unit.T)
        losses = likeness.similar * torch.log(distance / self.gamma) + torch.log1p(self.gamma / distance)
        to_ones = self._distance(unit.abs().sum(dim=1) / sqrt(self.code_length))
        prior = torch.log1p(to_ones / self.gamma).mean()
        return mean_over(losses, balanced_weights(likeness, self.share)) + self.prior * prior

    def _distance(self, cosine: Tensor) -> Tensor:
        return (self.code_length / 2 * (1 - cosine)).clamp(min=1e-3)


class ImprovedDeepHashingNetwork(nn.Module):
    """IDHN: similarity in degrees, the cosine of label vectors (Zhang et al., IEEE TMM 2020, eq. 3, 6 and 8).

    Pairs that share all or nothing enter by likelihood, those between by the squared error of (u_i u_j / K + 1) / 2.
    """

    def __init__(self, setting: Setting, scale: float = 5.0, partial: float = 10.0, eta: float = 0.1) -> None:
        super().__init__()
        self.code_length, self.scale, self.partial, self.eta = setting.code_length, scale, partial, eta

    def forward(self, relaxed: Tensor, labels: Tensor, patients: Tensor) -> Tensor:
        """Loss of a batch."""
        codes = relaxed.tanh()
        unit = functional.normalize(labels)
        degree = (unit @ unit.T).clamp(max=1)
        partly = ((degree > 0) & (degree < 1 - 1e-6)).to(labels.dtype)
        closeness = product(codes) / self.code_length
        likelihood = pair_likelihood(self.scale * closeness, degree)
        squares = ((closeness + 1) / 2 - degree).square()
        losses = (1 - partly) * likelihood + partly * self.partial * squares
        return mean_over(losses, pairs(labels, patients).counted) + self.eta * quantization(codes)


class JaccardDistanceHashing(nn.Module):
    """After AHDL: normalised Hamming distance follows 1 - Jaccard overlap, beside a classifier on the codes.

    "Learning neural networks for multi-label medical image retrieval using Hamming distance fabricated with Jaccard
    similarity" gives no code; weights of pairs are HashNet's.
    """

    def __init__(self, setting: Setting, classifying: float = 1.0, eta: float = 0.1) -> None:
        super().__init__()
        self.code_length, self.classifying, self.eta = setting.code_length, classifying, eta
        self.share = similar_share(setting.labels)
        self.classifier = nn.Linear(setting.code_length, setting.labels.shape[1])

    def forward(self, relaxed: Tensor, labels: Tensor, patients: Tensor) -> Tensor:
        """Loss of a batch."""
        codes = relaxed.tanh()
        likeness = pairs(labels, patients)
        distance = (1 - product(codes) / self.code_length) / 2  # in [0, 1]
        losses = (distance - (1 - likeness.overlap)).square()
        weights = likeness.counted * (likeness.similar / self.share + (1 - likeness.similar) / (1 - self.share))
        classifying = functional.binary_cross_entropy_with_logits(self.classifier(codes), labels)
        return mean_over(losses, weights) + self.classifying * classifying + self.eta * quantization(codes)
