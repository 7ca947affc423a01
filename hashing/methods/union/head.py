"""The head of the union of the three published methods.

Class-guided local and global descriptors come from `hashing.methods.semantic_attention`, attention at several depths
from `hashing.methods.attention_fusion`.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from hashing.methods.attention_fusion import DEPTH_WIDTH, attention_layers
from hashing.methods.base import Head, HeadOutputs
from hashing.methods.heads import HashLayer, HiddenLayer
from hashing.methods.semantic_attention import GLOBAL_WIDTH, LOCAL_WIDTH, MIN_VARIANCE, attention, image_logits


class UnionHead(Head):
    """Codes from what the last maps show as a whole, from where classes show in them, and from three depths.

    1. Evidence of each class at each position of the last maps, pooled to logits; their softmax are the shares of the
       classes in the image.
    2. A global descriptor, and a local one: the mean over positions that the evidence of a class picks out, for each
       class, weighted by the class's share (no gradient: the hash loss would else move the shares).
    3. Maps of three depths, each through channel and position attention (CBAM), averaged and reduced.
    4. All of it, normalised and joined, through a hidden layer into the hash layer.

    Parameters
    ----------
    channels
        Channels of the maps at each of `strides`.
    code_length
        Bits.
    n_labels
        Number of classes, at least one.
    hidden
        Width of the layer that joins the descriptors.
    depths, regions
        Whether depths, and whether local descriptors of classes take part: without them it is an ablation.

    Raises
    ------
    ValueError
        There is no class, or the channels do not fit the strides.
    """

    name: ClassVar[str] = "union"
    strides: ClassVar[tuple[int, ...]] = (8, 16, 32)
    temperature: Tensor

    def __init__(
        self,
        channels: tuple[int, ...],
        code_length: int,
        n_labels: int = 0,
        hidden: int = 512,
        *,
        depths: bool = True,
        regions: bool = True,
    ) -> None:
        super().__init__(channels, code_length, n_labels)
        if n_labels < 1:
            raise ValueError("local descriptors come from classes, but n_labels is 0: name at least one")
        if len(channels) != len(self.strides):
            raise ValueError(f"channels {channels} came for maps at strides {self.strides}: give one number for each")
        self.width, self.depths, self.regions = hidden, depths, regions
        last = channels[-1]
        self.standardised = nn.BatchNorm2d(last, eps=MIN_VARIANCE, affine=False)
        self.classifier = nn.Conv2d(last, n_labels, kernel_size=1)
        self.global_layer, self.global_norm = nn.Linear(last, GLOBAL_WIDTH, bias=False), nn.LayerNorm(GLOBAL_WIDTH)
        self.local_layer = nn.Linear(last, LOCAL_WIDTH) if regions else None
        self.local_norm = nn.LayerNorm(LOCAL_WIDTH) if regions else None
        of_depths = channels if depths else ()
        self.attentions = nn.ModuleList(attention_layers("both", number) for number in of_depths)
        self.reductions = nn.ModuleList(
            nn.Sequential(nn.Linear(number, DEPTH_WIDTH, bias=False), nn.BatchNorm1d(DEPTH_WIDTH))
            for number in of_depths
        )
        width = GLOBAL_WIDTH + LOCAL_WIDTH * regions + DEPTH_WIDTH * len(of_depths)
        self.hidden = HiddenLayer(width, hidden)
        self.hash_layer = HashLayer(hidden, code_length)
        self.register_buffer("temperature", torch.ones(()))

    @property
    def options(self) -> dict[str, Any]:
        """Width of the joining layer, and what takes part."""
        return {"hidden": self.width, "depths": self.depths, "regions": self.regions}

    def forward(self, maps: tuple[Tensor, ...]) -> HeadOutputs:
        """Codes, logits by `temperature`, class evidence at each position, and the mean of the last maps as features.

        Parameters
        ----------
        maps
            Maps (batch, channels, height / s, width / s) at each stride s.
        """
        standardised = self.standardised(maps[-1])
        evidence = self.classifier(standardised)  # (batch, n_labels, height, width)
        logits, pooled = image_logits(evidence), standardised.mean(dim=(2, 3))
        parts = [self.global_norm(self.global_layer(pooled))]
        if self.local_layer is not None and self.local_norm is not None:
            parts.append(self.local_norm(self._local(self.local_layer, standardised, evidence, logits)))
        parts += [
            reduce(attend(of_stride).mean(dim=(2, 3)))  # (batch, 128)
            for attend, reduce, of_stride in zip(self.attentions, self.reductions, maps, strict=self.depths)
        ]
        relaxed = self.hash_layer(self.hidden(torch.cat(parts, dim=1)))
        return HeadOutputs(relaxed, logits / self.temperature, evidence, pooled)

    def _local(self, project: nn.Linear, standardised: Tensor, evidence: Tensor, logits: Tensor) -> Tensor:
        """Local descriptor (batch, LOCAL_WIDTH), before its normalisation."""
        attended = attention(evidence).flatten(2).transpose(1, 2)  # (batch, positions, n_labels)
        descriptors = standardised.flatten(2) @ attended  # (batch, channels, n_labels)
        projected = functional.relu(project(descriptors.transpose(1, 2)))  # (batch, n_labels, LOCAL_WIDTH)
        return (logits.detach().softmax(dim=1)[:, :, None] * projected).sum(dim=1)
