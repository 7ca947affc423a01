"""Semantic-attention hashing after Zhu et al., Computer Science 2022, 49(8):113-119: classes guide local descriptors.

Only the abstract of the paper is public. Docstrings mark what it states [S], what is inferred from HashNet and DHN, the
works that it builds on [I], and what is our choice where all sources are silent [P]. No number of the paper is repeated
here, and none is claimed.
"""

from math import log, sqrt
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hashing.methods.base import Head, HeadOutputs, Objective, Setting, Targets
from hashing.methods.classification import Classification
from hashing.methods.heads import HashLayer, HiddenLayer
from hashing.methods.pairs import (
    balanced_weights,
    bimodal_prior,
    mean_over,
    pair_likelihood,
    pairs,
    product,
    similar_share,
)

Inputs = Literal["guided", "unguided", "local", "global"]
"""What the hash layer reads: the global descriptor with class-guided local descriptors; the global descriptor with the
local descriptor of one attention map that knows no classes; guided local descriptors alone; the global one alone."""

GLOBAL_WIDTH, LOCAL_WIDTH = 256, 128
"""Widths of the global and of the local descriptor [P]."""
POOLING_SHARPNESS = 5.0
"""rho of `image_logits` [P]: 0 would be the mean over positions, infinity the maximum."""
MIN_VARIANCE = 1e-4
"""Added to the variance of each channel, so that a channel that hardly varies is not blown up."""
MAX_POSITIVE_WEIGHT = 10.0


