"""Training of the shipped model: stages of the one training loop, then a hash layer and a classifier on its trunk."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from hashing.data import datasets
from hashing.data.datasets import LABELS, Dataset
from hashing.data.examples import KINDS
from hashing.methods.orthogonal import NestedOrthogonalLoss
from hashing.model.modality import learned_length
from hashing.model.network import (
    CODE_LENGTHS,
    FEATURES,
    LEARNED_BITS,
    EfficientNetLite0,
    HashLayer,
    HashNetwork,
    channels_last,
)
from hashing.progress import progress
from hashing.training.augmentation import disguise, vary
from hashing.training.batches import scaled
from hashing.training.classifier import Classifier, train_classifier
from hashing.training.heads import Head, Material, class_shares, material, train_head
from hashing.training.loop import Batch, Learner, Schedule, fit
from hashing.training.sampling import rarity
from hashing.training.trunk import imagenet_trunk, leading_blocks

CLASSES = LABELS + KINDS
N_CLASSES = len(CLASSES)
MOST_VALIDATED = 512
"""Images whose loss is looked at after each epoch."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of epochs at one input size.

    Attributes
    ----------
    size
        Side of the training images, pixels.
    schedule
        How long and how fast; an epoch draws as many images as the sets have, rare labels more often.
    datasets
        Names of the sets.
    draws
        Images an epoch, by set; 0 takes as many as each has.
    wide
        Whether images are varied widely: mosaics, inversion, cropping, strong changes of contrast.
    """

    size: int
    schedule: Schedule
    datasets: tuple[str, ...]
    draws: int
    wide: bool


@dataclass(frozen=True, slots=True)
class Experiment:
    """Everything that decides a training run, but for the images.

    Attributes
    ----------
    frozen_blocks
        Leading trunk blocks (with the stem) kept at their ImageNet weights.
    kind_share
        Share of an image's target given to its kind (chest radiograph, head MR ...); its labels get the rest.
    head
        The hash layer, which is learned anew after the stages.
    classifier
        What gives class scores, learned beside it.
    """

    name: str
    stages: tuple[Stage, ...]
    head: Head
    classifier: Classifier
    seed: int
    batch: int
    frozen_blocks: int
    kind_share: float
    classifier_weight: float

    @classmethod
    def read(cls, path: Path) -> "Experiment":
        """The experiment in a TOML file; an unknown or missing key is an error that names it."""
        values = tomllib.loads(path.read_text())
        common = values.pop("schedule")
        values["stages"] = tuple(
            Stage(
                **(stage | {"datasets": tuple(stage["datasets"]), "schedule": Schedule(**(common | stage["schedule"]))})
            )
            for stage in values.pop("stage")
        )
        head = values.pop("head")
        values["head"] = Head(**(head | {name: tuple(head[name]) for name in ("datasets", "omitted")}))
        values["classifier"] = Classifier(**values["classifier"])
        return cls(name=path.stem, **values)


def train(experiment: Experiment, root: Path, output: Path) -> HashNetwork:
    """The trained network; its weights are in `output/<name>.safetensors`, those of a stage in `output/<name>-<stage>`.

    A run that was interrupted goes on after the last whole epoch.

    Parameters
    ----------
    root
        Folder of the data sets.
    output
        Folder for weights and the cache of preprocessed images.
    """
    torch.manual_seed(experiment.seed)
    network = HashNetwork()
    network.trunk = imagenet_trunk()
    learner = Learner(
        network.trunk,
        Heads(network.hash_layer),
        HashAndClassify(experiment),
        leading_blocks(network.trunk, experiment.frozen_blocks),
    )
    for number, stage in enumerate(experiment.stages):
        source = StageSource(experiment, stage, _sets(stage.datasets, root, output), experiment.seed + number)
        folder = output / f"{experiment.name}-{number}"
        fit(learner, stage.schedule, source.steps, source, source.score, experiment.seed + number, folder)
    learned = _material(network.trunk, experiment, root, output)
    train_head(network.hash_layer, learned, experiment.head)
    network.classifier = train_classifier(learned, experiment.classifier)
    _save(network, output / f"{experiment.name}.safetensors")
    return network.eval()


def classify(network: HashNetwork, experiment: Experiment, root: Path, output: Path) -> None:
    """Give a finished network the classifier of an experiment; trunk and hash layer stay as they are."""
    learned = _material(channels_last(network.trunk), experiment, root, output)
    network.classifier = train_classifier(learned, experiment.classifier)


def trained_network(path: Path) -> HashNetwork:
    """The network in weights that `train` wrote, or in a model file."""
    return HashNetwork.of(load_file(path))


class Heads(nn.Module):
    """Relaxed codes and, beside them, logits of an auxiliary classifier: (batch, 96 + n_classes)."""

    def __init__(self, hash_layer: HashLayer) -> None:
        super().__init__()
        self.hash_layer, self.classifier = hash_layer, nn.Linear(FEATURES, N_CLASSES)

    def forward(self, features: Tensor) -> Tensor:
        """Both outputs of features (batch, 1280)."""
        return torch.cat([self.hash_layer(features), self.classifier(features)], dim=1)


class HashAndClassify(nn.Module):
    """OrthoHash at every nested code length, and cross-entropy of the auxiliary classifier."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__()
        lengths = tuple(map(learned_length, CODE_LENGTHS))
        self.hash_loss = NestedOrthogonalLoss(N_CLASSES, lengths, seed=experiment.seed)
        self.classifier_weight = experiment.classifier_weight

    def forward(self, outputs: Tensor, shares: Tensor, groups: Tensor) -> Tensor:  # noqa: ARG002 - as all objectives
        """Loss of a batch: outputs of `Heads`, (batch, n_classes) shares of classes in each image."""
        relaxed, logits = outputs[:, :LEARNED_BITS], outputs[:, LEARNED_BITS:]
        classifying = functional.binary_cross_entropy_with_logits(logits, (shares > 0).float())
        total: Tensor = self.hash_loss(relaxed, shares) + self.classifier_weight * classifying
        return total


