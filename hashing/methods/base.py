"""What a hashing method is: a head that turns the trunk's maps into codes, and an objective that trains it.

The head says which maps it reads (`Head.strides`), and the objective reads whatever the head gives (`HeadOutputs`) and
whatever is known of the images (`Targets`). The training loop, the caches and the model files know nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

OnRelaxedCodes = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A loss of relaxed codes (batch, code_length), labels (batch, n_labels) and patients (batch,): a scalar."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a method knows before training.

    Attributes
    ----------
    code_length
        Bits.
    labels : (n, n_labels) bool
        Labels of the training images.
    seed
        Seed of everything that the method draws at random: targets, projections.
    channels
        Channels of each tensor that the head receives: the number of features for a head on pooled features, else one
        number for each of `Head.strides`.
    """

    code_length: int
    labels: NDArray[np.bool_]
    seed: int
    channels: tuple[int, ...] = ()


class HeadOutputs(NamedTuple):
    """The outputs of a head for a batch of images; a head leaves out outputs that its objective does not read.

    Attributes
    ----------
    relaxed : (batch, code_length)
        Relaxed codes; a bit is set where the value is >= 0.
    logits : (batch, n_labels)
        Logits of the labels.
    evidence : (batch, n_labels, height, width)
        Evidence for each label at each position of the map, for attention and explanation.
    features : (batch, n_features)
        What the codes were computed from.
    """

    relaxed: Tensor
    logits: Tensor | None = None
    evidence: Tensor | None = None
    features: Tensor | None = None


class Targets(NamedTuple):
    """What is known of a batch of images.

    Attributes
    ----------
    labels : (batch, n_labels) float
        1 where an image has a label, else 0; or the share of each label in the image, with rows that sum to one.
    known : (batch, n_labels) float
        1 where the image's data set says whether the image has the label, else 0.
    patients : (batch,) int
        Patient of each image, or the group of near-identical images that stands for one.
    progress
        Share of the training that is done, 0 to 1.
    levels : (batch,) float
        Level of each section as a share of the length of its region, NaN where it is not known; None where it is known
        of no image.
    """

    labels: Tensor
    known: Tensor
    patients: Tensor
    progress: float = 0.0
    levels: Tensor | None = None


class Head(nn.Module):
    """Turns maps of the trunk into codes. Every head has the constructor below, so that a model file can rebuild it.

    Parameters
    ----------
    channels
        Channels of each tensor that the head receives.
    code_length
        Bits.
    n_labels
        Number of labels that the head gives logits of; 0 for a head without logits.

    Notes
    -----
    A head with further sizes takes them by name, with defaults, and returns them from `options`.
    """

    name: ClassVar[str]
    """Name of the head in a model file."""
    strides: ClassVar[tuple[int, ...]] = ()
    """Maps that the head reads: () for the pooled feature, (32,) for the last maps, (8, 16, 32) for a pyramid."""

    def __init__(self, channels: tuple[int, ...], code_length: int, n_labels: int = 0) -> None:
        super().__init__()
        self.channels, self.code_length, self.n_labels = channels, code_length, n_labels

    @property
    def options(self) -> dict[str, Any]:
        """Arguments beyond `channels`, `code_length` and `n_labels` that build an equal head."""
        return {}

    def forward(self, maps: tuple[Tensor, ...]) -> HeadOutputs:
        """Codes, and what else the head gives.

        Parameters
        ----------
        maps
            The pooled feature (batch, channels) alone where `strides` is empty; else for each stride s a tensor
            (batch, channels, height / s, width / s).
        """
        raise NotImplementedError

    def take_raw_features(self, mean: Tensor, deviation: Tensor) -> None:
        """Fold the standardisation of features into the layers: from now on the head takes raw features.

        Only heads on the pooled feature need it: maps are not standardised.

        Parameters
        ----------
        mean, deviation : (n_features,)
            The head was trained on (features - mean) / deviation.
        """
        raise NotImplementedError


class Objective(nn.Module):
    """A loss of a batch. It may have parameters of its own, which are trained with the head."""

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
        """Loss of a batch: a scalar."""
        raise NotImplementedError


class OnCodes(Objective):
    """A loss that reads nothing but relaxed codes, labels and patients.

    Parameters
    ----------
    loss
        A module of type `OnRelaxedCodes`.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
        """Loss of a batch: a scalar."""
        value: Tensor = self.loss(outputs.relaxed, targets.labels, targets.patients)
        return value


class Nested(Objective):
    """Mean of one objective over the leading parts of a code, so that each part is a code of its own.

    Parameters
    ----------
    make
        Makes the objective of a code length.
    code_lengths
        Nested code lengths, bits; the longest is the length of the head's codes.
    """

    def __init__(self, make: Callable[[int], Objective], code_lengths: Sequence[int]) -> None:
        super().__init__()
        self.code_lengths = tuple(code_lengths)
        self.parts = nn.ModuleList(map(make, code_lengths))

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
        """Loss of a batch: a scalar."""
        losses = [
            part(outputs._replace(relaxed=outputs.relaxed[:, :length]), targets)
            for part, length in zip(self.parts, self.code_lengths, strict=True)
        ]
        return torch.stack(losses).mean()


class Sum(Objective):
    """Weighted sum of objectives.

    Parameters
    ----------
    parts
        Pairs of a weight and an objective.
    """

    def __init__(self, parts: Sequence[tuple[float, Objective]]) -> None:
        super().__init__()
        self.weights = tuple(weight for weight, _ in parts)
        self.parts = nn.ModuleList(part for _, part in parts)

    def forward(self, outputs: HeadOutputs, targets: Targets) -> Tensor:
        """Loss of a batch: a scalar."""
        losses = [weight * part(outputs, targets) for weight, part in zip(self.weights, self.parts, strict=True)]
        return torch.stack(losses).sum()


@dataclass(frozen=True, slots=True)
class Method:
    """A hashing method of the bench.

    Attributes
    ----------
    objective
        Makes the objective from a `Setting` and the method's own parameters by name.
    head
        Class of the head, which says by `strides` what the method reads.
    head_options
        Further arguments of the head, by name.
    classifies
        Whether the objective reads logits: the head then gets the number of labels.
    """

    objective: Callable[..., Objective]
    head: type[Head]
    head_options: Mapping[str, Any] = field(default_factory=dict)
    classifies: bool = False
