"""From network inputs to codes and class scores, with a trained model read from a file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save

from hashing.codes import Codes, coded
from hashing.model.backends import Backend, backend
from hashing.model.modality import joined, learned_length
from hashing.model.model_file import ARCHITECTURE, DEFAULT_MODEL, Model, ModelError, read_model
from hashing.model.network import CODE_LENGTHS, INPUT_SIZE, LEARNED_BITS, ConvolutionNorm, HashNetwork
from hashing.ranking_scores import Outputs, in_eight_bits, in_whole_numbers

LENGTH_BYTES = 8  # of the header of a safetensors file, little-endian, before the header itself


@dataclass(frozen=True, slots=True)
class Encoding:
    """What a model says of images.

    Attributes
    ----------
    relaxed : (n, code_length)
        Pre-codes: their signs are the bits, zero counting as one.
    class_scores : (n, n_classes)
        How probable each of `Model.classes` is; each row sums to one. No columns if the model has no classes.
    """

    relaxed: NDArray[np.float32]
    class_scores: NDArray[np.float32]

    @property
    def codes(self) -> Codes:
        """(n, ceil(code_length / 64)) uint64."""
        return coded(self.relaxed)

    @property
    def outputs(self) -> Outputs:
        """What a second ranking stage goes by, in whole numbers of one byte."""
        scores = in_eight_bits(self.class_scores) if self.class_scores.shape[1] else None
        return Outputs(in_whole_numbers(self.relaxed), scores)

    @classmethod
    def joined(cls, parts: Sequence["Encoding"]) -> Self:
        """That of several parts, one after the other."""
        relaxed, scores = zip(*((part.relaxed, part.class_scores) for part in parts), strict=True)
        return cls(np.concatenate(relaxed), np.concatenate(scores))

    def split(self, ends: Sequence[int]) -> list["Encoding"]:
        """As `numpy.split`: a part up to each end, and the rest."""
        parts = zip(np.split(self.relaxed, ends), np.split(self.class_scores, ends), strict=True)
        return [Encoding(*part) for part in parts]


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
            As in `hashing.model.backends.backend`.

        Raises
        ------
        ModelError
            The file is missing, damaged or of another architecture, or the code length or device cannot be had.
        """
        model = read_model(path)
        network = HashNetwork.of(load_file(path))
        if network.n_classes != len(model.classes):
            raise ModelError(f"{path} names {len(model.classes)} classes and has a classifier of {network.n_classes}")
        return cls(network, model, code_length, _device(device), backend_name)

    def encode(self, images: NDArray[np.uint8], modalities: Sequence[str]) -> Encoding:
        """Codes of images, and what their order may come from beyond them.

        Parameters
        ----------
        images : (n, 224, 224)
            As `hashing.images.pixels.preprocess` makes them.
        modalities
            Modality (0008,0060) of each, or "" where it is not known.

        Raises
        ------
        ValueError
            Images of another shape or type, or not one modality for each.
        """
        if images.ndim != 3 or images.shape[1:] != (INPUT_SIZE, INPUT_SIZE) or images.dtype != np.uint8:
            raise ValueError(
                f"images of (n, {INPUT_SIZE}, {INPUT_SIZE}) uint8 expected, not {images.shape} {images.dtype}"
            )
        outputs = self._run(images)  # (n, 96 + n_classes)
        learned, logits = outputs[:, : learned_length(self.code_length)], outputs[:, LEARNED_BITS:]
        return Encoding(joined(learned, modalities), _softmax(logits))


def export(network: HashNetwork, path: Path, name: str, facts: Mapping[str, str], classes: Sequence[str] = ()) -> Model:
    """Write a network as a model file: fp16, with its architecture and facts about its making in the header.

    Parameters
    ----------
    classes
        Names of what its classifier tells apart, if it has one.

    Raises
    ------
    ModelError
        A weight does not fit fp16, or names and classes are not as many.
    """
    if network.n_classes != len(classes):
        raise ModelError(f"{len(classes)} names came for {network.n_classes} classes")
    weights = {
        key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in network.state_dict().items()
    }
    if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
        raise ModelError("a weight is too large for fp16")
    facts = {"architecture": ARCHITECTURE, "name": name, "code_lengths": json.dumps(CODE_LENGTHS), **facts}
    if classes:
        facts["classes"] = json.dumps(list(classes))
    content = save({key: tensor.contiguous() for key, tensor in weights.items()}, metadata=facts)
    partial = path.with_suffix(".partial")
    partial.write_bytes(_in_order(content))
    partial.rename(path)  # a process that has the old file mapped keeps it
    return read_model(path)


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its header sorted: as the library writes it, facts come in another order each time.

    The fingerprint would tell models apart that are the same.
    """
    start = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    header = json.dumps(json.loads(content[LENGTH_BYTES:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % LENGTH_BYTES)  # the weights behind it stay aligned
    return len(header).to_bytes(LENGTH_BYTES, "little") + header + content[start:]


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    shares: NDArray[np.float32] = exponents / exponents.sum(axis=1, keepdims=True)
    return shares


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
