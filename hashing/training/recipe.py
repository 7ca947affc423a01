"""What decides the training of a shippable model, but for the images: read from a TOML file."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from hashing.training.loop import Schedule


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
    draws
        Variations of each image.
    size
        Side of the images, pixels.
    steps, batch, learning_rate
        Length and height of the schedule.
    noise
        Standard deviation of the noise that is added to the standardised features.
    relation_weight
        Weight of the loss that makes distances of codes follow those of features.
    seed
        Seed of targets, draws and first weights.
    """

    datasets: tuple[str, ...]
    omitted: tuple[str, ...]
    max_images: int
    draws: int
    size: int
    steps: int
    batch: int
    learning_rate: float
    noise: float
    relation_weight: float
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
    """

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    noise: float
    seed: int


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
        Leading trunk blocks (with the stem) that keep their ImageNet weights.
    kind_share
        Share of an image's target that its kind gets (chest radiograph, head MR ...); its labels get the rest.
    classifier_weight
        Weight of the auxiliary classifier in the loss of the stages.
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
    classifier_weight: float

    @classmethod
    def read(cls, path: Path) -> "Recipe":
        """The recipe in a TOML file; an unknown or missing key is an error that names it."""
        values = tomllib.loads(path.read_text())
        common = values.pop("schedule")
        values["stages"] = tuple(_stage(stage, common) for stage in values.pop("stage"))
        head = values.pop("head")
        values["head"] = HashLayerRecipe(**(head | {name: tuple(head[name]) for name in ("datasets", "omitted")}))
        values["classifier"] = ClassifierRecipe(**values["classifier"])
        return cls(name=path.stem, **values)


def _stage(values: dict[str, object], common: dict[str, object]) -> TrainingStage:
    """A stage, whose schedule adds to the keys that all stages share."""
    schedule = Schedule(**(common | values.pop("schedule")))  # type: ignore[operator]
    return TrainingStage(**(values | {"datasets": tuple(values["datasets"]), "schedule": schedule}))  # type: ignore[arg-type]
