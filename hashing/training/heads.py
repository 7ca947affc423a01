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
from hashing.methods.base import Head, HeadOutputs, Objective, Targets
from hashing.methods.classification import ShareCrossEntropy
from hashing.methods.heads import Classifier, PlainHead
from hashing.model.model_file import Architecture
from hashing.model.network import EfficientNetLite0
from hashing.progress import progress
from hashing.training.augmentation import roughen, vary
from hashing.training.batches import scaled
from hashing.training.class_targets import class_shares, known_classes
from hashing.training.loop import Learner, Schedule, TrainingBatch, fit
from hashing.training.objectives import weighted_objective
from hashing.training.recipe import ClassifierRecipe, HashLayerRecipe
from hashing.training.sampling import rarity

VARIED_TOGETHER, ENCODED_TOGETHER = 32, 2  # more images at a time leave a core's cache
MIN_DEVIATION = 1e-2  # a feature that hardly varies is not blown up


@dataclass(frozen=True, slots=True)
class DrawnFeatures:
    """Features of images, with their targets.

    Attributes
    ----------
    views : (1 + variations, n, n_features)
        Features of each image as it is, then of its variations.
    shares : (n, n_classes)
        Share of each class in an image; rows sum to one.
    known : (n, n_classes)
        1 where the image's set says whether it has the class, else 0.
    patients : (n,)
        Patient of each image, or the group of near-identical images that stands for one.
    chances : (n,)
        Chance of each image to be drawn; they sum to one.
    """

    views: Tensor
    shares: Tensor
    known: Tensor
    patients: Tensor
    chances: Tensor


class NoisyHead(Head):
    """A head that is trained on features with noise added.

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
        """Outputs of the head for the first tensor of features; the second goes into the output `features`."""
        features, reference = maps
        noise = self.deviation * torch.randn_like(features) if self.training else 0.0
        outputs: HeadOutputs = self.head((features + noise,))
        return outputs._replace(features=reference)


def train_hash_layer(drawn: DrawnFeatures, recipe: HashLayerRecipe, architecture: Architecture) -> PlainHead:
    """A hash layer without classifier that takes raw features."""
    torch.manual_seed(recipe.seed)
    head = PlainHead((drawn.views.shape[2],), architecture.learned_bits, **architecture.head_options)
    objective = weighted_objective(recipe.loss, architecture, drawn.shares.shape[1], recipe.seed)
    head.take_raw_features(*_fit(head, objective, drawn, recipe, "hash layer"))
    return head


def train_classifier(drawn: DrawnFeatures, recipe: ClassifierRecipe) -> nn.Linear:
    """A linear layer from raw features to logits, whose softmax gives the shares of classes in an image.

    It changes neither trunk nor hash layer: a finished model can be given one, and its codes stay what they are.
    """
    torch.manual_seed(recipe.seed)
    head = Classifier((drawn.views.shape[2],), n_labels=drawn.shares.shape[1])
    head.take_raw_features(*_fit(head, ShareCrossEntropy(), drawn, recipe, "classifier"))
    return head.layer


def _fit(
    head: Head, objective: Objective, drawn: DrawnFeatures, recipe: HashLayerRecipe | ClassifierRecipe, name: str
) -> tuple[Tensor, Tensor]:
    """Train a head on standardised features; returns their mean and deviation."""
    views, mean, deviation = standardised(drawn.views)

    def batches(_: int) -> Iterator[TrainingBatch]:
        """Batches drawn with replacement, a number of steps as the recipe says."""
        for _ in progress(range(recipe.steps), name, recipe.steps):
            rows = torch.multinomial(drawn.chances, recipe.batch // 2)
            view = torch.randint(1, len(views), (len(rows),))
            twice, plain = rows.repeat(2), views[0, rows]
            targets = Targets(drawn.shares[twice], drawn.known[twice], drawn.patients[twice])
            yield TrainingBatch((torch.cat([plain, views[view, rows]]), plain.repeat(2, 1)), targets)

    learner = Learner(nn.Identity(), NoisyHead(head, recipe.noise), objective)
    schedule = Schedule(1, recipe.learning_rate, 0.0, recipe.weight_decay, patience=0)
    fit(learner, schedule, recipe.steps, batches, lambda _: 0.0, recipe.seed)
    head.requires_grad_(requires_grad=False)
    return mean, deviation


def standardised(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Features (..., n_features) less their mean, by their deviation; and mean and deviation, (n_features,) each."""
    rows = features.flatten(end_dim=-2)
    mean, deviation = rows.mean(dim=0), rows.std(dim=0) + MIN_DEVIATION
    return (features - mean) / deviation, mean, deviation


def draw_features(
    trunk: EfficientNetLite0,
    sets: list[Dataset],
    recipe: HashLayerRecipe,
    kind_share: float,
    rng: np.random.Generator,
) -> DrawnFeatures:
    """Features of training images as they are and varied; `kind_share` as for `class_shares`.

    The last `recipe.rough` of the `recipe.draws` variations of each image are roughened first.
    """
    pairs, chances = _drawn(sets, recipe, rng)
    trunk.eval()
    features = torch.empty((1 + recipe.draws, len(pairs), trunk.head.convolution.out_channels))
    starts = range(0, len(pairs), VARIED_TOGETHER)
    for view in range(1 + recipe.draws):
        for start in progress(starts, f"features, view {view}", len(starts)):
            some = pairs[start : start + VARIED_TOGETHER]
            pictures = torch.from_numpy(np.stack([sets[number].images[row] for number, row in some]))[:, None].float()
            if view > recipe.draws - recipe.rough:
                pictures = roughen(pictures, np.array([sets[number].kinds[row] for number, row in some]), rng)
            shown = vary(pictures, recipe.size, rng) if view else scaled(pictures, recipe.size)
            features[view, start : start + VARIED_TOGETHER] = _encoded(trunk, shown)
    shares = np.concatenate([class_shares(sets[n].labels[[row]], sets[n].kinds[[row]], kind_share) for n, row in pairs])
    known = np.stack([known_classes(dataset) for dataset in sets])[pairs[:, 0]]
    patients = np.unique([sets[number].groups[row] for number, row in pairs], return_inverse=True)[1]
    return DrawnFeatures(features, *map(torch.from_numpy, (shares, known, patients, chances)))


def _encoded(trunk: EfficientNetLite0, images: Tensor) -> Tensor:
    with torch.inference_mode():
        chunks = torch.split(images.to(memory_format=torch.channels_last), ENCODED_TOGETHER)
        return torch.cat([trunk(chunk) for chunk in chunks])


def _drawn(
    sets: list[Dataset], recipe: HashLayerRecipe, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(set, row) pairs and their chances. Each kind of each set is drawn by the root of its size."""
    pairs, chances = [], []
    for number, (name, dataset) in enumerate(zip(recipe.datasets, sets, strict=True)):
        training = dataset.part("train")
        for kind in np.unique(dataset.kinds[training]):
            if f"{name}: {KINDS[kind]}" in recipe.omitted:
                continue
            rows = rng.permutation(training[dataset.kinds[training] == kind])[: recipe.max_images]
            rare = rarity(dataset.labels[rows])
            chances.append(rare / rare.sum() * len(rows) ** 0.5)
            pairs.append(np.column_stack([np.full(len(rows), number), rows]))
    joined = np.concatenate(chances)
    return np.concatenate(pairs), joined / joined.sum()
