"""The last step of training a model: a head for the finished trunk, and a classifier where the head has none.

What the trunk makes of widely varied images is computed once; heads learn from it in minutes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hashing.data.datasets import Dataset
from hashing.data.examples import KINDS
from hashing.methods.base import Head, HeadOutputs, Objective, Targets
from hashing.methods.catalogue import HEADS
from hashing.methods.classification import ShareCrossEntropy
from hashing.methods.heads import Classifier
from hashing.methods.label_cooccurrence.label_graph import Cooccurrence
from hashing.model.model_file import Architecture
from hashing.model.network import EfficientNetLite0, channels_of
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
    levels : (n,)
        Level of each section, NaN where it is not known; None where levels take no part.
    maps
        For a head that looks at positions, maps (1 + variations, n, channels, height, width) of each of its strides.
    """

    views: Tensor
    shares: Tensor
    known: Tensor
    patients: Tensor
    chances: Tensor
    levels: Tensor | None = None
    maps: tuple[NDArray[np.float16], ...] = ()

    @property
    def graph(self) -> Cooccurrence:
        """Which labels occur together in images whose set knows both; kinds, the last columns, with no label."""
        n_labels = self.shares.shape[1] - len(KINDS)
        labels, known = self.shares.numpy() > 0, self.known.numpy() > 0
        return Cooccurrence.of_known(labels, known).without(range(n_labels, labels.shape[1]))

    def targets(self, rows: Tensor) -> Targets:
        """What is known of some images."""
        levels = None if self.levels is None else self.levels[rows]
        return Targets(self.shares[rows], self.known[rows], self.patients[rows], levels=levels)


