"""Features of a set, computed once and kept, so that many hash heads can be compared on them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor

from hashing.data import datasets
from hashing.data.bundled import label_rows
from hashing.data.datasets import FINDINGS, NO_FINDING, Dataset
from hashing.data.examples import with_validation
from hashing.evaluation.judgement import truth_of
from hashing.evaluation.protocol import Truth
from hashing.model.network import FEATURES, STRIDE, EfficientNetLite0
from hashing.progress import progress
from hashing.training.batches import ENCODING_BATCH, image_tensors
from hashing.training.experiment import Experiment
from hashing.training.trunk import fold_of, imagenet_trunk, saved_trunk, train_trunk

LEAST_DEVIATION = 1e-2  # a feature that hardly varies in training is not blown up
GIVEN = {"nih_logits": "chestxray14/nih_densenet_logits.npz"}


@dataclass(frozen=True, slots=True)
class Features:
    """What heads learn from.

    Attributes
    ----------
    values : (n, n_features) float32
        Standardised by mean and deviation of the training part alone.
    truth
        Of the same n images.
    """

    values: NDArray[np.float32]
    truth: Truth


def load(experiment: Experiment, root: Path, output: Path) -> Features:
    """Features of an experiment's set, from the cache where they are there.

    Parameters
    ----------
    root
        Folder of the data sets.
    output
        Folder for trunks and caches.
    """
    if experiment.trunk == "given":
        values, truth = _given(root, experiment.dataset[0])
    else:
        dataset = joined(experiment, root, output)
        truth = truth_of(dataset)
        values = _cached(experiment, dataset, output)
    return Features(standardised(values, truth.part("train")), truth)


def load_maps(experiment: Experiment, root: Path, output: Path) -> NDArray[np.float16]:
    """The trunk's last maps of every image, for heads that look at places: (n, 1280, height, width), memory-mapped.

    Their mean over places is the feature before it is standardised, but for the rounding to half precision.

    Raises
    ------
    ValueError
        The experiment's features are given: there are no images to make maps of.
    """
    if experiment.trunk == "given":
        raise ValueError(f"{experiment.title} has features but no images: maps need a set with images")
    dataset, folder = joined(experiment, root, output), output / experiment.name
    path = folder / f"maps-{experiment.trunk}-{experiment.size}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial, side = path.with_suffix(".partial"), ceil(experiment.size / STRIDE)
        written = np.lib.format.open_memmap(partial, "w+", np.float16, (len(dataset.images), FEATURES, side, side))
        for rows, trunk in _shares(experiment, dataset, folder):
            for some, maps in _encoded(trunk.maps, dataset, rows, experiment.size):
                written[some] = maps
        written.flush()
        partial.rename(path)
    loaded: NDArray[np.float16] = np.load(path, mmap_mode="r")
    return loaded


def joined(experiment: Experiment, root: Path, output: Path) -> Dataset:
    """The sets of an experiment as one, with the labels and kinds that occur."""
    sets = [datasets.load(name, root, output / "cache", names=(), kinds=()) for name in experiment.dataset]
    names = tuple(dict.fromkeys(name for one in sets for name in one.names))
    kinds = tuple(dict.fromkeys(kind for one in sets for kind in one.kind_names))
    return Dataset(
        images=sets[0].images if len(sets) == 1 else np.concatenate([one.images for one in sets]),
        labels=np.concatenate([_columns(one.labels, one.names, names) for one in sets]),
        kinds=np.concatenate([np.array([kinds.index(kind) for kind in one.kind_names])[one.kinds] for one in sets]),
        groups=np.concatenate([one.groups for one in sets]),
        splits=np.concatenate([one.splits for one in sets]),
        names=names,
        kind_names=kinds,
    )


def _columns(labels: NDArray[np.bool_], own: tuple[str, ...], names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Columns of one set in the order of all."""
    wide = np.zeros((len(labels), len(names)), bool)
    wide[:, [names.index(name) for name in own]] = labels
    return wide


def standardised(values: NDArray[np.float32], train: NDArray[np.int64]) -> NDArray[np.float32]:
    """Features with mean 0 and deviation 1 over the training images; test images have no say in it."""
    mean, deviation = values[train].mean(axis=0), values[train].std(axis=0)
    return np.asarray((values - mean) / np.maximum(deviation, LEAST_DEVIATION), dtype=np.float32)


def _given(root: Path, name: str) -> tuple[NDArray[np.float32], Truth]:
    """The 56 outputs of four DenseNet-121 for ChestX-ray14 images of patients they never saw, by the official split."""
    path = root / GIVEN[name]
    if not path.exists():
        raise FileNotFoundError(f"{name} is not at {path}: see NOTICE for where data sets come from")
    with np.load(path) as file:
        names, logits = file["image"], file["logit"]
    rows = {row["image"]: row for row in label_rows(root)}
    found = [rows[image] for image in names.tolist()]
    findings = np.array([[row[label] == "1" for label in FINDINGS] for row in found])
    groups = np.array([f"nih-{row['patient_id']}" for row in found])
    official = np.array(["test" if row["split_official"] == "test" else "train" for row in found])
    truth = Truth(
        labels=np.column_stack([findings, ~findings.any(axis=1)]),
        names=(*FINDINGS, NO_FINDING),
        groups=groups,
        splits=np.array([with_validation(*pair) for pair in zip(groups.tolist(), official, strict=True)]),
        kinds=np.repeat("adult chest radiograph", len(names)),
    )
    return logits.reshape(len(logits), -1).astype(np.float32), truth


def _cached(experiment: Experiment, dataset: Dataset, output: Path) -> NDArray[np.float32]:
    folder = output / experiment.name
    path = folder / f"features-{experiment.trunk}-{experiment.size}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        values = np.empty((len(dataset.images), FEATURES), np.float32)
        for rows, trunk in _shares(experiment, dataset, folder):
            for some, found in _encoded(trunk, dataset, rows, experiment.size):
                values[some] = found
        save_file({"features": values}, path)
    features: NDArray[np.float32] = load_file(path)["features"]
    return features


def _shares(
    experiment: Experiment, dataset: Dataset, folder: Path
) -> Iterator[tuple[NDArray[np.int64], EfficientNetLite0]]:
    """The rows of each fold with the trunk that encodes them."""
    trunks = _trunks(experiment, dataset, folder)
    fold = fold_of(dataset.groups, len(trunks))
    for number, trunk in enumerate(trunks):
        yield np.flatnonzero(fold == number), trunk.eval()


def _trunks(experiment: Experiment, dataset: Dataset, folder: Path) -> list[EfficientNetLite0]:
    """One trunk for each fold, which never saw the fold's patients."""
    if experiment.trunk == "imagenet":
        return [imagenet_trunk()]
    folders = [folder / f"trunk-{fold}" for fold in range(experiment.folds)]
    for fold, place in enumerate(folders):
        train_trunk(experiment, dataset, fold, place)
    return [saved_trunk(place) for place in folders]


def _encoded(
    encode: Callable[[Tensor], Tensor], dataset: Dataset, rows: NDArray[np.int64], size: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Some rows at a time, with what is made of their images."""
    parts = [rows[start : start + ENCODING_BATCH] for start in range(0, len(rows), ENCODING_BATCH)]
    for part in progress(parts, f"features, {size} px", len(parts)):
        with torch.inference_mode():
            (images,) = image_tensors(dataset, part, size)
            yield part, encode(images).numpy()
