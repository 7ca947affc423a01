"""Training of a model to ship: stages that train the trunk, then a hash layer and a classifier on its features.

Every step runs through the one training loop.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashing.data import datasets
from hashing.data.datasets import Dataset
from hashing.methods.base import Targets
from hashing.methods.catalogue import HEADS
from hashing.methods.heads import PlainHead
from hashing.methods.union.head import UnionHead
from hashing.model.model_file import ModelError
from hashing.model.network import EfficientNetLite0, HashNetwork, channels_last, channels_of
from hashing.model.weights import save_network
from hashing.progress import progress
from hashing.training.augmentation import disguise, vary
from hashing.training.batches import scaled
from hashing.training.calibration import set_temperature
from hashing.training.class_targets import CLASSES, class_shares, known_classes
from hashing.training.heads import DrawnFeatures, draw_features, train_classifier, train_hash_layer
from hashing.training.loop import ImageTrunk, Learner, TrainingBatch, fit
from hashing.training.objectives import weighted_objective
from hashing.training.recipe import Recipe, TrainingStage
from hashing.training.sampling import rarity
from hashing.training.trunk import first_trunk, leading_blocks

MAX_VALIDATED = 512
"""Validation images whose loss is computed after each epoch."""


def train(recipe: Recipe, root: Path, output: Path) -> HashNetwork:
    """The trained network; its weights are in `output/<name>.safetensors`, those of a stage in `output/<name>-<stage>`.

    A run that was interrupted goes on after the last whole epoch.

    Parameters
    ----------
    root
        Folder of the data sets.
    output
        Folder for weights and the cache of preprocessed images.
    """
    torch.manual_seed(recipe.seed)
    architecture, trunk = recipe.architecture, first_trunk(recipe.start)
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    learner = _first_learner(recipe, trunk)
    for number, stage in enumerate(recipe.stages):
        source = StageSource(recipe, stage, _sets(stage.datasets, root, output), recipe.seed + number)
        folder = output / f"{recipe.name}-{number}"
        seed = recipe.seed + number
        fit(learner, stage.schedule, source.steps, source, source.score, seed, folder, recipe.averaging)
    trunk.load_state_dict(blended(before, trunk.state_dict(), recipe.blend))
    drawn = _drawn_features(trunk, recipe, root, output, HEADS[architecture.head].strides)
    network = HashNetwork(trunk, train_hash_layer(drawn, recipe.head, architecture), architecture.input_size)
    if isinstance(network.head, UnionHead):
        set_temperature(network, network.head, _sets(recipe.head.datasets, root, output), recipe)
    else:
        _give_classifier(network, drawn, recipe)
    save_network(network, architecture, output / f"{recipe.name}.safetensors", recipe.name, {}, CLASSES)
    return network.eval()


def _first_learner(recipe: Recipe, trunk: EfficientNetLite0) -> Learner:
    """What the stages train: the trunk with a plain head, whatever head the model gets in the end."""
    architecture = recipe.architecture
    return Learner(
        ImageTrunk(trunk, ()),
        PlainHead(channels_of(()), architecture.learned_bits, len(CLASSES)),
        weighted_objective(recipe.loss, architecture, len(CLASSES), recipe.seed),
        leading_blocks(trunk, recipe.frozen_blocks),
    )


def blended(before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights and statistics between those before and those after a training; `share` 1 gives those after it.

    What the first weights knew beyond the training images is kept so, and most of what was learned.

    References
    ----------
    Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022, equation 1.
    """
    return {
        name: torch.lerp(before[name], tensor, share) if tensor.is_floating_point() else tensor
        for name, tensor in after.items()
    }


def classify(network: HashNetwork, recipe: Recipe, root: Path, output: Path) -> None:
    """Give a finished network the classifier of a recipe; trunk and hash layer stay as they are.

    Raises
    ------
    ModelError
        The network has a head without a hash layer on pooled features.
    """
    if not isinstance(network.head, PlainHead):
        raise ModelError(f"a {network.head.name} head takes no classifier: train its method instead")
    _give_classifier(network, _drawn_features(channels_last(network.trunk), recipe, root, output, ()), recipe)


