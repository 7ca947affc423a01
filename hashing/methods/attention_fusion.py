"""DAFH: hashing by attention at several depths of the network, joined, trained with triplets and a classifier.

After Wu et al. 2024, "deep attention fusion hashing" (DAFH) for images of several modalities. The paper states CBAM
attention, fusion of features of different depths, codes by a parameterised tanh ("Ptanh"), triplets, and accurate
classification of cancer types. Which maps, which widths, the form of the fusion, all weights and the choice of triplets
are not stated where we could read it. They are our choice, and the docstrings say where it comes from.

A code is the sign of Ptanh(h) = tanh(b h), which for b > 0 is the sign of h. The head therefore gives h, and Ptanh is
part of the loss: it does not travel in model files. So is the classifier, which reads the relaxed code.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from hashing.methods.base import Head, HeadOutputs, Objective, Setting, Targets
from hashing.methods.classification import Classification, ShareCrossEntropy
from hashing.methods.heads import HashLayer, HiddenLayer
from hashing.methods.pairs import quantization
from hashing.methods.triplet import Selection, triplet_loss, triplet_pairs

Attention = Literal["both", "channels", "positions", "none"]
Slope = Literal["learned", "scheduled", "one"]

DEPTH_WIDTH = 128
"""Length of the feature that each depth gives to the fusion."""
DROPOUT = 0.2
REDUCTION = 16
"""Channels of the maps for each hidden unit of the channel attention (Woo et al., ECCV 2018, section 4)."""
LAST_SLOPE = 10.0
"""Slope of a scheduled Ptanh at the end of training; it begins at 1."""


class ChannelAttention(nn.Module):
    """A weight for each channel: sigmoid(MLP(mean) + MLP(maximum)), over positions (Woo et al., ECCV 2018, eq. 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // REDUCTION)
        self.layers = nn.Sequential(nn.Linear(channels, inner), nn.ReLU(), nn.Linear(inner, channels))

    def forward(self, maps: Tensor) -> Tensor:
        """Weighted maps (batch, channels, height, width)."""
        logits = self.layers(maps.mean(dim=(2, 3))) + self.layers(maps.amax(dim=(2, 3)))  # (batch, channels)
        return maps * torch.sigmoid(logits)[:, :, None, None]


class PositionAttention(nn.Module):
    """A weight for each position: sigmoid(conv7x7([mean; maximum])), over channels (Woo et al., ECCV 2018, eq. 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Weighted maps (batch, channels, height, width)."""
        pooled = torch.stack([maps.mean(dim=1), maps.amax(dim=1)], dim=1)  # (batch, 2, height, width)
        return maps * torch.sigmoid(self.convolution(pooled))


class AttentionFusionHead(Head):
    """CBAM on the maps of each depth, the pooled depths joined, a hidden layer, and a hash layer.

    The order of the two attentions is that of CBAM: channels, then positions. Each depth is then averaged over
    positions and reduced to 128 values; since both are linear, this equals a 1x1 convolution before the average. Batch
    normalisation lets depths of different magnitude enter alike (our addition).

    Parameters
    ----------
    channels
        Channels of the maps at each of `strides`.
    code_length
        Bits.
    n_labels
        0: the classifier is a part of the loss, and this head gives no logits.
    hidden
        Width of the layer that joins the depths.
    attention
        "both", only one of "channels" and "positions", or "none".

    Raises
    ------
    ValueError
        Labels were given, the channels do not fit the strides, or there is no such attention.
    """

    name: ClassVar[str] = "attention-fusion"
    strides: ClassVar[tuple[int, ...]] = (8, 16, 32)

    def __init__(
        self,
        channels: tuple[int, ...],
        code_length: int,
        n_labels: int = 0,
        hidden: int = 256,
        attention: Attention = "both",
    ) -> None:
        super().__init__(channels, code_length, n_labels)
        if n_labels:
            raise ValueError(f"a {self.name} head gives no logits, but {n_labels} labels were expected of it")
        if len(channels) != len(self.strides):
            raise ValueError(f"channels {channels} came for maps at strides {self.strides}: give one number for each")
        self.hidden, self.attention = hidden, attention
        self.attentions = nn.ModuleList(attention_layers(attention, number) for number in channels)
        self.reductions = nn.ModuleList(
            nn.Sequential(nn.Linear(number, DEPTH_WIDTH, bias=False), nn.BatchNorm1d(DEPTH_WIDTH))
            for number in channels
        )
        self.fusion = nn.Sequential(HiddenLayer(DEPTH_WIDTH * len(channels), hidden), nn.Dropout(DROPOUT))
        self.hash_layer = HashLayer(hidden, code_length)

    @property
    def options(self) -> dict[str, Any]:
        """Width of the joining layer, and the attention."""
        return {"hidden": self.hidden, "attention": self.attention}

    def forward(self, maps: tuple[Tensor, ...]) -> HeadOutputs:
        """Codes h before Ptanh, from maps (batch, channels, height / s, width / s) at each stride s."""
        depths = [
            reduce(attend(of_stride).mean(dim=(2, 3)))  # (batch, 128)
            for attend, reduce, of_stride in zip(self.attentions, self.reductions, maps, strict=True)
        ]
        return HeadOutputs(self.hash_layer(self.fusion(torch.cat(depths, dim=1))))


class LastDepthHead(AttentionFusionHead):
    """The same head on the last maps alone: the ablation without fusion of depths."""

    name: ClassVar[str] = "attention-last-depth"
    strides: ClassVar[tuple[int, ...]] = (32,)


def attention_layers(attention: Attention, channels: int) -> nn.Sequential:
    """The attention of one depth: maps (batch, channels, height, width) to weighted maps of the same shape.

    Raises
    ------
    ValueError
        There is no such attention.
    """
    if attention not in ("both", "channels", "positions", "none"):
        raise ValueError(f"attention is {attention!r}: choose both, channels, positions or none")
    layers: list[nn.Module] = []
    if attention in ("both", "channels"):
        layers.append(ChannelAttention(channels))
    if attention in ("both", "positions"):
        layers.append(PositionAttention())
    return nn.Sequential(*layers)


def imbalance(codes: Tensor) -> Tensor:
    """Squared length of the mean relaxed code of (batch, code_length): 0 where each bit is set in half of the batch."""
    return codes.mean(dim=0).square().sum()


class AttentionFusionLoss(Objective):
    """Triplets, classification, quantisation and balance of relaxed codes u = tanh(b h).

    L = triplet mean max(0, d(a, p) - d(a, n) + margin) + classifying CE(W u, y) + quantizing mean (|u| - 1)^2
    + balancing |mean of u over the batch|^2. The paper states triplets, classification and Ptanh; quantisation and
    balance, and all weights, are our choice.

    Cross-entropy is over classes where each training image has exactly one label, and else binary for each known label.

    Parameters
    ----------
    slope
        How b is set: "learned" (one positive parameter), "scheduled" (from 1 to 10 in equal steps over the training),
        or "one" (the plain tanh).
    selection
        Which triplets: "semi-hard" or "random".
    margin
        Margin of the triplets as a share of the code length.
    triplet, classifying, quantizing, balancing
        Weights of the four terms; without weight there is no classifier.

    Raises
    ------
    ValueError
        There is no such slope or selection.
    """

    def __init__(
        self,
        setting: Setting,
        slope: Slope = "learned",
        selection: Selection = "semi-hard",
        margin: float = 0.25,
        triplet: float = 1.0,
        classifying: float = 1.0,
        quantizing: float = 0.1,
        balancing: float = 0.01,
    ) -> None:
        super().__init__()
        if slope not in ("learned", "scheduled", "one"):
            raise ValueError(f"slope is {slope!r}: choose learned, scheduled or one")
        if selection not in ("semi-hard", "random"):
            raise ValueError(f"selection is {selection!r}: choose semi-hard or random")
        self.slope, self.selection, self.margin = slope, selection, margin
        self.triplet, self.classifying, self.quantizing, self.balancing = triplet, classifying, quantizing, balancing
        self.log_slope = nn.Parameter(torch.zeros(())) if slope == "learned" else None
        n_labels = setting.labels.shape[1]
        self.classifier = nn.Linear(setting.code_length, n_labels) if classifying else None
        one_label_each = bool((setting.labels.sum(axis=1) == 1).all())
        self.classification: Objective = ShareCrossEntropy() if one_label_each else Classification()

    def ptanh(self, values: Tensor, progress: float) -> Tensor:
        """Relaxed codes tanh(b h) in (-1, 1) of the head's h (batch, code_length); `progress` as in `Targets`."""
        if self.log_slope is not None:
            return torch.tanh(self.log_slope.exp() * values)
        return torch.tanh((1 + (LAST_SLOPE - 1) * progress if self.slope == "scheduled" else 1) * values)

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
        """Loss of a batch: a scalar."""
        codes = self.ptanh(outputs.relaxed, targets.progress)
        loss = self.triplet * triplet_loss(codes, triplet_pairs(targets), self.margin, self.selection)
        loss = loss + self.quantizing * quantization(codes) + self.balancing * imbalance(codes)
        if self.classifier is None:
            return loss
        logits = self.classifier(codes)
        classification: Tensor = self.classification(outputs._replace(logits=logits), targets)
        return loss + self.classifying * classification
