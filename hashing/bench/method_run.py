"""One method of the bench from training to relaxed codes: the same trunk and budget for all."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hashing.bench import features
from hashing.bench.bench_data import BenchData
from hashing.bench.experiment import Experiment
from hashing.codes import coded
from hashing.evaluation import metrics
from hashing.evaluation.protocol import GroundTruth, Ranker, Rows, Task, by_codes, by_distance, validation_task
from hashing.evaluation.ranking import Levels, by_hamming_distance, by_score
from hashing.methods.base import Head, Objective, Setting
from hashing.methods.catalogue import PROJECTIONS, trained
from hashing.methods.classification import Classification
from hashing.methods.heads import Classifier
from hashing.model.network import channels_of
from hashing.training.augmentation import VARIATION
from hashing.training.batches import ImageSource, MapSource, Sampling, Source, class_logits, relaxed_codes
from hashing.training.loop import ImageTrunk, Learner, fit
from hashing.training.trunk import imagenet_trunk, leading_blocks

CLASSIFIER = "probability ranker"
RESULTS = 2
"""Version of what methods and measures compute: another number makes all results anew."""


@dataclass(frozen=True, slots=True)
class Run:
    """One method at one code length with one seed."""

    method: str
    code_length: int
    seed: int

    def file_stem(self, experiment: Experiment, data_key: str) -> str:
        """Beginning of the names of the run's files: it changes with everything that decides the result.

        Parameters
        ----------
        data_key
            `BenchData.key`.
        """
        settings = (
            data_key,
            VARIATION,
            experiment.schedule_of(self.method),
            experiment.sampling_of(self.method),
            sorted(experiment.objective_options(self.method).items()),
            (experiment.batch, experiment.hidden, experiment.size, experiment.frozen_blocks),
        )
        name = self.method.replace(" ", "-")
        return f"{name}-{self.code_length}-{self.seed}-{features.checksum(RESULTS, settings)}"


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
    if run.method == "source size only":
        return by_distance(size_distance(data.truth)), nothing
    if run.method == "source only":
        return by_distance(source_distance(data.truth)), nothing
    outputs = outputs_of(run, experiment, data, folder)
    if run.method == CLASSIFIER:
        chances = (1 + np.tanh(outputs.astype(np.float64) / 2)) / 2  # the logistic function
        return by_unlikelihood(chances, data.truth), nothing
    return by_codes(coded(outputs)), outputs


def outputs_of(run: Run, experiment: Experiment, data: BenchData, folder: Path) -> NDArray[np.float32]:
    """Outputs of a method for all images: relaxed codes, or the logits of the probability ranker."""
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
    task, score = validation_task(data.truth), validation_auc if run.method == CLASSIFIER else validation_gain
    fit(
        learner,
        experiment.schedule_of(run.method),
        source.steps,
        source,
        lambda trained: score(task, data.truth, _outputs(run, trained, source, task.images)),
        run.seed,
        folder / run.file_stem(experiment, data.key) if data.dataset else None,
    )
    return learner, source


def validate(run: Run, experiment: Experiment, root: Path, output: Path) -> float:
    """Validation score of one method: NDCG@100, or mean AUC of the probability ranker; test images are not touched."""
    data = BenchData.load(experiment, root, output)
    return validation_score(run, data.truth, outputs_of(run, experiment, data, output / experiment.name))


def validation_score(run: Run, truth: GroundTruth, outputs: NDArray[np.float32]) -> float:
    """Validation score of a method by its outputs for all images."""
    task = validation_task(truth)
    score = validation_auc if run.method == CLASSIFIER else validation_gain
    return score(task, truth, outputs[task.images])


def validation_gain(task: Task, truth: GroundTruth, relaxed: NDArray[np.float32]) -> float:  # noqa: ARG001 - as its twin
    """NDCG@100 of validation images that ask validation images.

    Parameters
    ----------
    relaxed : (n_images, code_length)
        Relaxed codes of the task's images.
    """
    codes = coded(relaxed)
    rows = np.searchsorted(task.images, task.queries)
    ranked = by_hamming_distance(codes[rows], codes, task.grades)
    return float(np.nanmean(np.concatenate([metrics.discounted_gain(levels, 100) for levels in ranked])))


def validation_auc(task: Task, truth: GroundTruth, logits: NDArray[np.float32]) -> float:
    """Mean area under the curve over the labels that some of the task's images have, and some have not."""
    labels = truth.labels[task.images]
    present = [column for column in range(labels.shape[1]) if 0 < labels[:, column].sum() < len(labels)]
    return float(np.mean([metrics.area_under_curve(logits[:, label], labels[:, label]) for label in present]))


def best_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def cosine_distance(values: NDArray[np.float32]) -> Callable[[int, Rows], NDArray[np.number]]:
    """Negative cosine between rows."""
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    return lambda query, images: -(unit[images] @ unit[query])


def size_distance(truth: GroundTruth) -> Callable[[int, Rows], NDArray[np.number]]:
    """Difference of the logarithms of the numbers of pixels: a ranking that sees no pixel; 0 where they are unknown."""
    known = truth.source_pixels
    logarithms = np.zeros(len(truth.labels)) if known is None else np.log2(known)
    return lambda query, images: np.abs(logarithms[images] - logarithms[query])


def source_distance(truth: GroundTruth) -> Callable[[int, Rows], NDArray[np.number]]:
    """0 between images of one source (file, collection or hospital), 1 between others; 0 where they are unknown."""
    sources = np.zeros(len(truth.labels)) if truth.sources is None else truth.sources
    return lambda query, images: (sources[images] != sources[query]).astype(np.int64)


def by_unlikelihood(chances: NDArray[np.float64], truth: GroundTruth) -> Ranker:
    """Ranking by the chance that two images share no label, prod_c (1 - p_qc p_dc), labels taken as independent.

    Parameters
    ----------
    chances : (n, n_labels)
        Chance of each label; "No Finding" counts where it can be relevant.
    """

    def rank(task: Task) -> Iterator[Levels]:
        """Each query's images, ranked by the chance that they share no label with it."""
        counted = chances if task.relevance.startswith("P-B") else chances[:, truth.positive]
        images = counted[task.images]
        for number, query in enumerate(task.queries):
            yield by_score(np.log1p(-np.minimum(images * counted[query], 1 - 1e-12)).sum(axis=1), number, task.grades)

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
        hidden = {"hidden": experiment.hidden} if experiment.hidden else {}
        n_labels = labels.shape[1] if method.classifies else 0
        head = method.head(setting.channels, run.code_length, n_labels, **hidden, **method.head_options)
    if network is None:
        return Learner(nn.Identity(), head, objective)
    return Learner(
        ImageTrunk(network, head.strides), head, objective, leading_blocks(network, experiment.frozen_blocks)
    )


def _channels(data: BenchData, strides: tuple[int, ...]) -> tuple[int, ...]:
    """Channels of each tensor that a head with these strides receives."""
    return channels_of(strides) if data.dataset else tuple(array.shape[2] for array in data.cached(strides))


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
