"""Features and maps of a set, computed once and kept, so that many heads can be compared on them."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from hashing.data import datasets
from hashing.data.bundled import label_rows
from hashing.data.datasets import FINDINGS, NO_FINDING, Dataset
from hashing.data.examples import with_validation
from hashing.evaluation.judgement import truth_of
from hashing.evaluation.protocol import GroundTruth
from hashing.model.network import FEATURES, EfficientNetLite0, channels_of
from hashing.progress import progress
from hashing.training.batches import ENCODING_BATCH, image_tensors
from hashing.training.experiment import Experiment
from hashing.training.trunk import fold_of, imagenet_trunk, saved_trunk, train_trunk

MIN_DEVIATION = 1e-2  # a feature that hardly varies in training is not blown up
GIVEN = {"nih_logits": "chestxray14/nih_densenet_logits.npz"}


@dataclass(frozen=True, slots=True)
class Features:
    """What heads on pooled features learn from.

    Attributes
    ----------
    values : (n, n_features) float32
        Features, standardised by mean and deviation of the training part alone.
    truth
        What is known of the same n images.
    mean, deviation : (n_features,) float32
        What the features were standardised by.
    """

    values: NDArray[np.float32]
    truth: GroundTruth
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]


def load(experiment: Experiment, root: Path, output: Path) -> Features:
    """Features of an experiment's set, from the cache if it has them.

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
    mean, deviation = statistics(values[truth.part("train")])
    return Features(np.asarray((values - mean) / deviation, np.float32), truth, mean, deviation)


def load_maps(
    experiment: Experiment, strides: tuple[int, ...], root: Path, output: Path
) -> tuple[NDArray[np.float16], ...]:
    """Maps of the trunk at some strides, of every image, for heads that look at positions.

    The mean of the maps of stride 32 over positions is the feature before it is standardised, but for the rounding to
    half precision. Maps are as the trunk gives them: a head that wants them standardised does it itself.

    Parameters
    ----------
    strides
        Each one of `hashing.model.network.MAPS`.

    Returns
    -------
    For each stride s a memory-mapped array (n, channels, size / s, size / s).

    Raises
    ------
    ValueError
        The features of the experiment are given: there are no images to make maps of.
    """
    if experiment.trunk == "given":
        raise ValueError(f"{experiment.title} has features but no images: maps need a set with images")
    folder = output / experiment.name
    paths = {stride: folder / f"maps-{experiment.trunk}-{experiment.size}-{stride}.npy" for stride in strides}
    missing = {stride: path for stride, path in paths.items() if not path.exists()}
    if missing:
        _write_maps(experiment, missing, joined(experiment, root, output), folder)
    return tuple(np.load(path, mmap_mode="r") for path in paths.values())


def _write_maps(experiment: Experiment, paths: dict[int, Path], dataset: Dataset, folder: Path) -> None:
    """One pass over the images writes the maps of all strides; each file is complete or not there."""
    folder.mkdir(parents=True, exist_ok=True)
    strides = tuple(sorted(paths))
    partial = {stride: paths[stride].with_suffix(".partial") for stride in strides}
    written = {}
    for stride, (channels,) in ((stride, channels_of((stride,))) for stride in strides):
        side = ceil(experiment.size / stride)
        shape = (len(dataset.images), channels, side, side)
        written[stride] = np.lib.format.open_memmap(partial[stride], "w+", np.float16, shape)
    for rows, trunk in _shares(experiment, dataset, folder):
        for some, maps in _encoded(trunk, strides, dataset, rows, experiment.size):
            for stride, of_stride in zip(strides, maps, strict=True):
                written[stride][some] = of_stride
    for stride in strides:
        written[stride].flush()
        partial[stride].rename(paths[stride])


def joined(experiment: Experiment, root: Path, output: Path) -> Dataset:
    """The sets of an experiment as one, with the labels and kinds that occur."""
    sets = [datasets.load(name, root, output / "cache", names=(), kinds=()) for name in experiment.dataset]
    names = tuple(dict.fromkeys(name for part in sets for name in part.names))
    kinds = tuple(dict.fromkeys(kind for part in sets for kind in part.kind_names))
    return Dataset(
        images=sets[0].images if len(sets) == 1 else np.concatenate([part.images for part in sets]),
        labels=np.concatenate([_columns(part.labels, part.names, names) for part in sets]),
        kinds=np.concatenate([np.array([kinds.index(kind) for kind in part.kind_names])[part.kinds] for part in sets]),
        groups=np.concatenate([part.groups for part in sets]),
        splits=np.concatenate([part.splits for part in sets]),
        names=names,
        kind_names=kinds,
    )


def _columns(labels: NDArray[np.bool_], own: tuple[str, ...], names: tuple[str, ...]) -> NDArray[np.bool_]:
    """Columns of one set in the order of all."""
    wide = np.zeros((len(labels), len(names)), bool)
    wide[:, [names.index(name) for name in own]] = labels
    return wide


def statistics(training: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation, (n_features,) each, of the features of training images (n, n_features)."""
    return training.mean(axis=0), np.maximum(training.std(axis=0), MIN_DEVIATION)


def _given(root: Path, name: str) -> tuple[NDArray[np.float32], GroundTruth]:
    """The 56 outputs of four DenseNet-121 for ChestX-ray14 images of patients they never saw, by the official split."""
    path = root / GIVEN[name]
    if not path.exists():
        raise FileNotFoundError(f"{name} is not at {path}: see NOTICE for where data sets come from")
    with np.load(path) as file:
        names, logits = file["image"], file["logit"]
    rows = {row["image"]: row for row in label_rows(root)}
    known = [rows[image] for image in names.tolist()]
    findings = np.array([[row[label] == "1" for label in FINDINGS] for row in known])
    groups = np.array([f"nih-{row['patient_id']}" for row in known])
    official = np.array(["test" if row["split_official"] == "test" else "train" for row in known])
    truth = GroundTruth(
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
            for some, (pooled,) in _encoded(trunk, (), dataset, rows, experiment.size):
                values[some] = pooled
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
    for fold, of_fold in enumerate(folders):
        train_trunk(experiment, dataset, fold, of_fold)
    return [saved_trunk(of_fold) for of_fold in folders]


def _encoded(
    trunk: EfficientNetLite0, strides: tuple[int, ...], dataset: Dataset, rows: NDArray[np.int64], size: int
) -> Iterator[tuple[NDArray[np.int64], tuple[NDArray[np.float32], ...]]]:
    """Some rows at a time, with the maps of their images."""
    parts = [rows[start : start + ENCODING_BATCH] for start in range(0, len(rows), ENCODING_BATCH)]
    for part in progress(parts, f"features, {size} px", len(parts)):
        with torch.inference_mode():
            (images,) = image_tensors(dataset, part, size)
            yield part, tuple(maps.numpy() for maps in trunk.maps(images, strides))
