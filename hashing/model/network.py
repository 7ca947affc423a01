"""The network: a convolutional trunk and a hash layer whose leading bits serve shorter codes.

The trunk is EfficientNet-Lite0 (Tan and Le, ICML 2019, in its variant without squeeze-and-excitation and with ReLU6).
"""

from collections.abc import Mapping
from typing import NamedTuple, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hashing.model.modality import learned_length

M = TypeVar("M", bound=nn.Module)

FEATURES = 1280
STRIDE = 32  # of the trunk, pixels of an image to one place of its last maps
INPUT_SIZE = 224
CODE_LENGTHS = (16, 32, 48, 64, 128)
LEARNED_BITS = learned_length(max(CODE_LENGTHS))


class Stage(NamedTuple):
    """A run of inverted residual blocks of one kind (Tan and Le 2019, table 1)."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(repeats=1, kernel=3, stride=1, expansion=1, channels=16),
    Stage(repeats=2, kernel=3, stride=2, expansion=6, channels=24),
    Stage(repeats=2, kernel=5, stride=2, expansion=6, channels=40),
    Stage(repeats=3, kernel=3, stride=2, expansion=6, channels=80),
    Stage(repeats=3, kernel=5, stride=1, expansion=6, channels=112),
    Stage(repeats=4, kernel=5, stride=2, expansion=6, channels=192),
    Stage(repeats=1, kernel=3, stride=1, expansion=6, channels=320),
)
STEM_CHANNELS = 32


class HashNetwork(nn.Module):
    """Images to 96 relaxed bits; with those of the modality between them they make codes of 128 and, cut, less.

    Parameters
    ----------
    n_classes
        Classes that a linear classifier beside the hash layer knows; none without one.
    """

    def __init__(self, n_classes: int = 0) -> None:
        super().__init__()
        self.trunk = EfficientNetLite0()
        self.hash_layer = HashLayer(FEATURES, LEARNED_BITS)
        self.classifier = nn.Linear(FEATURES, n_classes) if n_classes else None

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> Self:
        """The network that has these weights, in fp32, with a classifier if they are of one with it."""
        bias = weights.get("classifier.bias")
        network = cls(0 if bias is None else len(bias))
        own = network.state_dict()
        network.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in weights.items()})
        return network

    @property
    def n_classes(self) -> int:
        """Number of classes it gives logits of."""
        return 0 if self.classifier is None else self.classifier.out_features

    @property
    def width(self) -> int:
        """Numbers it puts out for an image: 96 + n_classes."""
        return LEARNED_BITS + self.n_classes

    def forward(self, images: Tensor) -> Tensor:
        """Relaxed codes of a batch, and its class logits where there is a classifier.

        Parameters
        ----------
        images : (batch, 1, height, width), uint8 or float
            Grey values, 0 to 255, as `hashing.images.pixels.preprocess` makes them.

        Returns
        -------
        (batch, 96 + n_classes) float
            Learned pre-codes, each centred by batch normalisation; bit = value >= 0. See `hashing.model.modality`. Then
            logits.
        """
        features = self.trunk(images)
        relaxed: Tensor = self.hash_layer(features)
        return relaxed if self.classifier is None else torch.cat([relaxed, self.classifier(features)], dim=1)


class HashLayer(nn.Sequential):
    """Linear without bias, then batch normalisation, which balances each bit (Hoe et al., NeurIPS 2021, 3.3)."""

    def __init__(self, features: int, bits: int) -> None:
        super().__init__(nn.Linear(features, bits, bias=False), nn.BatchNorm1d(bits))


class EfficientNetLite0(nn.Module):
    """Single-channel trunk; global average of the last feature map.

    Modules are registered in the order of the published checkpoints: `load_imagenet` matches tensors one by one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvolutionNorm(1, STEM_CHANNELS, kernel=3, stride=2)
        blocks: list[nn.Module] = []
        channels = STEM_CHANNELS
        for stage in STAGES:
            for repeat in range(stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                blocks.append(InvertedResidual(channels, stage.channels, stage.kernel, stride, stage.expansion))
                channels = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvolutionNorm(channels, FEATURES, kernel=1)

    def forward(self, images: Tensor) -> Tensor:
        """Features, shape (batch, 1280), of images of shape (batch, 1, height, width) with values 0 to 255."""
        return self.maps(images).mean(dim=(2, 3))

    def maps(self, images: Tensor) -> Tensor:
        """The last feature maps, shape (batch, 1280, height / 32, width / 32): features before they are averaged."""
        normalised = (images.to(self.head.convolution.weight.dtype) - 127) / 128
        maps = functional.relu6(self.stem(normalised), inplace=True)  # (batch, 32, height / 2, width / 2)
        return functional.relu6(self.head(self.blocks(maps)), inplace=True)

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


def channels_last(module: M) -> M:
    """The module with its weights laid out for convolution on a CPU (channels last), in place."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module
