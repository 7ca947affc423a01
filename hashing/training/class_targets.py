"""What a set says of its images: shares of labels and kinds, and which of them it knows."""

import numpy as np
from numpy.typing import NDArray

from hashing.data.datasets import LABELS, Dataset
from hashing.data.examples import KINDS

CLASSES = LABELS + KINDS
"""Labels and kinds that the shipped model tells apart, in the order of its class scores."""


def class_shares(labels: NDArray[np.bool_], kinds: NDArray[np.int64], kind_share: float) -> NDArray[np.float32]:
    """Share of each label and kind in images.

    Parameters
    ----------
    labels, kinds : (n, n_labels), (n,)
    kind_share
        Share of the kind; the labels share the rest. The kind of an image without labels gets all.

    Returns
    -------
    (n, n_labels + n_kinds)
        Rows sum to one.
    """
    shares = np.zeros((len(labels), labels.shape[1] + len(KINDS)), np.float32)
    shares[:, : labels.shape[1]] = (1 - kind_share) * labels / np.maximum(labels.sum(axis=1, keepdims=True), 1)
    shares[np.arange(len(labels)), labels.shape[1] + kinds] = 1 - shares.sum(axis=1)
    return shares


def known_classes(dataset: Dataset) -> NDArray[np.float32]:
    """1 for each class of which a set says of every image whether it has it, else 0: (n_labels + n_kinds,).

    A set knows the labels that occur in it, and all kinds. A set without findings has not seen that there are none.
    """
    labels = dataset.labels.any(axis=0)
    return np.concatenate([labels, np.ones(len(KINDS))]).astype(np.float32)