class AttentionHead(Head):
    """Codes from a global descriptor of the last maps and from local descriptors that class evidence guides.

    An attention module guided by semantic features, a classification network that guides the making of local
    descriptors, and global as well as local features as inputs of the hash network are the paper's [S]. All equations
    are ours [P], after class activation maps (Zhou et al., CVPR 2016) and AG-CNN (Guan et al., 2018). With F the maps,
    standardised by channel, and c a label:

    1. global descriptor g = mean_p F(p);
    2. evidence M_c(p) = w_c F(p) + a_c, pooled to the logit z_c by `image_logits`;
    3. attention A_c = softmax of M_c over positions (`attention`);
    4. local descriptors e_c = ReLU(W_l sum_p A_c(p) F(p)), W_l shared by all labels;
    5. gate pi_c from z_c (`gate`), local descriptor e = sum_c pi_c e_c;
    6. hash input v = [LayerNorm(W_g g); LayerNorm(e)], relaxed code h = BatchNorm(W_h v).

    Parameters
    ----------
    channels
        Channels of the maps of stride 32, alone in a tuple.
    code_length
        Bits.
    n_labels
        Number of labels, at least one: the attention comes from their evidence.
    inputs
        What the hash layer reads. All but "guided" are ablations; each has the classification branch.
    hidden
        Width of a hidden layer before the hash layer; 0 for none.

    Raises
    ------
    ValueError
        There is no label, or `inputs` has another value.
    """

    name: ClassVar[str] = "semantic attention"
    strides: ClassVar[tuple[int, ...]] = (32,)

    def __init__(
        self,
        channels: tuple[int, ...],
        code_length: int,
        n_labels: int = 0,
        inputs: Inputs = "guided",
        hidden: int = 0,
    ) -> None:
        super().__init__(channels, code_length, n_labels)
        if n_labels < 1:
            raise ValueError("semantic attention comes from labels, but n_labels is 0: name at least one")
        if inputs not in get_args(Inputs):
            raise ValueError(f"inputs is {inputs!r}: choose of {', '.join(get_args(Inputs))}")
        (depth,) = channels
        self.inputs, self.width = inputs, hidden
        self.standardised = nn.BatchNorm2d(depth, eps=MIN_VARIANCE, affine=False)
        self.classifier = nn.Conv2d(depth, n_labels, kernel_size=1)
        self.spatial = nn.Conv2d(depth, 1, kernel_size=1) if inputs == "unguided" else None
        has_global, has_local = inputs != "local", inputs != "global"
        self.global_layer = nn.Linear(depth, GLOBAL_WIDTH, bias=False) if has_global else None
        self.local_layer = nn.Linear(depth, LOCAL_WIDTH) if has_local else None
        self.global_norm = nn.LayerNorm(GLOBAL_WIDTH) if has_global else None
        self.local_norm = nn.LayerNorm(LOCAL_WIDTH) if has_local else None
        width = GLOBAL_WIDTH * has_global + LOCAL_WIDTH * has_local
        self.hidden = HiddenLayer(width, hidden) if hidden else None
        self.hash_layer = HashLayer(hidden or width, code_length)

    @property
    def options(self) -> dict[str, Any]:
        """Names of the hash layer's inputs, and the width of the hidden layer if there is one."""
        return {"inputs": self.inputs} | ({"hidden": self.width} if self.width else {})

    def forward(self, maps: tuple[Tensor, ...]) -> HeadOutputs:
        """Codes, logits, class evidence at each position, and the hash input as features.

        Parameters
        ----------
        maps
            Maps of stride 32 (batch, channels, height, width), alone in a tuple.
        """
        standardised = self.standardised(maps[0])
        evidence = self.classifier(standardised)  # (batch, n_labels, height, width)
        logits = image_logits(evidence)  # (batch, n_labels)
        parts = []
        if self.global_layer is not None and self.global_norm is not None:
            parts.append(self.global_norm(self.global_layer(standardised.mean(dim=(2, 3)))))
        if self.local_norm is not None:
            parts.append(self.local_norm(self._local(standardised, evidence, logits)))
        hash_input = torch.cat(parts, dim=1)
        hidden = hash_input if self.hidden is None else self.hidden(hash_input)
        return HeadOutputs(self.hash_layer(hidden), logits, evidence, hash_input)

    def _local(self, standardised: Tensor, evidence: Tensor, logits: Tensor) -> Tensor:
        """Local descriptor e (batch, LOCAL_WIDTH), before its normalisation."""
        assert self.local_layer is not None
        guide = evidence if self.spatial is None else self.spatial(standardised)
        attended = attention(guide).flatten(2).transpose(1, 2)  # (batch, positions, n_maps)
        # Maps stand first: torch 2.13 gives a batch of one image wrong gradients where transposed maps were normalised.
        descriptors = standardised.flatten(2) @ attended  # (batch, channels, n_maps)
        projected = functional.relu(self.local_layer(descriptors.transpose(1, 2)))  # (batch, n_maps, LOCAL_WIDTH)
        if self.spatial is not None:
            return projected[:, 0]
        return (gate(logits)[:, :, None] * projected).sum(dim=1)


def image_logits(evidence: Tensor) -> Tensor:
    """Logit of each label from its evidence at all positions: z_c = (1 / rho) log mean_p exp(rho M_c(p)) [P].

    Parameters
    ----------
    evidence : (batch, n_labels, height, width)

    Returns
    -------
    (batch, n_labels)
        A value between the mean and the maximum over positions.
    """
    by_position = evidence.flatten(2)
    total = torch.logsumexp(POOLING_SHARPNESS * by_position, dim=2)
    return (total - log(by_position.shape[2])) / POOLING_SHARPNESS


def attention(evidence: Tensor) -> Tensor:
    """Attention A_c(p) = exp(M_c(p)) / sum_q exp(M_c(q)) of each label [P].

    Parameters
    ----------
    evidence : (batch, n_labels, height, width)

    Returns
    -------
    (batch, n_labels, height, width)
        Each map sums to one.
    """
    return evidence.flatten(2).softmax(dim=2).view_as(evidence)


