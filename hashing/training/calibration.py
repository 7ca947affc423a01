"""Class scores that mean what they say: a temperature, found on validation images."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hashing.data.datasets import Dataset
from hashing.methods.union.head import UnionHead
from hashing.model.network import HashNetwork
from hashing.training.batches import image_tensors
from hashing.training.class_targets import class_shares
from hashing.training.recipe import Recipe

CANDIDATES = np.geomspace(0.25, 4.0, 81)
"""Temperatures that are tried."""


def best_temperature(logits: Tensor, shares: Tensor) -> float:
    """Temperature T at which softmax(logits / T) is nearest to the shares of classes, by cross-entropy.

    Parameters
    ----------
    logits, shares : (n, n_classes)
        Of images that the classifier did not learn from; rows of shares sum to one.

    References
    ----------
    Guo et al., On calibration of modern neural networks, ICML 2017, section 4.2.
    """
    losses = [float(functional.cross_entropy(logits / value, shares)) for value in CANDIDATES]
    return float(CANDIDATES[int(np.argmin(losses))])


def set_temperature(network: HashNetwork, head: UnionHead, sets: list[Dataset], recipe: Recipe) -> None:
    """Give the head of a network the temperature that fits validation images; codes stay as they are."""
    network.eval()
    logits, shares = [], []
    for dataset in sets:
        rows = dataset.part("validation")
        if not len(rows):
            continue
        with torch.inference_mode():
            outputs = [
                network(images)[:, head.code_length :] for images in image_tensors(dataset, rows, recipe.head.size)
            ]
        logits.append(torch.cat(outputs) * head.temperature)
        shares.append(class_shares(dataset.labels[rows], dataset.kinds[rows], recipe.kind_share))
    if logits:
        head.temperature.fill_(best_temperature(torch.cat(logits), torch.from_numpy(np.concatenate(shares))))