class NoisyHead(Head):
    """A head that is trained with noise on what it reads.

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
        """Outputs of the head for all tensors but the last, which goes into the output `features`."""
        *shown, reference = maps
        if self.training and self.deviation:
            shown = [tensor + self.deviation * torch.randn_like(tensor) for tensor in shown]
        outputs: HeadOutputs = self.head(tuple(shown))
        return outputs._replace(features=reference)


def train_hash_layer(drawn: DrawnFeatures, recipe: HashLayerRecipe, architecture: Architecture) -> Head:
    """A trained head that takes what the trunk gives. It has logits of the classes if its loss reads them."""
    torch.manual_seed(recipe.seed)
    kind, n_classes = HEADS[architecture.head], drawn.shares.shape[1]
    n_labels = n_classes if recipe.loss.shares else 0
    head = kind(channels_of(kind.strides), architecture.learned_bits, n_labels, **architecture.head_options)
    objective = weighted_objective(recipe.loss, architecture, n_classes, recipe.seed, drawn.graph)
    statistics = _fit(head, objective, drawn, recipe, "hash layer")
    if not head.strides:
        head.take_raw_features(*statistics)
    return head


def train_classifier(drawn: DrawnFeatures, recipe: ClassifierRecipe) -> nn.Linear:
    """A linear layer from raw features to logits, whose softmax gives the shares of classes in an image.

    It changes neither trunk nor hash layer: a finished model can be given one, and its codes stay what they are.
    """
    torch.manual_seed(recipe.seed)
    if recipe.natural:
        drawn = replace(drawn, chances=torch.ones_like(drawn.chances) / len(drawn.chances))
    head = Classifier((drawn.views.shape[2],), n_labels=drawn.shares.shape[1])
    head.take_raw_features(*_fit(head, ShareCrossEntropy(), drawn, recipe, "classifier"))
    return head.layer


def _fit(
    head: Head, objective: Objective, drawn: DrawnFeatures, recipe: HashLayerRecipe | ClassifierRecipe, name: str
) -> tuple[Tensor, Tensor]:
    """Train a head, on standardised features unless it reads maps; returns mean and deviation of the features."""
    views, mean, deviation = standardised(drawn.views)

    def both(array: Tensor | NDArray[np.float16], view: Tensor, rows: Tensor) -> Tensor:
        """Images as they are, then in a variation each."""
        return torch.cat([torch.as_tensor(array[number, rows]).float() for number in (torch.zeros_like(view), view)])

    def batches(_: int) -> Iterator[TrainingBatch]:
        """Batches drawn with replacement, a number of steps as the recipe says."""
        for _ in progress(range(recipe.steps), name, recipe.steps):
            rows = torch.multinomial(drawn.chances, recipe.batch // 2)
            view = torch.randint(1, len(views), (len(rows),))
            inputs = [both(array, view, rows) for array in (drawn.maps if head.strides else [views])]
            yield TrainingBatch((*inputs, views[0, rows].repeat(2, 1)), drawn.targets(rows.repeat(2)))

    learner = Learner(nn.Identity(), NoisyHead(head, 0.0 if head.strides else recipe.noise), objective)
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
    strides: tuple[int, ...] = (),
    folder: Path | None = None,
) -> DrawnFeatures:
    """Features of training images as they are and varied; `kind_share` as for `class_shares`.

    The last `recipe.rough` of the `recipe.draws` variations of each image are roughened first.

    Parameters
    ----------
    strides
        Those of the maps that are kept beside features, in files in `folder`; the last is that of the last maps.
    """
    pairs, chances = _drawn(sets, recipe, rng)
    trunk.eval()
    features = torch.empty((1 + recipe.draws, len(pairs), trunk.head.convolution.out_channels))
    maps = _map_files(strides, features.shape[:2], recipe.size, folder)
    starts = range(0, len(pairs), VARIED_TOGETHER)
    for view in range(1 + recipe.draws):
        for start in progress(starts, f"features, view {view}", len(starts)):
            some = pairs[start : start + VARIED_TOGETHER]
            pictures = torch.from_numpy(np.stack([sets[number].images[row] for number, row in some]))[:, None].float()
            if view > recipe.draws - recipe.rough:
                pictures = roughen(pictures, np.array([sets[number].kinds[row] for number, row in some]), rng)
            shown = vary(pictures, recipe.size, rng) if view else scaled(pictures, recipe.size)
            encoded = _encoded(trunk, shown, strides)
            features[view, start : start + VARIED_TOGETHER] = encoded[-1].mean(dim=(2, 3)) if strides else encoded[0]
            for array, of_stride in zip(maps, encoded, strict=False):
                array[view, start : start + VARIED_TOGETHER] = of_stride.numpy()
    return _with_targets(features, sets, pairs, chances, kind_share, maps)


def _with_targets(
    features: Tensor,
    sets: list[Dataset],
    pairs: NDArray[np.int64],
    chances: NDArray[np.float64],
    kind_share: float,
    maps: tuple[NDArray[np.float16], ...],
) -> DrawnFeatures:
    """Features and maps of the images `pairs`, with what is known of these."""
    shares = np.concatenate([class_shares(sets[n].labels[[row]], sets[n].kinds[[row]], kind_share) for n, row in pairs])
    known = np.stack([known_classes(dataset) for dataset in sets])[pairs[:, 0]]
    patients = np.unique([sets[number].groups[row] for number, row in pairs], return_inverse=True)[1]
    of_sets = [np.full(len(one.labels), np.nan, np.float32) if one.levels is None else one.levels for one in sets]
    levels = np.array([of_sets[number][row] for number, row in pairs])
    return DrawnFeatures(
        features,
        torch.from_numpy(shares),
        torch.from_numpy(known),
        torch.from_numpy(patients),
        torch.from_numpy(chances),
        torch.from_numpy(levels),
        maps,
    )


def _map_files(
    strides: tuple[int, ...], images: torch.Size, size: int, folder: Path | None
) -> tuple[NDArray[np.float16], ...]:
    """Arrays (views, n, channels, height, width) for the maps of each stride, memory-mapped where there is a folder."""
    shapes = [(*images, *channels_of((stride,)), *[ceil(size / stride)] * 2) for stride in strides]
    if folder is None:
        return tuple(np.empty(shape, np.float16) for shape in shapes)
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(
        np.lib.format.open_memmap(folder / f"maps-{stride}.npy", "w+", np.float16, shape)
        for stride, shape in zip(strides, shapes, strict=True)
    )


def _encoded(trunk: EfficientNetLite0, images: Tensor, strides: tuple[int, ...]) -> tuple[Tensor, ...]:
    """What a head with these strides reads."""
    with torch.inference_mode():
        chunks = torch.split(images.to(memory_format=torch.channels_last), ENCODED_TOGETHER)
        parts = zip(*(trunk.maps(chunk, strides) for chunk in chunks), strict=True)
        return tuple(torch.cat(part) for part in parts)


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
