"""Why two images were found alike: maps over their positions, from a model that is loaded for explanation only.

The encoder folds layers together and keeps no gradients, so that this module loads the same weights once more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hashing.methods.base import Head, HeadOutputs
from hashing.methods.semantic_attention import attention, gate
from hashing.model.encoder import device_named
from hashing.model.model_file import DEFAULT_MODEL, Model, ModelError
from hashing.model.network import INPUT_SIZE, LAST_STRIDE, HashNetwork, resized
from hashing.model.weights import load_network

OCCLUDED_BATCH = 8
"""Images that pass through the network at once: more take longer, for their maps no longer fit into the caches."""
HIDDEN_GREY = 127
"""Grey value that hides a part of an image: the one that the network's normalisation turns into 0."""


@dataclass(frozen=True, slots=True)
class PairExplanation:
    """Why a match was found for a query. All maps are (rows, columns) float32 over the query.

    Attributes
    ----------
    shared
        Shared attention: where the query shows the labels that both images probably have. Not negative, with a sum of
        at most one; None where the model gives no class evidence.
    gradient
        Contribution of each position to the agreement of the codes; negative where it draws the codes apart.
    occlusion
        How much of the agreement of the codes is lost where the position is hidden. Computed where `shared` is None.
    label_weights : (n_labels,) float32
        Product of both images' shares of each label: what each label has in `shared`. Without a value where `shared` is
        None.
    """

    shared: NDArray[np.float32] | None
    gradient: NDArray[np.float32]
    occlusion: NDArray[np.float32] | None
    label_weights: NDArray[np.float32]

    @property
    def reason(self) -> NDArray[np.float32]:
        """The map to show: shared attention where the model gives it, else occlusion."""
        reason = self.shared if self.shared is not None else self.occlusion
        assert reason is not None
        return reason


