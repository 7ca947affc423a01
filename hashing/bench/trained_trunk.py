"""Trunks of the bench that were fine-tuned as classifiers, cross-fitted by patient."""

import logging
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hashing.bench.experiment import Experiment
from hashing.data.datasets import Dataset
from hashing.evaluation.judgement import truth_of
from hashing.evaluation.metrics import area_under_curve
from hashing.methods.classification import Classification
from hashing.methods.heads import Classifier
from hashing.model.network import EfficientNetLite0, channels_last, channels_of
from hashing.training.batches import ImageSource, Sampling, class_logits
from hashing.training.checkpoints import best_weights
from hashing.training.loop import ImageTrunk, Learner, fit
from hashing.training.trunk import imagenet_trunk, leading_blocks

logger = logging.getLogger(__name__)
TRUNK_PREFIX = "trunk.network."
"""Before the names of a trunk's weights in the checkpoint of a learner."""


def fold_of(groups: NDArray[np.str_], folds: int) -> NDArray[np.int64]:
    """Fold of each image, drawn by a checksum of its patient; independent of the validation draw."""
    unique, number = np.unique(groups, return_inverse=True)
    fold = np.array([zlib.crc32(group.encode()) // 10 % folds for group in unique.tolist()])
    return np.asarray(fold[number])


def train_trunk(experiment: Experiment, dataset: Dataset, fold: int, folder: Path) -> EfficientNetLite0:
    """A trunk trained as a classifier on the training images of all other folds.

    Parameters
    ----------
    fold
        The fold left out; with one fold nothing is.
    folder
        Folder for checkpoints and the log; a trunk that is finished there is read instead of trained.
    """
    assert experiment.trunk_schedule is not None
    rows = dataset.part("train")
    if experiment.folds > 1:
        rows = rows[fold_of(dataset.groups[rows], experiment.folds) != fold]
    torch.manual_seed(experiment.seeds[0])  # the same first classifier for each fold keeps their features alike
    trunk = imagenet_trunk()
    learner = Learner(
        ImageTrunk(trunk, ()),
        Classifier(channels_of(()), n_labels=dataset.labels.shape[1]),
        Classification(),
        leading_blocks(trunk, experiment.frozen_blocks),
    )
    sampling = Sampling("uniform", experiment.trunk_batch, experiment.seeds[0])
    source = ImageSource(dataset, truth_of(dataset), rows, experiment.size, sampling)
    schedule, score = experiment.trunk_schedule, partial(validation_auc, source=source)
    best = fit(learner, schedule, source.steps, source, score, experiment.seeds[0], folder)
    logger.info("trunk without fold %d: mean validation AUC %.3f", fold, best)
    return trunk


def validation_auc(learner: Learner, source: ImageSource) -> float:
    """Mean area under the curve over the labels that the validation part has."""
    rows = source.truth.part("validation")
    logits, labels = class_logits(learner, source, rows), source.truth.labels[rows]
    present = [column for column in range(labels.shape[1]) if 0 < labels[:, column].sum() < len(rows)]
    return float(np.mean([area_under_curve(logits[:, label], labels[:, label]) for label in present]))


def saved_trunk(folder: Path) -> EfficientNetLite0:
    """The trunk of a run that `train_trunk` has finished."""
    trunk = EfficientNetLite0()
    weights = best_weights(folder)
    trunk.load_state_dict(
        {name.removeprefix(TRUNK_PREFIX): tensor for name, tensor in weights.items() if name.startswith(TRUNK_PREFIX)}
    )
    return channels_last(trunk.eval())