class StageSource:
    """Batches of a stage, drawn from several sets.

    Parameters
    ----------
    seed
        Seed of draws and variations.
    """

    def __init__(self, recipe: Recipe, stage: TrainingStage, sets: list[Dataset], seed: int) -> None:
        self.recipe, self.stage, self.sets, self.seed = recipe, stage, sets, seed
        self.known = np.stack([known_classes(dataset) for dataset in sets])
        self.pairs, self.chances = _draw_chances(sets, evenly=stage.draws > 0)
        self.steps = (stage.draws * len(sets) or len(self.pairs)) // recipe.batch

    def __call__(self, epoch: int) -> Iterator[TrainingBatch]:
        """The batches of an epoch."""
        rng = np.random.default_rng((self.seed, epoch))
        drawn = rng.choice(self.pairs, size=(self.steps, self.recipe.batch), p=self.chances)
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
            for pairs in np.array_split(rng.permutation(held_back)[:MAX_VALIDATED], -(-MAX_VALIDATED // 64)):
                if len(pairs):
                    pictures, kinds = self._pictures(pairs)
                    batch = self._batch(scaled(pictures, self.stage.size), pairs, kinds)
                    losses.append(float(learner.objective(learner(batch.inputs), batch.targets)))
        return -float(np.mean(losses)) if losses else 0.0

    def _pictures(self, pairs: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64]]:
        """Images (batch, 1, side, side), and their kinds."""
        images = np.stack([self.sets[number].images[row] for number, row in pairs])
        kinds = np.array([self.sets[number].kinds[row] for number, row in pairs])
        return torch.from_numpy(images).unsqueeze(1).float(), kinds

    def _batch(self, pictures: Tensor, pairs: NDArray[np.int64], kinds: NDArray[np.int64]) -> TrainingBatch:
        labels = np.stack([self.sets[number].labels[row] for number, row in pairs])
        shares = torch.from_numpy(class_shares(labels, kinds, self.recipe.kind_share))
        groups = [self.sets[number].groups[row] for number, row in pairs]
        patients = torch.from_numpy(np.unique(groups, return_inverse=True)[1])
        targets = Targets(shares, torch.from_numpy(self.known[pairs[:, 0]]), patients)
        return TrainingBatch((pictures.to(memory_format=torch.channels_last),), targets)


def _give_classifier(network: HashNetwork, drawn: DrawnFeatures, recipe: Recipe) -> None:
    """Replace the classifier beside the hash layer by a newly trained one."""
    layer, old = train_classifier(drawn, recipe.classifier), network.head
    assert isinstance(old, PlainHead)
    head = PlainHead(old.channels, old.code_length, len(CLASSES), **old.options)
    layers = {name: tensor for name, tensor in old.state_dict().items() if not name.startswith("classifier.")}
    head.load_state_dict(layers | {f"classifier.{name}": tensor for name, tensor in layer.state_dict().items()})
    network.head = head.eval()


def _drawn_features(
    trunk: EfficientNetLite0, recipe: Recipe, root: Path, output: Path, strides: tuple[int, ...]
) -> DrawnFeatures:
    """What the head and the classifier learn from."""
    rng = np.random.default_rng(recipe.seed + len(recipe.stages))
    sets = _sets(recipe.head.datasets, root, output)
    folder = output / f"{recipe.name}-maps"
    return draw_features(trunk, sets, recipe.head, recipe.kind_share, rng, strides, folder)


def _sets(names: tuple[str, ...], root: Path, output: Path) -> list[Dataset]:
    """The sets by name. Phantoms are not published but computed, into the output folder."""
    return [datasets.load(name, output if name == "phantoms" else root, output / "cache") for name in names]


def _pairs(sets: list[Dataset], part: str) -> NDArray[np.int64]:
    """(set, row) of all images of a part."""
    rows = [dataset.part(part) for dataset in sets]
    return np.concatenate([np.column_stack([np.full(len(some), number), some]) for number, some in enumerate(rows)])


def _draw_chances(sets: list[Dataset], *, evenly: bool) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(set, row) pairs of the training parts and their chances.

    Rare labels are drawn more often; `evenly` gives each set the same share.
    """
    chances = []
    for dataset in sets:
        chance = rarity(dataset.labels[dataset.part("train")])
        chances.append(chance / chance.sum() if evenly else chance)
    joined = np.concatenate(chances)
    return _pairs(sets, "train"), joined / joined.sum()
