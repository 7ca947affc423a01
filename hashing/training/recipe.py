"""What decides the training of a shippable model, but for the images: read from a TOML file."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hashing.model.model_file import Architecture
from hashing.training.loop import Schedule


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weights of the losses whose sum trains a trunk or a hash layer; a loss of weight 0 is left out.

    Attributes
    ----------
    classes
        Binary cross-entropy of the classes that an image's set knows.
    shares
        Cross-entropy of the shares of classes, with which a head learns its own logits. Only of a hash layer.
    targets
        OrthoHash towards fixed targets of classes, at each nested code length.
    graph
        Targets of classes that the graph of labels moves, at each nested code length. Only of a hash layer.
    pairs, graded_pairs
        `KnownPairLikelihood`, at each nested code length; graded by the Jaccard overlap of labels.
    levels
        Sections at near levels get near codes, at each nested code length. Only of a hash layer.
    relation
        Distances of codes follow those of features.
    agreement
        Two variations of one image get the same code. Only of a hash layer.
    """

    classes: float = 0.0
    shares: float = 0.0
    targets: float = 0.0
    graph: float = 0.0
    pairs: float = 0.0
    graded_pairs: float = 0.0
    levels: float = 0.0
    relation: float = 0.0
    agreement: float = 0.0


@dataclass(frozen=True, slots=True)
class TrainingStage:
    """Consecutive epochs at one input size.

    Attributes
    ----------
    size
        Side of the training images, pixels.
    schedule
        How long and how fast to train.
    datasets
        Names of the sets.
    draws
        Images that an epoch draws from each set; 0 draws as many as the sets have. Rare labels are drawn more often.
    wide
        Whether images are varied widely: mosaics, inversion, cropping, strong changes of contrast.
    """

    size: int
    schedule: Schedule
    datasets: tuple[str, ...]
    draws: int
    wide: bool


@dataclass(frozen=True, slots=True)
class HashLayerRecipe:
    """What decides the hash layer, which is learned on features of the finished trunk.

    Attributes
    ----------
    datasets
        Names of the sets.
    omitted
        Kinds of single sets that are left out, as "set: kind".
    max_images
        Upper bound of the images of one kind of one set.
    draws, rough
        Variations of each image, beside the image as it is; and how many of them are also roughened.
    size
        Side of the images, pixels.
    steps, batch, learning_rate
        Length and height of the schedule. A batch shows each of its images twice, in two variations.
    noise
        Standard deviation of the noise that is added to standardised features; a head on maps gets none.
    loss
        What the hash layer learns by.
    seed
        Seed of targets, draws and first weights.
    """

    datasets: tuple[str, ...]
    omitted: tuple[str, ...]
    max_images: int
    draws: int
    rough: int
    size: int
    steps: int
    batch: int
    learning_rate: float
    noise: float
    loss: LossWeights
    seed: int
    weight_decay: float = 1e-4


@dataclass(frozen=True, slots=True)
class ClassifierRecipe:
    """What decides the classifier, which is learned on the features that the hash layer is learned on.

    Attributes
    ----------
    steps, batch, learning_rate, weight_decay
        Length and height of the schedule.
    noise
        Standard deviation of the noise that is added to the standardised features.
    seed
        Seed of draws and first weights.
    natural
        Whether each image has the same chance, so that scores know how common a label is; else rare labels have more.
    """

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    noise: float
    seed: int
    natural: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a model, but for the images.

    Attributes
    ----------
    seed
        Seed of the stages.
    batch
        Images of a batch in the stages.
    frozen_blocks
        Leading trunk blocks (with the stem) that keep the weights that they start from.
    start
        What the trunk starts from, as `hashing.training.trunk.first_trunk` takes it.
    kind_share
        Share of an image's target that its kind gets (chest radiograph, head MR ...); its labels get the rest.
    averaging
        Decay per step of the running mean of weights that a stage ends with; 0 for the last weights themselves.
    blend
        How far the trunk goes from its first weights to those that the stages give: 1 for all the way.
    architecture
        What the network is built of; its `input_size` is the side that `head` and the node encode at.
    loss
        What the stages learn by.
    head
        The hash layer, which is learned anew after the stages.
    classifier
        The classifier beside it.
    """

    name: str
    stages: tuple[TrainingStage, ...]
    head: HashLayerRecipe
    classifier: ClassifierRecipe
    seed: int
    batch: int
    frozen_blocks: int
    kind_share: float
    loss: LossWeights
    architecture: Architecture = field(default_factory=Architecture)
    averaging: float = 0.0
    start: str = "imagenet"
    blend: float = 1.0

    @classmethod
    def read(cls, path: Path) -> "Recipe":
        """The recipe in a TOML file; an unknown or missing key is an error that names it."""
        values = tomllib.loads(path.read_text())
        common = values.pop("schedule")
        values["stages"] = tuple(_stage(stage, common) for stage in values.pop("stage"))
        values["head"] = _hash_layer(values["head"])
        values["classifier"] = ClassifierRecipe(**values["classifier"])
        values["loss"] = LossWeights(**values["loss"])
        values["architecture"] = _architecture(values.get("architecture", {}))
        return cls(name=path.stem, **values)


def _hash_layer(values: dict[str, Any]) -> HashLayerRecipe:
    lists = {name: tuple(values[name]) for name in ("datasets", "omitted")}
    return HashLayerRecipe(**(values | lists | {"loss": LossWeights(**values["loss"])}))


def _architecture(values: dict[str, Any]) -> Architecture:
    lists = {"code_lengths": tuple(values["code_lengths"])} if "code_lengths" in values else {}
    return Architecture(**(values | lists))


def _stage(values: dict[str, Any], common: dict[str, Any]) -> TrainingStage:
    """A stage, whose schedule adds to the keys that all stages share."""
    schedule = Schedule(**(common | values.pop("schedule")))
    return TrainingStage(**(values | {"datasets": tuple(values["datasets"]), "schedule": schedule}))
