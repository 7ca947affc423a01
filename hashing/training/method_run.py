"""One method of the bench from training to relaxed codes: the same trunk and budget for all."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hashing.codes import coded
from hashing.data.datasets import Dataset
from hashing.evaluation import metrics
from hashing.evaluation.judgement import truth_of
from hashing.evaluation.protocol import GroundTruth, Ranker, Rows, Task, by_codes, by_distance, validation_task
from hashing.evaluation.ranking import Levels, by_hamming_distance, by_score
from hashing.methods.base import Head, Objective, Setting
from hashing.methods.catalogue import PROJECTIONS, TRAINED, trained
from hashing.methods.classification import Classification
from hashing.methods.heads import Classifier
from hashing.model.network import channels_of
from hashing.training import features
from hashing.training.batches import ImageSource, MapSource, Sampling, Source, class_logits, relaxed_codes
from hashing.training.experiment import Experiment
from hashing.training.loop import ImageTrunk, Learner, fit
from hashing.training.trunk import imagenet_trunk, leading_blocks

CLASSIFIER = "probability ranker"


@dataclass(frozen=True, slots=True)
class BenchData:
    """What all methods of an experiment work on.

    Attributes
    ----------
    truth
        What is known of all images.
    values : (n, n_features) float32
        Standardised pooled features; None where each method trains the trunk.
    dataset
        The images where each method trains the trunk, else None.
    maps
        Cached maps by stride, for methods whose heads read maps.
    mean, deviation : (n_features,) float32
        What the features were standardised by, if they are.
    """

    truth: GroundTruth
    values: NDArray[np.float32] | None
    dataset: Dataset | None
    maps: dict[int, NDArray[np.float16]] = field(default_factory=dict)
    mean: NDArray[np.float32] | None = None
    deviation: NDArray[np.float32] | None = None

    @classmethod
    def load(cls, experiment: Experiment, root: Path, output: Path) -> "BenchData":
        """Features, and the maps that methods of the experiment read; or images where each method trains the trunk."""
        if experiment.trunk == "own":
            dataset = features.joined(experiment, root, output)
            return cls(truth_of(dataset), None, dataset)
        loaded = features.load(experiment, root, output)
        methods = [TRAINED[name] for name in experiment.methods if name in TRAINED]
        strides = tuple(sorted({stride for method in methods for stride in method.head.strides}))
        maps = features.load_maps(experiment, strides, root, output) if strides else ()
        of_stride = dict(zip(strides, maps, strict=True))
        return cls(loaded.truth, loaded.values, None, of_stride, loaded.mean, loaded.deviation)

    def cached(self, strides: tuple[int, ...]) -> tuple[NDArray[np.floating], ...]:
        """What a head with these strides reads: arrays (n, ...).

        Raises
        ------
        ValueError
            Nothing is cached, since each method trains the trunk.
        """
        if self.values is None:
            raise ValueError("this method works on cached features: use another trunk than 'own'")
        return tuple(self.maps[stride] for stride in strides) if strides else (self.values,)

    @property
    def features(self) -> NDArray[np.float32]:
        """Standardised pooled features (n, n_features); errors as for `cached`."""
        return np.asarray(self.cached(())[0])


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


def ranker(run: Run, experiment: Experiment, data: BenchData, folder: Path) -> tuple[Ranker, NDArray[np.float32]]:
    """How a method ranks, and its relaxed codes (without columns for methods that make none).

    Raises
    ------
    ValueError
        There is no such method.
    """
    nothing = np.empty((len(data.truth.labels), 0), np.float32)
    if run.method == "float cosine":
        return by_distance(cosine_distance(data.features)), nothing
    outputs = outputs_of(run, experiment, data, folder)
    if run.method == CLASSIFIER:
        chances = (1 + np.tanh(outputs.astype(np.float64) / 2)) / 2  # the logistic function
        return by_unlikelihood(chances, data.truth), nothing
    return by_codes(coded(outputs)), outputs


def outputs_of(run: Run, experiment: Experiment, data: BenchData, folder: Path) -> NDArray[np.float32]:
    """What a method makes of all images: relaxed codes, or the logits of the probability ranker."""
    rng = np.random.default_rng(run.seed)
    shape = len(data.truth.labels), run.code_length
    if run.method == "random":
        return rng.standard_normal(shape).astype(np.float32)
    if run.method == "modality only":
        _, kind = np.unique(data.truth.kinds, return_inverse=True)
        return np.where(np.arange(run.code_length)[None] == kind[:, None], 1, -1).astype(np.float32)
    if run.method in PROJECTIONS:
        values = data.features
        return PROJECTIONS[run.method](values[data.truth.part("train")], run.code_length, rng)(values)
    learner, source = train(run, experiment, data, folder)
    return _outputs(run, learner, source, np.arange(shape[0]))


def train(run: Run, experiment: Experiment, data: BenchData, folder: Path) -> tuple[Learner, Source]:
    """A learner with the weights that were best on validation images, and the source of its inputs."""
    torch.manual_seed(run.seed)
    learner = _learner(run, experiment, data).to(best_device())
    source = _source(run, experiment, data, learner.head.strides)
    asked, score = validation_task(data.truth), validation_auc if run.method == CLASSIFIER else validation_gain
    fit(
        learner,
        experiment.schedule_of(run.method),
        source.steps,
        source,
        lambda trained: score(asked, data.truth, _outputs(run, trained, source, asked.images)),
        run.seed,
        folder / run.name if data.dataset else None,
    )
    return learner, source


def validate(run: Run, experiment: Experiment, root: Path, output: Path) -> float:
    """Validation score of one method: NDCG@100, or mean AUC of the probability ranker; test images are not touched."""
    data = BenchData.load(experiment, root, output)
    outputs = outputs_of(run, experiment, data, output / experiment.name)
    asked = validation_task(data.truth)
    score = validation_auc if run.method == CLASSIFIER else validation_gain
    return score(asked, data.truth, outputs[asked.images])


def validation_gain(asked: Task, truth: GroundTruth, relaxed: NDArray[np.float32]) -> float:  # noqa: ARG001 - as its twin
    """NDCG@100 of validation images that ask validation images.

    Parameters
    ----------
    relaxed : (n_images, code_length)
        Of the task's images.
    """
    codes = coded(relaxed)
    rows = np.searchsorted(asked.images, asked.queries)
    ranked = by_hamming_distance(codes[rows], codes, asked.grades)
    return float(np.nanmean(np.concatenate([metrics.discounted_gain(levels, 100) for levels in ranked])))


def validation_auc(asked: Task, truth: GroundTruth, logits: NDArray[np.float32]) -> float:
    """Mean area under the curve over the labels that some of the task's images have, and some have not."""
    labels = truth.labels[asked.images]
    present = [column for column in range(labels.shape[1]) if 0 < labels[:, column].sum() < len(labels)]
    return float(np.mean([metrics.area_under_curve(logits[:, label], labels[:, label]) for label in present]))


