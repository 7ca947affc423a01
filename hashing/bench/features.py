"""Features and maps of a set, computed once and cached, so that many heads can be compared on them."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from hashing.bench.experiment import Experiment
from hashing.bench.trained_trunk import fold_of, saved_trunk, train_trunk
from hashing.data import datasets
from hashing.data.bundled import label_rows
from hashing.data.datasets import FINDINGS, NO_FINDING, Dataset
from hashing.data.examples import with_validation
from hashing.evaluation.judgement import truth_of
from hashing.evaluation.protocol import GroundTruth
from hashing.model.network import FEATURES, LAST_STRIDE, EfficientNetLite0, channels_of
from hashing.progress import progress
from hashing.training.augmentation import VARIATION, degrade
from hashing.training.batches import ENCODING_BATCH, scaled
from hashing.training.trunk import imagenet_trunk

MIN_DEVIATION = 1e-2  # a feature that hardly varies in training is not blown up
GIVEN = {"nih_logits": "chestxray14/nih_densenet_logits.npz"}


@dataclass(frozen=True, slots=True)
class Features:
    """What heads on pooled features learn from.

    Attributes
    ----------
    views : (views, n, n_features) float32
        Features, standardised by mean and deviation of the training part alone. View 0 is of the images as they are;
        the others are of training images at a random resolution and JPEG quality, and repeat view 0 elsewhere.
    truth
        What is known of the same n images.
    mean, deviation : (n_features,) float32
        What the features were standardised by.
    key
        Checksum of everything that decided the features: results computed from them carry it in their names.
    """

    views: NDArray[np.float32]
    truth: GroundTruth
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]
    key: str


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
        views, key = values[None], checksum("given", experiment.dataset, values.shape)
    else:
        dataset = joined(experiment, root, output)
        truth, key = truth_of(dataset), features_key(experiment, dataset)
        views = _cached(experiment, dataset, output)
    mean, deviation = statistics(views[:, truth.part("train")].reshape(-1, views.shape[2]))
    return Features(np.asarray((views - mean) / deviation, np.float32), truth, mean, deviation, key)


def checksum(*parts: object) -> str:
    """Eight hexadecimal digits that change with any of the parts."""
    return f"{zlib.crc32(repr(parts).encode()):08x}"


def features_key(experiment: Experiment, dataset: Dataset) -> str:
    """Checksum of what decides the features of an experiment."""
    return checksum(trunk_key(experiment, dataset), experiment.size, experiment.views)


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
    For each stride s a memory-mapped array (views, n, channels, size / s, size / s), with views as in `Features`.

    Raises
    ------
    ValueError
        The features of the experiment are given: there are no images to make maps of.
    """
    if experiment.trunk == "given":
        raise ValueError(f"{experiment.title} has features but no images: maps need a set with images")
    dataset = joined(experiment, root, output)
    key = features_key(experiment, dataset)
    paths = {stride: output / experiment.name / f"maps-{stride}-{key}.npy" for stride in strides}
    missing = {stride: path for stride, path in paths.items() if not path.exists()}
    if missing:
        _write_maps(experiment, missing, dataset, output)
    return tuple(np.load(path, mmap_mode="r") for path in paths.values())