class Explainer:
    """Explains pairs of images by the weights of a model.

    Parameters
    ----------
    network
        As `hashing.model.weights.load_network` gives it.
    code_length
        Bits of the codes that were compared: one of the model's `code_lengths`.

    Raises
    ------
    ModelError
        The model has no codes of this length.
    """

    def __init__(self, network: HashNetwork, model: Model, code_length: int, device: torch.device) -> None:
        lengths = model.architecture.code_lengths
        if code_length not in lengths:
            raise ModelError(f"code length {code_length} is not one of {lengths}: change code_length")
        self.model, self.device = model, device
        self.n_bits = model.architecture.learned_bits_of(code_length)
        self.network = network.eval().requires_grad_(requires_grad=False).to(device)

    @classmethod
    def load(cls, path: Path = DEFAULT_MODEL, code_length: int = 64, device: str = "auto") -> Self:
        """The explainer of a model file; parameters and errors are those of `hashing.model.encoder.Encoder.load`."""
        network, model = load_network(path)
        return cls(network, model, code_length, device_named(device))

    def explain(self, query: NDArray[np.uint8], match: NDArray[np.uint8]) -> PairExplanation:
        """Why a match was found for a query.

        Parameters
        ----------
        query, match : (224, 224) uint8
            As `hashing.images.pixels.preprocess` makes them.

        Raises
        ------
        ValueError
            An image has another shape or type.
        """
        images = self._images([query, match])
        with torch.no_grad():
            of_query, of_match = self._outputs(images[:1]), self._outputs(images[1:])
        signs = torch.where(of_match.relaxed[0, : self.n_bits] >= 0, 1.0, -1.0)
        gradient = self._gradient(images[:1], signs)
        if of_query.evidence is not None:
            shared, weights = shared_attention(of_query, of_match)
            return PairExplanation(_array(shared[0]), gradient, None, _array(weights[0]))
        return PairExplanation(None, gradient, self._occlusion(images[:1], signs), np.empty(0, np.float32))

    def reasons(
        self, query: NDArray[np.uint8], match: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Maps over both images from one pass of each; None where the head allows none.

        They are shared attention, or for a head on pooled features how much of the agreement of the codes is lost
        without a position's features. Parameters and errors are those of `explain`.
        """
        images = self._images([query, match])
        with torch.no_grad():
            if self.network.head.strides:
                outputs = [self._outputs(image[None]) for image in images]
                if outputs[0].evidence is None:
                    return None
                maps = [shared_attention(*pair)[0][0] for pair in (outputs, outputs[::-1])]
            else:
                seen = self.network.trunk.maps(images, (LAST_STRIDE,))[0]
                relaxed = self.network.head((seen.mean(dim=(2, 3)),)).relaxed[:, : self.n_bits]
                signs = torch.where(relaxed >= 0, 1.0, -1.0)
                maps = [lost_agreement(self.network.head, one, of) for one, of in zip(seen, signs.flip(0), strict=True)]
        return _array(maps[0]), _array(maps[1])

    def class_maps(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Attention of each of the model's classes over an image (224, 224) uint8: (n_classes, rows, columns).

        Each map sums to one; there is no map if the model gives no class evidence.
        """
        with torch.no_grad():
            outputs = self._outputs(self._images([image]))
        if outputs.evidence is None:
            return np.empty((0, 0, 0), np.float32)
        return _array(attention(outputs.evidence)[0])

    def _images(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Images as the network takes them, (n, 1, input_size, input_size)."""
        for image in images:
            if image.shape != (INPUT_SIZE, INPUT_SIZE) or image.dtype != np.uint8:
                raise ValueError(
                    f"an image of ({INPUT_SIZE}, {INPUT_SIZE}) uint8 is expected, not {image.shape} {image.dtype}"
                )
        stacked = torch.from_numpy(np.stack(images)).unsqueeze(1).float().to(self.device)
        size = self.network.input_size
        return resized(stacked, size) if size < INPUT_SIZE else stacked

    def _outputs(self, images: Tensor) -> HeadOutputs:
        head = self.network.head
        outputs: HeadOutputs = head(self.network.trunk.maps(images, head.strides))
        return outputs

    def _gradient(self, image: Tensor, signs: Tensor) -> NDArray[np.float32]:
        head = self.network.head
        with torch.no_grad():
            maps = self.network.trunk.maps(image, head.strides or (LAST_STRIDE,))
        return _array(code_contributions(head, maps, signs)[0])

    def _occlusion(self, image: Tensor, signs: Tensor) -> NDArray[np.float32]:
        """Loss of agreement, per bit, where each cell of `LAST_STRIDE` pixels is hidden."""
        side = -(-image.shape[-1] // LAST_STRIDE)
        hidden = image.repeat(side * side, 1, 1, 1)
        for cell in range(side * side):
            top, left = (LAST_STRIDE * number for number in divmod(cell, side))
            hidden[cell, :, top : top + LAST_STRIDE, left : left + LAST_STRIDE] = HIDDEN_GREY
        with torch.no_grad():
            parts = torch.split(torch.cat([image, hidden]), OCCLUDED_BATCH)
            relaxed = torch.cat([self._outputs(part).relaxed for part in parts])[:, : self.n_bits]
        agreement = torch.tanh(relaxed) @ signs / self.n_bits  # (1 + cells,)
        return _array((agreement[0] - agreement[1:]).view(side, side))


def shared_attention(query: HeadOutputs, match: HeadOutputs) -> tuple[Tensor, Tensor]:
    """Map of the evidence in a query that it shares with a match: E(p) = sum_c pi_c(q) pi_c(d) A_c^q(p).

    Parameters
    ----------
    query, match
        Outputs of a head that gives class evidence, for the same number of images.

    Returns
    -------
    (batch, height, width), (batch, n_labels)
        E, and the products pi_c(q) pi_c(d) which it sums over positions to. E of (d, q) is the map over the match.

    Raises
    ------
    ValueError
        The head gives no class evidence.
    """
    if query.evidence is None or query.logits is None or match.logits is None:
        raise ValueError("shared attention needs class evidence and logits, which this head does not give")
    weights = gate(query.logits) * gate(match.logits)  # (batch, n_labels)
    return (weights[:, :, None, None] * attention(query.evidence)).sum(dim=1), weights


def lost_agreement(head: Head, maps: Tensor, signs: Tensor) -> Tensor:
    """Agreement of a query's code with a match's that is lost, per bit, without the features of each position.

    Parameters
    ----------
    head
        One on pooled features, in evaluation mode.
    maps : (channels, height, width)
        Last maps of the query.
    signs : (n_bits,)
        Leading bits of the match's code, as -1 and 1.

    Returns
    -------
    (height, width)
        tanh(h) b / n_bits of all positions, less the same of all but one, for each; h is the relaxed code of the mean.
    """
    features = maps.flatten(1).T  # (positions, channels)
    total, count = features.sum(dim=0), len(features)
    pooled = torch.cat([total[None] / count, (total - features) / (count - 1)])
    relaxed = head((pooled,)).relaxed[:, : len(signs)]
    agreement = torch.tanh(relaxed) @ signs / len(signs)  # (1 + positions,)
    return (agreement[0] - agreement[1:]).view(maps.shape[1:])


def code_contributions(head: Head, maps: tuple[Tensor, ...], signs: Tensor) -> Tensor:
    """Contribution of each position to the agreement of a query's code with a match's: sum_d F_d(p) dS / dF_d(p).

    S = sum_k tanh(h_k) b_k is the agreement of the query's relaxed code h with the match's code b. It is taken at
    b = 1 of the continuation: at a sharper one gradients vanish. The gate of an `AttentionHead` counts as a constant,
    as it does in training.

    Parameters
    ----------
    head
        In evaluation mode.
    maps
        Maps of the query (batch, channels, height, width) at each of the head's strides; for a head on pooled features
        those of stride 32 alone.
    signs : (n_bits,)
        Leading bits of the match's code, as -1 and 1.

    Returns
    -------
    (batch, height, width)
        On the grid of the last maps. Contributions of finer maps are summed within its cells.
    """
    leaves = tuple(some.detach().requires_grad_() for some in maps)
    inputs = leaves if head.strides else (leaves[0].mean(dim=(2, 3)),)
    agreement = (torch.tanh(head(inputs).relaxed[:, : len(signs)]) @ signs).sum()
    gradients = torch.autograd.grad(agreement, leaves)
    batch, _, rows, columns = leaves[-1].shape
    total = leaves[-1].new_zeros((batch, rows, columns))
    for some, gradient in zip(leaves, gradients, strict=True):
        by_position = (some.detach() * gradient).sum(dim=1, keepdim=True)
        ratio = by_position.shape[2] * by_position.shape[3] / (rows * columns)
        total += ratio * functional.adaptive_avg_pool2d(by_position, (rows, columns))[:, 0]
    return total


def _array(values: Tensor) -> NDArray[np.float32]:
    return np.asarray(values.float().cpu().numpy(), np.float32)