def gate(logits: Tensor) -> Tensor:
    """Share pi_c of each label in an image: p_c = sigmoid(z_c), divided by the sum over labels [P].

    Logits pass no gradient: the hash loss would else move probabilities to where they suit the codes. True labels never
    enter, or training and test would differ.

    Parameters
    ----------
    logits : (batch, n_labels)

    Returns
    -------
    (batch, n_labels)
        Rows sum to one, even where every probability is too small for a float.
    """
    return functional.logsigmoid(logits.detach()).softmax(dim=1)


class SemanticAttentionLoss(Objective):
    """L = L_wl + lambda_c L_c + lambda_q L_q, after a warm-up with L_c alone.

    L_wl is the negative log likelihood of pairs under P(s = 1) = sigmoid(theta), theta = (scale / K) u_i u_j, weighted
    against the rarity of similar pairs. That a weighted Bayesian likelihood does so is the paper's [S]; its form is
    HashNet's (Cao et al., ICCV 2017, eq. 4 and 5) [I]: `hashing.methods.pairs.balanced_weights`, with the share of
    similar pairs of the training set. L_c is the binary cross-entropy of the labels, L_q the bimodal prior of DHN
    (Zhu et al., AAAI 2016, eq. 7) [I]. Relaxed codes are u = tanh(b h), b = sqrt(1 + (final^2 - 1) t), where t is the
    share of the training after the warm-up that is done: HashNet's continuation, which in its code counts steps.

    Parameters
    ----------
    setting
        Code length, and the labels of the training set.
    scale
        K times the factor of inner products; 10 in the code of HashNet.
    final
        b at the end of training; 1 is no continuation.
    prior, classifying
        lambda_q and lambda_c [P].
    warm_up
        Share of the training in which the classifier learns alone [P]: attention means nothing before that.
    """

    def __init__(
        self,
        setting: Setting,
        scale: float = 10.0,
        final: float = 10.0,
        prior: float = 0.1,
        classifying: float = 1.0,
        warm_up: float = 0.1,
    ) -> None:
        super().__init__()
        self.scale, self.final, self.warm_up = scale / setting.code_length, final, warm_up
        self.prior, self.classifying = prior, classifying
        self.share = similar_share(setting.labels)
        self.classification = Classification(positive_weights(setting.labels))

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
        """Loss of a batch: a scalar."""
        classifying: Tensor = self.classifying * self.classification(outputs, targets)
        if targets.progress < self.warm_up:
            return classifying
        codes = torch.tanh(self.sharpness(targets.progress) * outputs.relaxed)
        likelihood = self.weighted_likelihood(codes, targets)
        return likelihood + classifying + self.prior * bimodal_prior(codes)

    def sharpness(self, progress: float) -> float:
        """Factor b of relaxed codes by the share of training that is done: 1 at the end of the warm-up, then rising."""
        done = (progress - self.warm_up) / (1 - self.warm_up)
        return sqrt(1 + (self.final**2 - 1) * done)

    def weighted_likelihood(self, codes: Tensor, targets: Targets) -> Tensor:
        """L_wl of codes (batch, code_length) in (-1, 1): a scalar, 0 where no pair counts.

        An image without labels is similar to none. Pairs of one patient, and of an image with itself, do not count.
        """
        likeness = pairs(targets.labels, targets.patients)
        losses = pair_likelihood(self.scale * product(codes), likeness.similar)
        return mean_over(losses, balanced_weights(likeness, self.share))


def positive_weights(labels: NDArray[np.bool_]) -> Tensor:
    """Weight of an image that has a label against one that has not: their ratio in training, at most 10 [P].

    Parameters
    ----------
    labels : (n, n_labels) bool
        Labels of the training images.

    Returns
    -------
    (n_labels,) float32
        A label that no image has weighs as one that a single image has.
    """
    having = labels.sum(axis=0)
    ratios = (len(labels) - having) / np.maximum(having, 1)
    return torch.from_numpy(np.minimum(ratios, MAX_POSITIVE_WEIGHT).astype(np.float32))
