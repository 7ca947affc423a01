"""Heads on pooled features: a hash layer with or without a classifier beside it, and a classifier alone."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hashing.methods.base import Head, HeadOutputs


class HashLayer(nn.Sequential):
    """Linear without bias, then batch normalisation, which balances each bit (Hoe et al., NeurIPS 2021, 3.3)."""

    def __init__(self, n_features: int, code_length: int) -> None:
        super().__init__(nn.Linear(n_features, code_length, bias=False), nn.BatchNorm1d(code_length))


class HiddenLayer(nn.Sequential):
    """Linear without bias, batch normalisation, ReLU."""

    def __init__(self, n_features: int, width: int) -> None:
        super().__init__(nn.Linear(n_features, width, bias=False), nn.BatchNorm1d(width), nn.ReLU())


class PlainHead(Head):
    """A hash layer on the pooled feature: the head of every method that has no other.

    Parameters
    ----------
    channels
        Number of features, alone in a tuple.
    code_length
        Bits.
    n_labels
        Number of labels of a linear classifier beside the hash layer; 0 for none.
    hidden
        Width of a hidden layer (linear, batch normalisation, ReLU) before the hash layer; 0 for none. The classifier
        reads the feature.
    """

    name: ClassVar[str] = "plain"

    def __init__(self, channels: tuple[int, ...], code_length: int, n_labels: int = 0, hidden: int = 0) -> None:
        super().__init__(channels, code_length, n_labels)
        (n_features,) = channels
        self.hidden = HiddenLayer(n_features, hidden) if hidden else None
        self.hash_layer = HashLayer(hidden or n_features, code_length)
        self.classifier = nn.Linear(n_features, n_labels) if n_labels else None

    @property
    def options(self) -> dict[str, Any]:
        """Width of the hidden layer, if there is one."""
        return {"hidden": self.hidden[0].out_features} if self.hidden is not None else {}

    def forward(self, maps: tuple[Tensor, ...]) -> HeadOutputs:
        """Codes, logits where there is a classifier, and the features themselves."""
        (features,) = maps
        hidden = features if self.hidden is None else self.hidden(features)
        logits = None if self.classifier is None else self.classifier(features)
        return HeadOutputs(self.hash_layer(hidden), logits, features=features)

    def take_raw_features(self, mean: Tensor, deviation: Tensor) -> None:
        """Fold the standardisation of features, (n_features,) each, into the layers."""
        first: nn.Sequential = self.hash_layer if self.hidden is None else self.hidden
        linear, norm = first[0], first[1]
        assert isinstance(linear, nn.Linear)
        assert isinstance(norm, nn.BatchNorm1d)
        assert norm.running_mean is not None
        with torch.no_grad():
            linear.weight /= deviation
            norm.running_mean += linear.weight @ mean
        if self.classifier is not None:
            fold_standardisation(self.classifier, mean, deviation)


class Classifier(Head):
    """A linear classifier on the pooled feature, without codes.

    Parameters
    ----------
    channels
        Number of features, alone in a tuple.
    code_length
        0: this head gives no codes.
    n_labels
        Number of labels.
    """

    name: ClassVar[str] = "classifier"

    def __init__(self, channels: tuple[int, ...], code_length: int = 0, n_labels: int = 0) -> None:
        super().__init__(channels, code_length, n_labels)
        if code_length:
            raise ValueError(f"a classifier gives no codes, but {code_length} bits were expected of it")
        (n_features,) = channels
        self.layer = nn.Linear(n_features, n_labels)

    def forward(self, maps: tuple[Tensor, ...]) -> HeadOutputs:
        """Logits; relaxed codes without a column."""
        (features,) = maps
        return HeadOutputs(features.new_zeros((len(features), 0)), self.layer(features), features=features)

    def take_raw_features(self, mean: Tensor, deviation: Tensor) -> None:
        """Fold the standardisation of features, (n_features,) each, into the layer."""
        fold_standardisation(self.layer, mean, deviation)


def fold_standardisation(layer: nn.Linear, mean: Tensor, deviation: Tensor) -> None:
    """Let a layer with bias that was trained on (features - mean) / deviation take raw features."""
    with torch.no_grad():
        layer.weight /= deviation
        layer.bias.sub_(layer.weight @ mean)