def best_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def cosine_distance(values: NDArray[np.float32]) -> Callable[[int, Rows], NDArray[np.number]]:
    """Negative cosine between rows."""
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    return lambda query, images: -(unit[images] @ unit[query])


def by_unlikelihood(chances: NDArray[np.float64], truth: GroundTruth) -> Ranker:
    """Ranking by the chance that two images share no label, prod_c (1 - p_qc p_dc), labels taken as independent.

    Parameters
    ----------
    chances : (n, n_labels)
        Chance of each label; "No Finding" counts where it can be relevant.
    """

    def rank(asked: Task) -> Iterator[Levels]:
        counted = chances if asked.relevance.startswith("P-B") else chances[:, truth.positive]
        images = counted[asked.images]
        for number, query in enumerate(asked.queries):
            yield by_score(np.log1p(-np.minimum(images * counted[query], 1 - 1e-12)).sum(axis=1), number, asked.grades)

    return rank


def _source(run: Run, experiment: Experiment, data: BenchData, strides: tuple[int, ...]) -> Source:
    # chances are right only if labels are drawn as often as they occur
    name = "uniform" if run.method == CLASSIFIER else experiment.sampling_of(run.method)
    sampling, rows = Sampling(name, experiment.batch, run.seed), data.truth.part("train")
    if data.dataset:
        return ImageSource(data.dataset, data.truth, rows, experiment.size, sampling)
    return MapSource(data.cached(strides), data.truth, rows, sampling)


def _learner(run: Run, experiment: Experiment, data: BenchData) -> Learner:
    labels = data.truth.labels[data.truth.part("train")]
    network = imagenet_trunk() if data.dataset else None
    if run.method == CLASSIFIER:
        head: Head = classifier(_channels(data, ()), labels)
        objective: Objective = Classification()
    else:
        method = trained(run.method)
        setting = Setting(run.code_length, labels, run.seed, _channels(data, method.head.strides))
        objective = method.objective(setting, **experiment.objective_options(run.method))
        head = method.head(setting.channels, run.code_length)
    if network is None:
        return Learner(nn.Identity(), head, objective)
    return Learner(
        ImageTrunk(network, head.strides), head, objective, leading_blocks(network, experiment.frozen_blocks)
    )


def _channels(data: BenchData, strides: tuple[int, ...]) -> tuple[int, ...]:
    """Channels of each tensor that a head with these strides receives."""
    return channels_of(strides) if data.dataset else tuple(array.shape[1] for array in data.cached(strides))


def _outputs(run: Run, learner: Learner, source: Source, rows: Rows) -> NDArray[np.float32]:
    return (class_logits if run.method == CLASSIFIER else relaxed_codes)(learner, source, rows)


def classifier(channels: tuple[int, ...], labels: NDArray[np.bool_]) -> Classifier:
    """A linear classifier whose bias begins at the frequency of each label, which takes thousands of steps to learn.

    Parameters
    ----------
    channels
        Number of features, alone in a tuple.
    labels : (n, n_labels)
        Labels of the training images.
    """
    head = Classifier(channels, n_labels=labels.shape[1])
    share = (labels.sum(axis=0) + 1) / (len(labels) + 2)
    with torch.no_grad():
        head.layer.bias.copy_(torch.from_numpy(np.log(share / (1 - share))))
    return head
