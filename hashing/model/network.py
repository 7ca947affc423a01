"""The network: a convolutional trunk with a head on it.

The trunk is EfficientNet-Lite0 (Tan and Le, ICML 2019, in its variant without squeeze-and-excitation and with ReLU6).
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hashing.methods.base import Head

M = TypeVar("M", bound=nn.Module)

FEATURES = 1280
"""Channels of the last maps, and length of the pooled feature."""
INPUT_SIZE = 224
"""Side of the images that the node encodes, pixels."""
TRUNK_PREFIX = "trunk."


class BlockGroup(NamedTuple):
    """Consecutive inverted residual blocks with the same shape (Tan and Le 2019, table 1)."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


BLOCK_GROUPS = (
    BlockGroup(repeats=1, kernel=3, stride=1, expansion=1, channels=16),
    BlockGroup(repeats=2, kernel=3, stride=2, expansion=6, channels=24),
    BlockGroup(repeats=2, kernel=5, stride=2, expansion=6, channels=40),
    BlockGroup(repeats=3, kernel=3, stride=2, expansion=6, channels=80),
    BlockGroup(repeats=3, kernel=5, stride=1, expansion=6, channels=112),
    BlockGroup(repeats=4, kernel=5, stride=2, expansion=6, channels=192),
    BlockGroup(repeats=1, kernel=3, stride=1, expansion=6, channels=320),
)
STEM_CHANNELS = 32
MAPS = {8: (5, 40), 16: (11, 112), 32: (16, FEATURES)}
"""By stride: blocks after which its maps are taken, and their channels. Those of stride 32 have passed the last
convolution, too."""
LAST_STRIDE = 32
"""Stride of the last maps, whose mean over positions is the pooled feature."""


