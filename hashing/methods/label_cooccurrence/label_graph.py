"""The graph of labels that occur together in training images.

Wang, Xu and Zhou (2024) mine the co-occurrence of positive labels but do not say how they build the graph. Threshold
and re-weighting follow ML-GCN (Chen et al., CVPR 2019, eq. 7 and 8); mutual information as a weight is our choice.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WEIGHTINGS = ("pmi", "equal")
"""Weights of edges: positive pointwise mutual information, or 1."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cooccurrence:
    """How often labels occur together in a set of images.

    Attributes
    ----------
    counts : (n_labels, n_labels) int64
        N_ij, the number of images that have labels i and j; N_ii is the number of images that have label i.
    n_images
        Number of images, with those that have no label; or for each pair of labels the number of images of which both
        are known, where sets do not know each other's labels.
    """

    counts: NDArray[np.int64]
    n_images: int | NDArray[np.int64]

    @classmethod
    def of_labels(cls, labels: NDArray[np.bool_]) -> "Cooccurrence":
        """Co-occurrence in images with labels (n, n_labels). Give training images only."""
        present = labels.astype(np.int64)
        return cls(present.T @ present, len(labels))

    @classmethod
    def of_known(cls, labels: NDArray[np.bool_], known: NDArray[np.bool_]) -> "Cooccurrence":
        """Co-occurrence in images with labels and what is known of them, (n, n_labels) each."""
        present, said = (labels & known).astype(np.int64), known.astype(np.int64)
        return cls(present.T @ present, said.T @ said)

    def without(self, labels: Iterable[int]) -> "Cooccurrence":
        """The same, with some labels that occur with no other."""
        counts, alone = self.counts.copy(), np.isin(np.arange(len(self.counts)), list(labels))
        counts[(alone[:, None] | alone[None]) & ~np.eye(len(counts), dtype=bool)] = 0
        return Cooccurrence(counts, self.n_images)

    @property
    def conditional(self) -> Matrix:
        """P(j | i) = N_ij / N_i, (n_labels, n_labels); the row of a label that no image has is 0."""
        return np.asarray(self.counts / np.maximum(np.diag(self.counts), 1)[:, None])

    @property
    def positive_pmi(self) -> Matrix:
        """Positive pointwise mutual information, max(0, log(P(i, j) / (P(i) P(j)))).

        Returns
        -------
        (n_labels, n_labels)
            In nats, with a diagonal of 0.
        """
        sizes = np.diag(self.counts).astype(float)
        lift = self.n_images * self.counts / np.maximum(np.outer(sizes, sizes), 1)
        information = np.log(np.maximum(lift, 1))
        np.fill_diagonal(information, 0)
        return information


def edge_weights(cooccurrence: Cooccurrence, threshold: float, weighting: str) -> Matrix:
    """Weights of the directed edges from each label i to the labels j that often accompany it.

    Parameters
    ----------
    threshold
        There is an edge from i to j where P(j | i) is at least this, above 0 and at most 1. On the 14 findings of
        ChestX-ray14, ML-GCN's 0.4 leaves 1 or 2 edges of 182, by the split; 0.1 leaves 48.
    weighting
        "pmi" or "equal". With "pmi", labels that occur together less often than by chance have no edge.

    Returns
    -------
    (n_labels, n_labels) float64
        Weight of the edge from row to column, 0 where there is none; the diagonal is 0.

    Raises
    ------
    ValueError
        The threshold or the weighting is none of these.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"the threshold of P(j | i) is {threshold}: choose a number above 0 and at most 1")
    if weighting not in WEIGHTINGS:
        raise ValueError(f"edges are weighted by {weighting!r}: choose of {', '.join(WEIGHTINGS)}")
    edges = (cooccurrence.conditional >= threshold).astype(float)
    np.fill_diagonal(edges, 0)
    return edges * cooccurrence.positive_pmi if weighting == "pmi" else edges


def adjacency(weights: Matrix, neighbour_share: float) -> Matrix:
    """The matrix by which a graph convolution mixes labels: re-weighted, then normalised.

    Each label keeps 1 - p for itself and shares p among its neighbours by their weights: A_ij = p W_ij / sum_k W_ik and
    A_ii = 1 - p. The result is D^-1/2 A D^-1/2, with the row sums of A in the diagonal matrix D. A label without a
    neighbour, as "No Finding", keeps 1 for itself, so that single-label sets have the identity.

    Parameters
    ----------
    weights : (n_labels, n_labels)
        As from `edge_weights`.
    neighbour_share
        p, at least 0 and below 1.

    Returns
    -------
    (n_labels, n_labels) float64

    Raises
    ------
    ValueError
        The share is out of range.

    References
    ----------
    Chen et al., ML-GCN, CVPR 2019, eq. 8; Kipf and Welling, ICLR 2017, eq. 2.
    """
    if not 0 <= neighbour_share < 1:
        raise ValueError(f"the share of neighbours is {neighbour_share}: choose a number from 0 to below 1")
    sums = weights.sum(axis=1, keepdims=True)
    shares = neighbour_share * weights / np.where(sums > 0, sums, 1)
    mixed = shares + (1 - neighbour_share) * np.eye(len(weights))
    scale = 1 / np.sqrt(mixed.sum(axis=1))
    return np.asarray(scale[:, None] * mixed * scale)


def similarity(weights: Matrix) -> Matrix:
    """Likeness R of labels for the collapse guard: the mean weight of the edges of both directions, scaled to [0, 1].

    Returns
    -------
    (n_labels, n_labels) float64
        Symmetric, with a diagonal of 0; 0 everywhere where there are no edges.
    """
    both = weights + weights.T
    return np.asarray(both / both.max()) if both.any() else both
