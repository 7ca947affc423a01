"""Networks by their architecture: the trunk and the head that a model file names, put together."""

from hashing.methods.catalogue import HEADS
from hashing.model.model_file import Architecture, ModelError
from hashing.model.network import EfficientNetLite0, HashNetwork, channels_of

TRUNKS: dict[str, type[EfficientNetLite0]] = {"efficientnet-lite0": EfficientNetLite0}
"""Classes of trunks by the name that a model file gives."""


def build(architecture: Architecture, n_classes: int) -> HashNetwork:
    """An untrained network.

    Parameters
    ----------
    n_classes
        Number of classes that the head gives logits of; 0 for none.

    Raises
    ------
    ModelError
        Trunk or head are unknown here, or the head does not take its options.
    """
    if architecture.trunk not in TRUNKS:
        raise ModelError(f"there is no trunk {architecture.trunk!r}: known are {', '.join(TRUNKS)}; update lookalike")
    if architecture.head not in HEADS:
        raise ModelError(f"there is no head {architecture.head!r}: known are {', '.join(HEADS)}; update lookalike")
    head = HEADS[architecture.head]
    channels = channels_of(head.strides)
    try:
        built = head(channels, architecture.learned_bits, n_classes, **architecture.head_options)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"head {architecture.head} does not take {dict(architecture.head_options)}: {error}"
        ) from error
    return HashNetwork(TRUNKS[architecture.trunk](), built, architecture.input_size)