class HashNetwork(nn.Module):
    """A trunk with a head on it: images to relaxed codes and class logits.

    Parameters
    ----------
    trunk
        Images to maps.
    head
        Maps to codes. What it gives beyond codes and logits serves training and is left out here.
    input_size
        Side of the images that trunk and head were trained on, pixels; larger images are reduced to it.
    """

    def __init__(self, trunk: "EfficientNetLite0", head: Head, input_size: int = INPUT_SIZE) -> None:
        super().__init__()
        self.trunk, self.head, self.input_size = trunk, head, input_size

    @property
    def code_length(self) -> int:
        """Bits that the head gives, without those of the modality."""
        return self.head.code_length

    @property
    def n_classes(self) -> int:
        """Number of classes that the head gives logits of."""
        return self.head.n_labels

    @property
    def width(self) -> int:
        """Length of the output of one image: code_length + n_classes."""
        return self.code_length + self.n_classes

    def forward(self, images: Tensor) -> Tensor:
        """Relaxed codes of a batch, followed by its class logits.

        Parameters
        ----------
        images : (batch, 1, height, width), uint8 or float
            Grey values, 0 to 255, as `hashing.images.pixels.preprocess` makes them.

        Returns
        -------
        (batch, code_length + n_classes) float
            Relaxed codes, whose bits are set where the value is >= 0; then logits.
        """
        if images.shape[-1] > self.input_size:
            images = resized(images, self.input_size)
        outputs = self.head(self.trunk.maps(images, self.head.strides))
        relaxed: Tensor = outputs.relaxed
        return relaxed if outputs.logits is None else torch.cat([relaxed, outputs.logits], dim=1)

    def weights(self) -> dict[str, Tensor]:
        """All tensors by their names in a model file: "trunk." before those of the trunk, nothing before the head's."""
        trunk = {TRUNK_PREFIX + name: tensor for name, tensor in self.trunk.state_dict().items()}
        return trunk | self.head.state_dict()

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over tensors named as in `weights`; half precision becomes single.

        Raises
        ------
        RuntimeError
            A tensor is missing, unknown or of another shape.
        """
        trunk = {name: tensor for name, tensor in weights.items() if name.startswith(TRUNK_PREFIX)}
        self.trunk.load_state_dict({name.removeprefix(TRUNK_PREFIX): tensor for name, tensor in trunk.items()})
        self.head.load_state_dict({name: tensor for name, tensor in weights.items() if name not in trunk})


class EfficientNetLite0(nn.Module):
    """Single-channel trunk, whose feature is the global average of the last maps.

    Modules are registered in the order of the published checkpoints: `load_imagenet` matches tensors one by one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvolutionNorm(1, STEM_CHANNELS, kernel=3, stride=2)
        blocks: list[nn.Module] = []
        channels = STEM_CHANNELS
        for group in BLOCK_GROUPS:
            for repeat in range(group.repeats):
                stride = group.stride if repeat == 0 else 1
                blocks.append(InvertedResidual(channels, group.channels, group.kernel, stride, group.expansion))
                channels = group.channels
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvolutionNorm(channels, FEATURES, kernel=1)

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features (batch, 1280) of images (batch, 1, height, width) with grey values 0 to 255."""
        return self._last(self.blocks(self._first(images))).mean(dim=(2, 3))

    def maps(self, images: Tensor, strides: tuple[int, ...]) -> tuple[Tensor, ...]:
        """What a head with these strides reads.

        Parameters
        ----------
        images : (batch, 1, height, width)
            Grey values, 0 to 255.
        strides
            Each one of `MAPS`, ascending; empty for the pooled features.

        Returns
        -------
        For each stride s a tensor (batch, channels, height / s, width / s); or the pooled features (batch, 1280) alone.
        """
        if not strides:
            return (self(images),)
        maps, taken, done = self._first(images), [], 0
        for stride in strides:
            maps = self.blocks[done : MAPS[stride][0]](maps)
            done = MAPS[stride][0]
            taken.append(self._last(maps) if done == len(self.blocks) else maps)
        return tuple(taken)

    def _first(self, images: Tensor) -> Tensor:
        normalised = (images.to(self.head.convolution.weight.dtype) - 127) / 128
        return functional.relu6(self.stem(normalised), inplace=True)  # (batch, 32, height / 2, width / 2)

    def _last(self, maps: Tensor) -> Tensor:
        return functional.relu6(self.head(maps), inplace=True)  # (batch, 1280, height / 32, width / 32)

    def load_imagenet(self, checkpoint: dict[str, Tensor]) -> None:
        """Take over published ImageNet weights; the three colour filters of the stem are summed into one.

        Raises
        ------
        ValueError
            The checkpoint is not one of EfficientNet-Lite0.
        """
        published = [tensor for name, tensor in checkpoint.items() if not name.startswith("_fc.")]
        published[0] = published[0].sum(dim=1, keepdim=True)
        own = self.state_dict()
        if [tensor.shape for tensor in own.values()] != [tensor.shape for tensor in published]:
            raise ValueError("these are not the weights of an EfficientNet-Lite0: tensor shapes differ")
        self.load_state_dict(dict(zip(own, published, strict=True)))


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; the input is added where shapes allow (Sandler et al., CVPR 2018)."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels_in * expansion
        self.expand = ConvolutionNorm(channels_in, inner, kernel=1) if expansion > 1 else None
        self.filter = ConvolutionNorm(inner, inner, kernel=kernel, stride=stride, groups=inner)
        self.project = ConvolutionNorm(inner, channels_out, kernel=1)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, maps: Tensor) -> Tensor:
        """Feature maps of shape (batch, channels_out, height / stride, width / stride)."""
        inner = maps if self.expand is None else functional.relu6(self.expand(maps), inplace=True)
        projected: Tensor = self.project(functional.relu6(self.filter(inner), inplace=True))
        return maps + projected if self.residual else projected


class ConvolutionNorm(nn.Module):
    """Convolution without bias and batch normalisation, padded as TensorFlow does ("SAME", even input sizes)."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
        even = before == after
        self.uneven_padding = None if even else nn.ZeroPad2d((before, after, before, after))
        padding = before if even else 0
        self.convolution = nn.Conv2d(
            channels_in, channels_out, kernel, stride, padding=padding, groups=groups, bias=False
        )
        self.norm: nn.Module = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)

    def fuse(self) -> None:
        """Fold the normalisation into the convolution; for inference only."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.convolution, self.norm = fuse_conv_bn_eval(self.convolution, self.norm), nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """Normalised maps, without activation."""
        padded = maps if self.uneven_padding is None else self.uneven_padding(maps)
        normalised: Tensor = self.norm(self.convolution(padded))
        return normalised


def resized(images: Tensor, size: int) -> Tensor:
    """Images (batch, 1, side, side) as (batch, 1, size, size) float; the same function in training and in serving."""
    return functional.interpolate(images.float(), size=(size, size), mode="bilinear", antialias=True)


def channels_last(module: M) -> M:
    """The module with its weights laid out for convolution on a CPU (channels last), in place."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module


def channels_of(strides: tuple[int, ...]) -> tuple[int, ...]:
    """Channels of each tensor that the trunk gives a head with these strides."""
    return tuple(MAPS[stride][1] for stride in strides) if strides else (FEATURES,)
