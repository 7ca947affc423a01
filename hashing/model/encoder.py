"""From network inputs to codes and class scores, with a trained model read from a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from hashing.codes import Codes, coded
from hashing.model.backends import Backend, backend
from hashing.model.modality import joined
from hashing.model.model_file import DEFAULT_MODEL, Model, ModelError
from hashing.model.network import INPUT_SIZE, ConvolutionNorm, HashNetwork
from hashing.model.weights import load_network
from hashing.ranking_scores import Outputs, in_eight_bits, in_whole_numbers


@dataclass(frozen=True, slots=True)
class Encoding:
    """What a model makes of images.

    Attributes
    ----------
    relaxed : (n, code_length)
        Relaxed codes: a bit is set where the value is >= 0.
    class_scores : (n, n_classes)
        Probability of each of `Model.classes`; each row sums to one. No columns if the model has no classes.
    """

    relaxed: NDArray[np.float32]
    class_scores: NDArray[np.float32]

    @property
    def codes(self) -> Codes:
        """(n, ceil(code_length / 64)) uint64."""
        return coded(self.relaxed)

    @property
    def outputs(self) -> Outputs:
        """Outputs that a second ranking stage orders by, as integers of one byte."""
        scores = in_eight_bits(self.class_scores) if self.class_scores.shape[1] else None
        return Outputs(in_whole_numbers(self.relaxed), scores)

    @classmethod
    def joined(cls, parts: Sequence["Encoding"]) -> Self:
        """The encoding of all images of several parts, one part after the other."""
        relaxed, scores = zip(*((part.relaxed, part.class_scores) for part in parts), strict=True)
        return cls(np.concatenate(relaxed), np.concatenate(scores))

    def split(self, ends: Sequence[int]) -> list["Encoding"]:
        """Parts of the encoding, as `numpy.split` makes them: one up to each end, and the rest."""
        parts = zip(np.split(self.relaxed, ends), np.split(self.class_scores, ends), strict=True)
        return [Encoding(*part) for part in parts]


class Encoder:
    """Encodes batches of images on a CPU or GPU."""

    def __init__(
        self, network: HashNetwork, model: Model, code_length: int, device: torch.device, backend_name: Backend = "auto"
    ) -> None:
        lengths = model.architecture.code_lengths
        if code_length not in lengths:
            raise ModelError(f"code length {code_length} is not one of {lengths}: change code_length")
        self.model, self.code_length = model, code_length
        self._run, self._lock = backend(fused(network), device, backend_name), Lock()

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
            Bits of each code: one of the model's `code_lengths`.
        device
            "cpu", "cuda", or "auto": a GPU where there is one.
        backend_name
            As in `hashing.model.backends.backend`.

        Raises
        ------
        ModelError
            The file is missing, damaged or of an unknown architecture, or the code length or device cannot be had.
        """
        network, model = load_network(path)
        return cls(network, model, code_length, device_named(device), backend_name)

    def encode(self, images: NDArray[np.uint8], modalities: Sequence[str]) -> Encoding:
        """Codes and class scores of images.

        Parameters
        ----------
        images : (n, 224, 224) uint8
            As `hashing.images.pixels.preprocess` makes them.
        modalities
            Modality (0008,0060) of each image, or "" where it is not known.

        Raises
        ------
        ValueError
            The images have another shape or type, or there is not one modality for each.
        """
        if images.ndim != 3 or images.shape[1:] != (INPUT_SIZE, INPUT_SIZE) or images.dtype != np.uint8:
            raise ValueError(
                f"images of (n, {INPUT_SIZE}, {INPUT_SIZE}) uint8 expected, not {images.shape} {images.dtype}"
            )
        if len(modalities) != len(images):
            raise ValueError(f"{len(modalities)} modalities for {len(images)} images: give one for each")
        with self._lock:  # a backend serves one thread at a time
            outputs = self._run(images)
        architecture = self.model.architecture
        learned = outputs[:, : architecture.learned_bits_of(self.code_length)]
        relaxed = joined(learned, modalities) if architecture.modality_bits else learned
        return Encoding(relaxed, softmax(outputs[:, architecture.learned_bits :]))


def device_named(name: str) -> torch.device:
    """The device of a name: "auto" is a GPU where there is one.

    Raises
    ------
    ModelError
        A GPU is named, and there is none.
    """
    available = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if available else "cpu")
    if name.startswith("cuda") and not available:
        raise ModelError(f"device {name} is set, but torch sees no GPU: set device to cpu or auto")
    return torch.device(name)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of logits (n, n_classes): each row sums to one."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    shares: NDArray[np.float32] = exponents / exponents.sum(axis=1, keepdims=True)
    return shares


def fused(network: HashNetwork) -> HashNetwork:
    """Fold each batch normalisation into its convolution: the same function, a third faster on a CPU."""
    network.eval()
    for module in network.modules():
        if isinstance(module, ConvolutionNorm):
            module.fuse()
    return network.requires_grad_(requires_grad=False)
