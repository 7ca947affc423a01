"""One method of the bench from training to relaxed codes: the same trunk, budget and head for all."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hashing.codes import pack
from hashing.data.datasets import Dataset
from hashing.evaluation import metrics
from hashing.evaluation.judgement import truth_of
from hashing.evaluation.protocol import Ranker, Rows, Task, Truth, by_codes, by_distance, validation_task
from hashing.evaluation.ranking import Levels, by_hamming_distance, by_score
from hashing.methods.base import Setting
from hashing.methods.catalogue import PROJECTIONS, objective
from hashing.model.network import FEATURES, EfficientNetLite0, HashLayer
from hashing.training import features
from hashing.training.batches import Draw, FeatureSource, ImageSource, Source, relaxed_codes
from hashing.training.experiment import Experiment
from hashing.training.features import Features
from hashing.training.loop import Learner, fit
from hashing.training.trunk import Classification, imagenet_trunk, leading_blocks

CLASSIFIER = "probability ranker"


@dataclass(frozen=True, slots=True)
class Material:
    """What all methods of an experiment work on: features, or images where each trains the trunk."""

    truth: Truth
    values: NDArray[np.float32] | None
    dataset: Dataset | None

    @classmethod
    def load(cls, experiment: Experiment, root: Path, output: Path) -> "Material":
        """Features where the trunk is shared, images where it is each method's own."""
        if experiment.trunk == "own":
            dataset = features.joined(experiment, root, output)
            return cls(truth_of(dataset), None, dataset)
        found: Features = features.load(experiment, root, output)
        return cls(found.truth, found.values, None)


@dataclass(frozen=True, slots=True)
class Run:
    """One method at one code length with one seed."""

    method: str
    code_length: int
    seed: int

    @property
    def name(self) -> str:
        """For files."""
        return f"{self.method.replace(' ', '-')}-{self.code_length}-{self.seed}"


def ranker(run: Run, experiment: Experiment, material: Material, folder: Path) -> tuple[Ranker, NDArray[np.float32]]:
    """How a method ranks, and its relaxed codes (without columns for methods that make none).

    Raises
    ------
    ValueError
        There is no such method.
    """
    nothing = np.empty((len(material.truth.labels), 0), np.float32)
    if run.method == "float cosine":
        return by_distance(cosine_distance(_values(material))), nothing
    if run.method == CLASSIFIER:
        logits = relaxed_of(run, experiment, material, folder).astype(np.float64)
        return by_unlikelihood((1 + np.tanh(logits / 2)) / 2, material.truth), nothing  # the logistic function
    relaxed = relaxed_of(run, experiment, material, folder)
    return by_codes(pack(relaxed >= 0)), relaxed


def relaxed_of(run: Run, experiment: Experiment, material: Material, folder: Path) -> NDArray[np.float32]:
    """Relaxed codes of all images; a bit is set where they are >= 0."""
    rng = np.random.default_rng(run.seed)
    shape = len(material.truth.labels), run.code_length
    if run.method == "random":
        return rng.standard_normal(shape).astype(np.float32)
    if run.method == "modality only":
        _, kind = np.unique(material.truth.kinds, return_inverse=True)
        return np.where(np.arange(run.code_length)[None] == kind[:, None], 1, -1).astype(np.float32)
    if run.method in PROJECTIONS:
        values = _values(material)
        return PROJECTIONS[run.method](values[material.truth.part("train")], run.code_length, rng)(values)
    learner, source = train(run, experiment, material, folder)
    return relaxed_codes(learner, source, np.arange(shape[0]))


def train(run: Run, experiment: Experiment, material: Material, folder: Path) -> tuple[Learner, Source]:
    """A learner with the weights that were best on validation images, and where its inputs come from."""
    torch.manual_seed(run.seed)
    source = _source(run, experiment, material)
    learner = _learner(run, experiment, material).to(best_device())
    asked, score = validation_task(material.truth), validation_auc if run.method == CLASSIFIER else validation_gain
    fit(
        learner,
        experiment.schedule_of(run.method),
        source.steps,
        source,
        lambda one: score(asked, material.truth, relaxed_codes(one, source, asked.images)),
        run.seed,
        folder / run.name if material.dataset else None,
    )
    return learner, source


