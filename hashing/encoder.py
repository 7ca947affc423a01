"""From network inputs to codes, with a trained model read from a file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file

from hashing.backends import Backend, backend
from hashing.codes import Codes, coded
from hashing.modality import joined, learned_length
from hashing.model import ARCHITECTURE, DEFAULT_MODEL, Model, ModelError, read_model
from hashing.network import CODE_LENGTHS, INPUT_SIZE, ConvolutionNorm, HashNetwork


class Encoder:
    """Encodes batches of images on a CPU or GPU."""

    def __init__(
        self, network: HashNetwork, model: Model, code_length: int, device: torch.device, backend_name: Backend = "auto"
    ) -> None:
        if code_length not in CODE_LENGTHS:
            raise ModelError(f"code length {code_length} is not one of {CODE_LENGTHS}: change code_length")
        self.model, self.code_length = model, code_length
        self._run = backend(_fused(network), device, backend_name)

    @classmethod
    def load(
        cls,
        path: Path = DEFAULT_MODEL,
        code_length: int = 64,
        device: str = "auto",
        backend_name: Backend = "auto",
    ) -> Self:
        """Return an encoder with the weights of `path`.

        Parameters
        ----------
        code_length
            Bits kept of each code: 16, 32, 48, 64 or 128.
        device
            "cpu", "cuda", or "auto": a GPU where there is one.
        backend_name
            As in `hashing.backends.backend`.

        Raises
        ------
        ModelError
            The file is missing, damaged or of another architecture, or the code length or device cannot be had.
        """
        model = read_model(path)
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        network = HashNetwork()
        network.load_state_dict({name: tensor.to(network.state_dict()[name].dtype) for name, tensor in weights.items()})
        return cls(network, model, code_length, _device(device), backend_name)

    def encode(self, images: NDArray[np.uint8], modalities: Sequence[str]) -> Codes:
        """Codes of images.

        Parameters
        ----------
        images : (n, 224, 224)
            As `hashing.pixels.preprocess` makes them.
        modalities
            Modality (0008,0060) of each, or "" where it is not known.

        Returns
        -------
        (n, ceil(code_length / 64)) uint64
        """
        return coded(self.relaxed(images, modalities))

    def relaxed(self, images: NDArray[np.uint8], modalities: Sequence[str]) -> NDArray[np.float32]:
        """Pre-codes, shape (n, code_length): their signs are the bits, zero counting as one."""
        if images.ndim != 3 or images.shape[1:] != (INPUT_SIZE, INPUT_SIZE) or images.dtype != np.uint8:
            raise ValueError(
                f"images of (n, {INPUT_SIZE}, {INPUT_SIZE}) uint8 expected, not {images.shape} {images.dtype}"
            )
        learned = self._run(images)[:, : learned_length(self.code_length)]
        return joined(learned, modalities)


def export(network: HashNetwork, path: Path, name: str, facts: Mapping[str, str]) -> Model:
    """Write a network as a model file: fp16, with its architecture and facts about its making in the header.

    Raises
    ------
    ModelError
        A weight does not fit fp16.
    """
    weights = {
        key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in network.state_dict().items()
    }
    if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
        raise ModelError("a weight is too large for fp16")
    facts = {"architecture": ARCHITECTURE, "name": name, "code_lengths": json.dumps(CODE_LENGTHS), **facts}
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, path, metadata=facts)
    return read_model(path)


def _device(name: str) -> torch.device:
    available = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if available else "cpu")
    if name.startswith("cuda") and not available:
        raise ModelError(f"device {name} asked for, but torch sees no GPU: set device to cpu or auto")
    return torch.device(name)


def _fused(network: HashNetwork) -> HashNetwork:
    """Fold each batch normalisation into its convolution: the same function, a third faster on a CPU."""
    network.eval()
    for module in network.modules():
        if isinstance(module, ConvolutionNorm):
            module.fuse()
    return network.requires_grad_(requires_grad=False)
