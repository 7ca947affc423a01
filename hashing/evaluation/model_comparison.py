"""Model files beside each other and beside ITQ on their own features: the same images, queries and patients for all."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from hashing.codes import coded, prefix
from hashing.data import datasets
from hashing.data.datasets import Dataset
from hashing.data.examples import NO_FINDING, modality_of
from hashing.evaluation.judgement import judge, truth_of
from hashing.evaluation.protocol import GroundTruth, Ranker, Task, by_chance, by_codes, by_distance, reported_tasks
from hashing.evaluation.uncertainty import Difference, Estimate, Resampling
from hashing.methods.projections import iterative_quantization
from hashing.model.encoder import device_named
from hashing.model.modality import joined
from hashing.model.network import resized
from hashing.model.weights import load_network
from hashing.progress import progress

ENCODED_TOGETHER = 16
ROTATION_BITS = 64
"""Bits of the rotation (ITQ) that a model is compared with."""
Part = Literal["validation", "test"]


@dataclass(frozen=True, slots=True)
class FeaturesAndCodes:
    """What a model makes of the images of a set.

    Attributes
    ----------
    features : (n, n_features)
        Pooled features of the trunk.
    relaxed : (n, code_length)
        Relaxed codes of the greatest length.
    code_lengths
        The lengths that the model has codes of.
    """

    features: NDArray[np.float32]
    relaxed: NDArray[np.float32]
    code_lengths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelResult:
    """Mean average precision of one way to rank, in one task.

    Attributes
    ----------
    model
        Name of the model; "" for chance.
    ranking
        "chance"; "64 bits" and the like; "cosine of outputs" of `ROTATION_BITS` bits, of both sides; or "ITQ".
    before
        The first model's codes of the same length subtracted, None for the first model itself.
    rotation
        The ITQ of the same model subtracted, None where it is shorter or longer.
    """

    dataset: str
    task: str
    model: str
    ranking: str
    queries: int
    images: int
    estimate: Estimate
    before: Difference | None = None
    rotation: Difference | None = None


def compare_models(
    models: list[Path], names: tuple[str, ...], root: Path, cache: Path, part: Part
) -> Iterator[ModelResult]:
    """Results of each model on each set.

    Parameters
    ----------
    part
        Whose images ask. "validation" leaves test images alone: with it a model may be chosen.
    """
    for name in names:
        dataset = datasets.load(name, root, cache)
        truth = asked_by(truth_of(dataset), part)
        rankers = {path.stem: rankers_of(encoded(path, dataset), truth) for path in models}
        for task in reported_tasks(truth, by_kind=NO_FINDING not in truth.names):
            if task.relevance.startswith("P-A"):
                yield from _compared(name, task, truth, rankers)


def asked_by(truth: GroundTruth, part: Part) -> GroundTruth:
    """The truth of a set in which the images of a part ask; where that is not the test part, test images are unused."""
    if part == "test":
        return truth
    moved = {"train": "train", "validation": "test", "test": "unused"}
    return replace(truth, splits=np.array([moved[split] for split in truth.splits.tolist()]))


def encoded(path: Path, dataset: Dataset) -> FeaturesAndCodes:
    """Features and relaxed codes of all images of a set, as the encoder of the node computes them.

    Raises
    ------
    ModelError
        The file cannot be used.
    """
    network, model = load_network(path)
    device = device_named("auto")
    network = network.to(device).eval()
    strides = network.head.strides
    features, relaxed = [], []
    starts = range(0, len(dataset.images), ENCODED_TOGETHER)
    for start in progress(starts, f"encoding by {path.stem}", len(starts)):
        images = torch.from_numpy(dataset.images[start : start + ENCODED_TOGETHER]).unsqueeze(1).to(device)
        with torch.inference_mode():
            shown = resized(images, network.input_size) if images.shape[-1] > network.input_size else images
            maps = network.trunk.maps(shown, strides)
            features.append(maps[-1].mean(dim=(2, 3)) if strides else maps[0])
            relaxed.append(network.head(maps).relaxed)
    learned = torch.cat(relaxed).cpu().numpy()
    modalities = [modality_of(dataset.kind_names[kind]) for kind in dataset.kinds]
    codes = joined(learned, modalities) if model.architecture.modality_bits else learned
    return FeaturesAndCodes(torch.cat(features).cpu().numpy(), codes, model.architecture.code_lengths)


def rankers_of(made: FeaturesAndCodes, truth: GroundTruth) -> dict[str, Ranker]:
    """Ways to rank by what a model makes: its codes, its outputs, and a rotation fitted to its training features."""
    rankers = {f"{length} bits": by_codes(prefix(coded(made.relaxed), length)) for length in made.code_lengths}
    unit = made.relaxed[:, :ROTATION_BITS] / np.linalg.norm(made.relaxed[:, :ROTATION_BITS], axis=1, keepdims=True)
    rankers["cosine of outputs"] = by_distance(lambda query, images: -(unit[images] @ unit[query]))
    training, rng = made.features[truth.part("train")], np.random.default_rng(0)
    rotation = iterative_quantization(training, ROTATION_BITS, rng)
    return rankers | {"ITQ": by_codes(coded(rotation(made.features)))}


def table(results: list[ModelResult]) -> str:
    """Results as a Markdown table."""
    lines = [
        "| set | task | model | ranking | queries | images | MAP | above the first model | above its own ITQ |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in results:
        value = f"{row.estimate.value:.3f} ({row.estimate.low:.3f} to {row.estimate.high:.3f})"
        gaps = " | ".join(_gap(gap) for gap in (row.before, row.rotation))
        lines.append(
            f"| {row.dataset} | {row.task} | {row.model} | {row.ranking} | {row.queries:,} | {row.images:,} | {value} "
            f"| {gaps} |"
        )
    return "\n".join(lines)


def _compared(
    name: str, task: Task, truth: GroundTruth, rankers: dict[str, dict[str, Ranker]]
) -> Iterator[ModelResult]:
    resampling = Resampling(truth.resampled(task.queries), np.random.default_rng(0))
    chance = judge(task, by_chance(len(truth.labels)))["MAP"]
    size = int((~np.isnan(chance)).sum()), len(task.images)
    yield ModelResult(name, task.name, "", "chance", *size, resampling.estimate(chance))
    first: dict[str, NDArray[np.float64]] = {}
    for model, ways in rankers.items():
        values = {way: judge(task, ranker, codes=False)["MAP"] for way, ranker in ways.items()}
        for way, of_way in values.items():
            before = resampling.difference(of_way, first[way]) if way in first else None
            rotated = resampling.difference(of_way, values["ITQ"]) if way.startswith(f"{ROTATION_BITS} ") else None
            yield ModelResult(name, task.name, model, way, *size, resampling.estimate(of_way), before, rotated)
        first = first or values


def _gap(gap: Difference | None) -> str:
    return "" if gap is None else f"{gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"
