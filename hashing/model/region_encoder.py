"""Codes of parts of an image, from the features at their positions.

A part that is cut out and enlarged looks like nothing that a network has seen whole: its code lies near no image that
shows the same. Pooled from the maps of the whole image, the features of a part keep their scale and surroundings, as in
regional pooling of convolutional features (Tolias et al., ICLR 2016).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashing.model.encoder import Encoding, device_named, fused, softmax
from hashing.model.modality import joined
from hashing.model.model_file import DEFAULT_MODEL, Model
from hashing.model.network import INPUT_SIZE, LAST_STRIDE, HashNetwork, resized
from hashing.model.weights import load_network

Region = tuple[int, int, int, int]
"""First column, first row, last column, last row, 1-based and inclusive."""
MIN_SIDE: Final = INPUT_SIZE // 3
"""Pixels to which a smaller region is widened: a lesion with some of its surroundings finds more of its kind."""
PART, STEP = 64, 16
"""Side of a part of an image, and the distance to the next one, pixels: four cells of the maps of a doubled image."""
PARTS: Final[tuple[Region, ...]] = tuple(
    (left, top, left + PART - 1, top + PART - 1)
    for top in range(1, INPUT_SIZE - PART + 2, STEP)
    for left in range(1, INPUT_SIZE - PART + 2, STEP)
)
"""The overlapping parts of an image whose codes are compared with that of a region."""


class RegionEncoder:
    """Encodes regions of images by the weights of a model; one thread at a time."""

    def __init__(self, network: HashNetwork, model: Model, code_length: int, device: torch.device) -> None:
        self._network, self._model, self._device = fused(network).to(device), model, device
        self._n_bits = model.architecture.learned_bits_of(code_length)

    @classmethod
    def load(cls, path: Path = DEFAULT_MODEL, code_length: int = 64, device: str = "auto") -> Self:
        """The encoder of a model file; parameters and errors are those of `hashing.model.encoder.Encoder.load`."""
        network, model = load_network(path)
        return cls(network, model, code_length, device_named(device))

    @property
    def pools(self) -> bool:
        """True if the head reads pooled features: only these can be those of a part."""
        return not self._network.head.strides

    def encode(
        self, image: NDArray[np.uint8], regions: Sequence[Region], modality: str, *, is_fine: bool = False
    ) -> Encoding:
        """Codes and class scores of regions of one image, from one pass of it.

        Parameters
        ----------
        image : (224, 224) uint8
            As `hashing.images.pixels.preprocess` makes it.
        regions
            In pixels of `image`.
        is_fine
            True for codes to compare with those of parts: the image is doubled in size, for maps of twice the
            resolution, which takes four times as long. False for codes to compare with those of whole images: regions
            that are too small for that are widened.
        """
        batch = torch.tensor(image)[None, None].float().to(self._device)  # a copy: previews cannot be written to
        size, chosen = self._network.input_size, regions if is_fine else [widened(region) for region in regions]
        size = 2 * size if is_fine else size
        with torch.inference_mode():
            scaled = batch if size == INPUT_SIZE else resized(batch, size)
            maps = self._network.trunk.maps(scaled, (LAST_STRIDE,))[0][0]
            shares = np.stack([shares_of(region, maps.shape[-1]) for region in chosen])
            pooled = torch.einsum("chw,rhw->rc", maps, torch.from_numpy(shares).to(self._device))
            outputs = self._network.head((pooled,))
        learned = _array(outputs.relaxed[:, : self._n_bits])
        marked = self._model.architecture.modality_bits
        relaxed = joined(learned, [modality] * len(learned)) if marked else learned
        logits = np.empty((len(learned), 0), np.float32) if outputs.logits is None else _array(outputs.logits)
        return Encoding(relaxed, softmax(logits))


def widened(region: Region) -> Region:
    """The region with so much around it that it is `MIN_SIDE` wide and high, moved into the image."""
    left, top, right, bottom = region
    (left, right), (top, bottom) = _span(left, right), _span(top, bottom)
    return left, top, right, bottom


def shares_of(region: Region, cells: int) -> NDArray[np.float32]:
    """(cells, cells): the part of a region that lies in each cell of an even grid over the image; they sum to one."""
    left, top, right, bottom = region
    edges = np.linspace(0, INPUT_SIZE, cells + 1)

    def overlaps(first: int, last: int) -> NDArray[np.float64]:
        inside = np.minimum(last, edges[1:]) - np.maximum(first - 1, edges[:-1])
        return np.asarray(inside.clip(0), np.float64)

    shares = np.outer(overlaps(top, bottom), overlaps(left, right))
    return np.asarray(shares / shares.sum(), np.float32)


def _span(first: int, last: int) -> tuple[int, int]:
    missing = max(0, MIN_SIDE - (last - first + 1))
    start = min(max(1, first - missing // 2), INPUT_SIZE - (last - first + missing))
    return start, start + (last - first) + missing


def _array(values: Tensor) -> NDArray[np.float32]:
    return np.asarray(values.float().cpu().numpy(), np.float32)