def _write_maps(experiment: Experiment, paths: dict[int, Path], dataset: Dataset, output: Path) -> None:
    """One pass over the images writes the maps of all strides, and the pooled features where the last maps are made.

    Each file is complete or not there.
    """
    (output / experiment.name).mkdir(parents=True, exist_ok=True)
    strides = tuple(sorted(paths))
    pooled = np.empty((experiment.views, len(dataset.images), FEATURES), np.float32) if LAST_STRIDE in paths else None
    partial = {stride: paths[stride].with_suffix(".partial") for stride in strides}
    written = {}
    for stride, (channels,) in ((stride, channels_of((stride,))) for stride in strides):
        side = ceil(experiment.size / stride)
        shape = (experiment.views, len(dataset.images), channels, side, side)
        written[stride] = np.lib.format.open_memmap(partial[stride], "w+", np.float16, shape)
    for view, rows, maps in _encoded(experiment, strides, dataset, output):
        for stride, of_stride in zip(strides, maps, strict=True):
            written[stride][view, rows] = of_stride
        if pooled is not None:
            pooled[view:, rows] = maps[-1].mean(axis=(2, 3))  # later views repeat view 0 until their own features come
    if pooled is not None:
        save_file({"features": pooled}, _features_path(experiment, dataset, output))
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
        source_pixels=np.concatenate([part.source_pixels for part in sets if part.source_pixels is not None]),
        sources=np.concatenate([part.sources for part in sets if part.sources is not None]),
        blocks=np.concatenate([part.blocks for part in sets if part.blocks is not None]),
        digest=checksum(*(part.digest for part in sets)),
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
        source_pixels=np.array([int(row["orig_width"]) * int(row["orig_height"]) for row in known]),
    )
    return logits.reshape(len(logits), -1).astype(np.float32), truth


def _cached(experiment: Experiment, dataset: Dataset, output: Path) -> NDArray[np.float32]:
    """Raw features (views, n, 1280)."""
    path = _features_path(experiment, dataset, output)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.empty((experiment.views, len(dataset.images), FEATURES), np.float32)
        for view, rows, (pooled,) in _encoded(experiment, (), dataset, output):
            values[view:, rows] = pooled  # later views repeat view 0 until their own features come
        save_file({"features": values}, path)
    features: NDArray[np.float32] = load_file(path)["features"]
    return features


def _features_path(experiment: Experiment, dataset: Dataset, output: Path) -> Path:
    return output / experiment.name / f"features-{features_key(experiment, dataset)}.safetensors"


def _encoded(
    experiment: Experiment, strides: tuple[int, ...], dataset: Dataset, output: Path
) -> Iterator[tuple[int, NDArray[np.int64], tuple[NDArray[np.float32], ...]]]:
    """View, rows and maps of some images at a time: view 0 of all images, then the others of the training part."""
    of_folds = trunks(experiment, dataset, output)
    fold, training = fold_of(dataset.groups, len(of_folds)), np.isin(dataset.splits, "train")
    for view in range(experiment.views):
        for number, trunk in enumerate(of_folds):
            rows = np.flatnonzero((fold == number) & (training | (view == 0)))
            parts = [rows[start : start + ENCODING_BATCH] for start in range(0, len(rows), ENCODING_BATCH)]
            for part in progress(parts, f"features, {experiment.size} px, view {view}", len(parts)):
                images = torch.from_numpy(dataset.images[part]).unsqueeze(1).float()
                if view:
                    images = degrade(images, np.random.default_rng((view, int(part[0]))))
                with torch.inference_mode():
                    maps = trunk.eval().maps(scaled(images, experiment.size), strides)
                yield view, part, tuple(of_stride.numpy() for of_stride in maps)


def trunks(experiment: Experiment, dataset: Dataset, output: Path) -> list[EfficientNetLite0]:
    """One trunk for each fold, which never saw the fold's patients; trunks that are not in `output` are trained."""
    if experiment.trunk == "imagenet":
        return [imagenet_trunk()]
    folders = [
        output / experiment.name / f"trunk-{fold}-{trunk_key(experiment, dataset)}" for fold in range(experiment.folds)
    ]
    for fold, of_fold in enumerate(folders):
        train_trunk(experiment, dataset, fold, of_fold)
    return [saved_trunk(of_fold) for of_fold in folders]


def trunk_key(experiment: Experiment, dataset: Dataset) -> str:
    """Checksum of what decides the trunk of an experiment."""
    if experiment.trunk == "imagenet":
        return checksum("imagenet", dataset.digest)
    schedule, seed = experiment.trunk_schedule, experiment.seeds[0]
    shape = experiment.size, experiment.folds, experiment.frozen_blocks, experiment.trunk_batch
    return checksum(experiment.trunk, dataset.digest, VARIATION, schedule, seed, *shape)