class StageSource:
    """Batches of a stage, drawn from several sets.

    Parameters
    ----------
    seed
        Of draws and variations.
    """

    def __init__(self, experiment: Experiment, stage: Stage, sets: list[Dataset], seed: int) -> None:
        self.experiment, self.stage, self.sets, self.seed = experiment, stage, sets, seed
        self.pairs, self.chances = _draw_chances(sets, evenly=stage.draws > 0)
        self.steps = (stage.draws * len(sets) or len(self.pairs)) // experiment.batch

    def __call__(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch."""
        rng = np.random.default_rng((self.seed, epoch))
        drawn = rng.choice(self.pairs, size=(self.steps, self.experiment.batch), p=self.chances)
        for pairs in progress(drawn, f"epoch {epoch + 1}, {self.stage.size} px", self.steps):
            pictures, kinds = self._pictures(pairs)
            varied = vary(disguise(pictures, kinds, rng) if self.stage.wide else pictures, self.stage.size, rng)
            yield self._batch(varied, pairs, kinds)

    def score(self, learner: Learner) -> float:
        """Negative loss on validation images, without variation."""
        rng = np.random.default_rng(self.seed)
        held_back = _pairs(self.sets, "validation")
        losses = []
        with torch.inference_mode():
            for pairs in np.array_split(rng.permutation(held_back)[:MOST_VALIDATED], -(-MOST_VALIDATED // 64)):
                if len(pairs):
                    pictures, kinds = self._pictures(pairs)
                    batch = self._batch(scaled(pictures, self.stage.size), pairs, kinds)
                    losses.append(float(learner.objective(learner(batch.inputs), batch.labels, batch.groups)))
        return -float(np.mean(losses)) if losses else 0.0

    def _pictures(self, pairs: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64]]:
        """Images (batch, 1, side, side), and their kinds."""
        images = np.stack([self.sets[number].images[row] for number, row in pairs])
        kinds = np.array([self.sets[number].kinds[row] for number, row in pairs])
        return torch.from_numpy(images).unsqueeze(1).float(), kinds

    def _batch(self, pictures: Tensor, pairs: NDArray[np.int64], kinds: NDArray[np.int64]) -> Batch:
        labels = np.stack([self.sets[number].labels[row] for number, row in pairs])
        shares = class_shares(labels, kinds, self.experiment.kind_share)
        nobody = torch.zeros(len(pairs), dtype=torch.int64)  # the objective asks for no patients
        return Batch(pictures.to(memory_format=torch.channels_last), torch.from_numpy(shares), nobody)


def _material(trunk: EfficientNetLite0, experiment: Experiment, root: Path, output: Path) -> Material:
    """What the hash layer and the classifier learn from."""
    rng = np.random.default_rng(experiment.seed + len(experiment.stages))
    sets = _sets(experiment.head.datasets, root, output)
    return material(trunk, sets, experiment.head, experiment.kind_share, rng)


def _sets(names: tuple[str, ...], root: Path, output: Path) -> list[Dataset]:
    """Phantoms are not published but computed, into the output folder."""
    return [datasets.load(name, output if name == "phantoms" else root, output / "cache") for name in names]


def _pairs(sets: list[Dataset], part: str) -> NDArray[np.int64]:
    """(set, row) of all images of a part."""
    rows = [dataset.part(part) for dataset in sets]
    return np.concatenate([np.column_stack([np.full(len(some), number), some]) for number, some in enumerate(rows)])


def _draw_chances(sets: list[Dataset], *, evenly: bool) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(set, row) pairs of the training parts and their chances.

    Rare labels come more often; `evenly` gives each set the same share.
    """
    chances = []
    for dataset in sets:
        chance = rarity(dataset.labels[dataset.part("train")])
        chances.append(chance / chance.sum() if evenly else chance)
    joined = np.concatenate(chances)
    return _pairs(sets, "train"), joined / joined.sum()


def _save(network: HashNetwork, path: Path) -> None:
    """Complete or not at all."""
    partial = path.with_suffix(".partial")
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, partial)
    partial.rename(path)
