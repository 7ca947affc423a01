"""The last step of training a model: a hash layer and a classifier for the finished trunk.

The trunk's features of widely varied images are computed once; both layers learn from them in minutes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hashing.data.datasets import Dataset
from hashing.data.examples import KINDS
from hashing.methods.base import Head, HeadOutputs, Nested, Objective, Sum, Targets
from hashing.methods.classification import ShareCrossEntropy
from hashing.methods.heads import Classifier, PlainHead
from hashing.methods.orthogonal import nested_target_cross_entropy
from hashing.methods.relation import Relation
from hashing.model.model_file import Architecture
from hashing.model.network import EfficientNetLite0
from hashing.progress import progress
from hashing.training.augmentation import roughen, vary
from hashing.training.loop import Learner, Schedule, TrainingBatch, fit
from hashing.training.recipe import ClassifierRecipe, HashLayerRecipe
from hashing.training.sampling import rarity

VARIED_TOGETHER, ENCODED_TOGETHER = 32, 2  # more images at a time leave a core's cache
MIN_DEVIATION = 1e-2  # a feature that hardly varies is not blown up
RELATION_LENGTH = 64
"""Code length at which distances of codes shall follow those of features."""


@dataclass(frozen=True, slots=True)
class DrawnFeatures:
    """Features of images, with their targets.

    Attributes
    ----------
    features : (n, n_features)
    shares : (n, n_classes)
        Share of each class in an image; rows sum to one.
    chances : (n,)
        Chance of each image to be drawn; they sum to one.
    """

    features: Tensor
    shares: Tensor
    chances: Tensor


class NoisyHead(Head):
    """A head that is trained on features with noise added; its output `features` has none.

    Parameters
    ----------
    head
        The head to train.
    deviation
        Standard deviation of the noise.
    """

    def __init__(self, head: Head, deviation: float) -> None:
        super().__init__(head.channels, head.code_length, head.n_labels)
        self.head, self.deviation = head, deviation

    def forward(self, maps: tuple[Tensor, ...]) -> HeadOutputs:
        """Outputs of the head."""
        (features,) = maps
        noise = self.deviation * torch.randn_like(features) if self.training else 0.0
        outputs: HeadOutputs = self.head((features + noise,))
        return outputs._replace(features=features)


def train_hash_layer(drawn: DrawnFeatures, recipe: HashLayerRecipe, architecture: Architecture) -> PlainHead:
    """A hash layer without classifier that takes raw features."""
    torch.manual_seed(recipe.seed)
    lengths = tuple(map(architecture.learned_bits_of, architecture.code_lengths))
    head = PlainHead((drawn.features.shape[1],), max(lengths))
    nested = nested_target_cross_entropy(drawn.shares.shape[1], lengths, recipe.seed)
    relation = Nested(lambda _: Relation(), [architecture.learned_bits_of(RELATION_LENGTH)])
    objective = Sum([(1.0, nested), (recipe.relation_weight, relation)])
    head.take_raw_features(*_fit(head, objective, drawn, recipe, "hash layer"))
    return head


def train_classifier(drawn: DrawnFeatures, recipe: ClassifierRecipe) -> nn.Linear:
    """A linear layer from raw features to logits, whose softmax gives the shares of classes in an image.

    It changes neither trunk nor hash layer: a finished model can be given one, and its codes stay what they are.
    """
    torch.manual_seed(recipe.seed)
    head = Classifier((drawn.features.shape[1],), n_labels=drawn.shares.shape[1])
    head.take_raw_features(*_fit(head, ShareCrossEntropy(), drawn, recipe, "classifier"))
    return head.layer


def _fit(
    head: Head, objective: Objective, drawn: DrawnFeatures, recipe: HashLayerRecipe | ClassifierRecipe, name: str
) -> tuple[Tensor, Tensor]:
    """Train a head on standardised features; returns their mean and deviation."""
    features, mean, deviation = standardised(drawn.features)

    def batches(_: int) -> Iterator[TrainingBatch]:
        """Batches drawn with replacement, a number of steps as the recipe says."""
        for _ in progress(range(recipe.steps), name, recipe.steps):
            rows = torch.multinomial(drawn.chances, recipe.batch)
            shares = drawn.shares[rows]
            yield TrainingBatch((features[rows],), Targets(shares, torch.ones_like(shares), rows))

    learner = Learner(nn.Identity(), NoisyHead(head, recipe.noise), objective)
    schedule = Schedule(1, recipe.learning_rate, 0.0, recipe.weight_decay, patience=0)
    fit(learner, schedule, recipe.steps, batches, lambda _: 0.0, recipe.seed)
    head.requires_grad_(requires_grad=False)
    return mean, deviation


def standardised(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Features (n, n_features) less their mean, by their deviation; and mean and deviation, (n_features,) each."""
    mean, deviation = features.mean(dim=0), features.std(dim=0) + MIN_DEVIATION
    return (features - mean) / deviation, mean, deviation


def draw_features(
    trunk: EfficientNetLite0,
    sets: list[Dataset],
    recipe: HashLayerRecipe,
    kind_share: float,
    rng: np.random.Generator,
) -> DrawnFeatures:
    """Features of training images, each varied `recipe.draws` times; `kind_share` as for `class_shares`."""
    pairs, chances, shares = (np.concatenate([part] * recipe.draws) for part in _drawn(sets, recipe, kind_share, rng))
    trunk.eval()
    features = []
    batches = [pairs[start : start + VARIED_TOGETHER] for start in range(0, len(pairs), VARIED_TOGETHER)]
    for some in progress(batches, "features", len(batches)):
        images = np.stack([sets[number].images[row] for number, row in some])
        kinds = np.array([sets[number].kinds[row] for number, row in some])
        varied = vary(roughen(torch.from_numpy(images).unsqueeze(1).float(), kinds, rng), recipe.size, rng)
        with torch.inference_mode():
            chunks = torch.split(varied.to(memory_format=torch.channels_last), ENCODED_TOGETHER)
            features += [trunk(chunk) for chunk in chunks]
    chance = torch.from_numpy(chances / recipe.draws)
    return DrawnFeatures(torch.cat(features).clone(), torch.from_numpy(shares), chance)


def _drawn(
    sets: list[Dataset], recipe: HashLayerRecipe, kind_share: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float32]]:
    """(set, row) pairs, their chances and class shares. Each kind of each set is drawn by the root of its size."""
    pairs, chances, shares = [], [], []
    for number, (name, dataset) in enumerate(zip(recipe.datasets, sets, strict=True)):
        training = dataset.part("train")
        for kind in np.unique(dataset.kinds[training]):
            if f"{name}: {KINDS[kind]}" in recipe.omitted:
                continue
            rows = rng.permutation(training[dataset.kinds[training] == kind])[: recipe.max_images]
            labels = dataset.labels[rows]
            rare = rarity(labels)
            chances.append(rare / rare.sum() * len(rows) ** 0.5)
            pairs.append(np.column_stack([np.full(len(rows), number), rows]))
            shares.append(class_shares(labels, dataset.kinds[rows], kind_share))
    joined = np.concatenate(chances)
    return np.concatenate(pairs), joined / joined.sum(), np.concatenate(shares)


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