def validate(run: Run, experiment: Experiment, root: Path, output: Path) -> float:
    """Validation score of one method: NDCG@100, or mean AUC of the probability ranker; test images are not touched."""
    material = Material.load(experiment, root, output)
    relaxed = relaxed_of(run, experiment, material, output / experiment.name)
    asked = validation_task(material.truth)
    score = validation_auc if run.method == CLASSIFIER else validation_gain
    return score(asked, material.truth, relaxed[asked.images])


def validation_gain(asked: Task, truth: Truth, relaxed: NDArray[np.float32]) -> float:  # noqa: ARG001 - as its twin
    """NDCG@100 of validation images that ask validation images.

    Parameters
    ----------
    relaxed : (n_images, code_length)
        Of the task's images.
    """
    codes = pack(relaxed >= 0)
    place = np.searchsorted(asked.images, asked.queries)
    ranked = by_hamming_distance(codes[place], codes, asked.grades)
    return float(np.nanmean(np.concatenate([metrics.discounted_gain(levels, 100) for levels in ranked])))


def validation_auc(asked: Task, truth: Truth, logits: NDArray[np.float32]) -> float:
    """Mean area under the curve over the labels that some of the task's images have, and some have not."""
    labels = truth.labels[asked.images]
    present = [column for column in range(labels.shape[1]) if 0 < labels[:, column].sum() < len(labels)]
    return float(np.mean([metrics.area_under_curve(logits[:, one], labels[:, one]) for one in present]))


def best_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def cosine_distance(values: NDArray[np.float32]) -> Callable[[int, Rows], NDArray[np.number]]:
    """Negative cosine between rows."""
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    return lambda query, images: -(unit[images] @ unit[query])


def by_unlikelihood(chances: NDArray[np.float64], truth: Truth) -> Ranker:
    """Ranking by the chance that two images share no label, prod_c (1 - p_qc p_dc), labels taken as independent.

    Parameters
    ----------
    chances : (n, n_labels)
        Of each label; "No Finding" counts where it can be relevant.
    """

    def rank(asked: Task) -> Iterator[Levels]:
        counted = chances if asked.relevance.startswith("P-B") else chances[:, truth.positive]
        images = counted[asked.images]
        for place, query in enumerate(asked.queries):
            yield by_score(np.log1p(-np.minimum(images * counted[query], 1 - 1e-12)).sum(axis=1), place, asked.grades)

    return rank


def _source(run: Run, experiment: Experiment, material: Material) -> Source:
    # chances are right only if labels are drawn as often as they are
    sampling = "uniform" if run.method == CLASSIFIER else experiment.sampling_of(run.method)
    draw = Draw(sampling, experiment.batch, run.seed)
    rows = material.truth.part("train")
    if material.dataset:
        return ImageSource(material.dataset, material.truth, rows, experiment.size, draw)
    return FeatureSource(_values(material), material.truth, rows, draw)


def _learner(run: Run, experiment: Experiment, material: Material) -> Learner:
    truth = material.truth
    setting = Setting(run.code_length, truth.labels[truth.part("train")], run.seed)
    trunk = imagenet_trunk() if material.dataset else nn.Identity()
    frozen = leading_blocks(trunk, experiment.frozen_blocks) if isinstance(trunk, EfficientNetLite0) else []
    n_features = FEATURES if material.dataset else _values(material).shape[1]
    if run.method == CLASSIFIER:
        return Learner(trunk, classifier(n_features, setting.labels), Classification(), frozen)
    loss = objective(run.method, setting, experiment.objective_options(run.method))
    return Learner(trunk, HashLayer(n_features, run.code_length), loss, frozen)


def classifier(n_features: int, labels: NDArray[np.bool_]) -> nn.Linear:
    """A linear layer that begins with how often each label occurs, which takes thousands of steps to learn.

    Parameters
    ----------
    labels : (n, n_labels)
        Of the training images.
    """
    layer = nn.Linear(n_features, labels.shape[1])
    share = (labels.sum(axis=0) + 1) / (len(labels) + 2)
    with torch.no_grad():
        layer.bias.copy_(torch.from_numpy(np.log(share / (1 - share))))
    return layer


def _values(material: Material) -> NDArray[np.float32]:
    if material.values is None:
        raise ValueError("this method works on cached features: use another trunk than 'own'")
    return material.values
