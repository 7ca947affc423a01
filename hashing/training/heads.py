"""The last step of training the shipped model: a hash layer for the finished trunk.

The trunk's features of widely varied images are computed once; the layer learns from them in a minute.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hashing.data.datasets import Dataset
from hashing.data.examples import KINDS
from hashing.methods.orthogonal import NestedOrthogonalLoss
from hashing.model.modality import learned_length
from hashing.model.network import CODE_LENGTHS, FEATURES, EfficientNetLite0, HashLayer
from hashing.progress import progress
from hashing.training.augmentation import roughen, vary
from hashing.training.sampling import rarity

AT_ONCE, THROUGH_TRUNK = 32, 2  # images varied, and encoded, at a time: more of them leave a core's cache
LEAST_SPREAD = 1e-2  # of a feature: a quieter one is not blown up


@dataclass(frozen=True, slots=True)
class Head:
    """What decides the hash layer.

    Attributes
    ----------
    datasets
        Names of the sets.
    omitted
        Kinds of single sets that take no part, as "set: kind".
    most
        Images taken of one kind of one set.
    draws
        Variations of each image.
    size
        Side of the images, pixels.
    steps, batch, learning_rate
        Of AdamW; the rate falls along a cosine.
    noise
        Standard deviation of what is added to the standardised features.
    relation_weight
        Of the loss that keeps distances of codes like those of features.
    seed
        Of targets, draws and first weights.
    """

    datasets: tuple[str, ...]
    omitted: tuple[str, ...]
    most: int
    draws: int
    size: int
    steps: int
    batch: int
    learning_rate: float
    noise: float
    relation_weight: float
    seed: int


@dataclass(frozen=True, slots=True)
class Material:
    """Features of images, with what they shall become.

    Attributes
    ----------
    features : (n, 1280)
    weights : (n, n_classes)
        Share of each class in an image; rows sum to one.
    chances : (n,)
        Of being drawn; sum to one.
    """

    features: Tensor
    weights: Tensor
    chances: Tensor


def train_head(layer: HashLayer, material: Material, head: Head) -> None:
    """Train the layer in place."""
    torch.manual_seed(head.seed)
    lengths = tuple(map(learned_length, CODE_LENGTHS))
    hash_loss = NestedOrthogonalLoss(material.weights.shape[1], lengths, seed=head.seed)
    standard, mean, spread = standardised(material.features)
    layer.load_state_dict(HashLayer(FEATURES, max(lengths)).state_dict())  # from this seed, whatever was before
    layer.train().requires_grad_(requires_grad=True)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=head.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, head.steps)
    for _ in progress(range(head.steps), "hash layer", head.steps):
        drawn = torch.multinomial(material.chances, head.batch)
        features = standard[drawn]
        relaxed = layer(features + head.noise * torch.randn_like(features))
        loss = hash_loss(relaxed, material.weights[drawn])
        loss = loss + head.relation_weight * relation_loss(relaxed[:, : learned_length(64)], features)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    _take_raw_features(layer.eval(), mean, spread)


def standardised(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Features (n, 1280) less their mean, by their spread; and these, (1280,) each."""
    mean, spread = features.mean(dim=0), features.std(dim=0) + LEAST_SPREAD
    return (features - mean) / spread, mean, spread


def relation_loss(relaxed: Tensor, features: Tensor) -> Tensor:
    """How far similarities of codes are from those of features: what is unlike shall not fall together.

    Relational knowledge distillation (Park et al., CVPR 2019), on cosines.

    Parameters
    ----------
    relaxed : (batch, bits)
    features : (batch, n_features)
        Standardised.

    Returns
    -------
    () scalar
        Mean squared difference of the cosines of all pairs.
    """
    codes, wanted = functional.normalize(torch.tanh(relaxed)), functional.normalize(features)
    return (codes @ codes.T - wanted @ wanted.T).square().mean()


def material(
    trunk: EfficientNetLite0, sets: list[Dataset], head: Head, kind_share: float, rng: np.random.Generator
) -> Material:
    """Features of training images, each varied `head.draws` times; `kind_share` as for `class_shares`."""
    pairs, chances, weights = (np.concatenate([part] * head.draws) for part in _drawn(sets, head, kind_share, rng))
    trunk.eval()
    features = []
    batches = [pairs[start : start + AT_ONCE] for start in range(0, len(pairs), AT_ONCE)]
    for some in progress(batches, "features", len(batches)):
        images = np.stack([sets[number].images[row] for number, row in some])
        kinds = np.array([sets[number].kinds[row] for number, row in some])
        varied = vary(roughen(torch.from_numpy(images).unsqueeze(1).float(), kinds, rng), head.size, rng)
        with torch.inference_mode():
            chunks = torch.split(varied.to(memory_format=torch.channels_last), THROUGH_TRUNK)
            features += [trunk(chunk) for chunk in chunks]
    return Material(torch.cat(features).clone(), torch.from_numpy(weights), torch.from_numpy(chances / head.draws))


def _drawn(
    sets: list[Dataset], head: Head, kind_share: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float32]]:
    """(set, row) pairs, their chances and class shares: each kind of each set by the root of its size."""
    pairs, chances, weights = [], [], []
    for number, (name, dataset) in enumerate(zip(head.datasets, sets, strict=True)):
        training = dataset.part("train")
        for kind in np.unique(dataset.kinds[training]):
            if f"{name}: {KINDS[kind]}" in head.omitted:
                continue
            rows = rng.permutation(training[dataset.kinds[training] == kind])[: head.most]
            labels = dataset.labels[rows]
            rare = rarity(labels)
            chances.append(rare / rare.sum() * len(rows) ** 0.5)
            pairs.append(np.column_stack([np.full(len(rows), number), rows]))
            weights.append(class_shares(labels, dataset.kinds[rows], kind_share))
    joined = np.concatenate(chances)
    return np.concatenate(pairs), joined / joined.sum(), np.concatenate(weights)


def class_shares(labels: NDArray[np.bool_], kinds: NDArray[np.int64], kind_share: float) -> NDArray[np.float32]:
    """Share of each label and kind in images: `kind_share`, or all without labels, goes to the kind.

    Parameters
    ----------
    labels, kinds : (n, n_labels), (n,)

    Returns
    -------
    (n, n_labels + n_kinds)
        Rows sum to one.
    """
    shares = np.zeros((len(labels), labels.shape[1] + len(KINDS)), np.float32)
    shares[:, : labels.shape[1]] = (1 - kind_share) * labels / np.maximum(labels.sum(axis=1, keepdims=True), 1)
    shares[np.arange(len(labels)), labels.shape[1] + kinds] = 1 - shares.sum(axis=1)
    return shares


def _take_raw_features(layer: HashLayer, mean: Tensor, spread: Tensor) -> None:
    """Fold the standardisation of features into the layer."""
    linear, norm = layer
    assert isinstance(linear, nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    with torch.no_grad():
        linear.weight /= spread
        norm.running_mean += linear.weight @ mean
