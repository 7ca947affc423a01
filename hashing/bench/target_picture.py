"""A picture of targets that a label graph moves: how far apart they are, beside which labels occur together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashing.bench.bench_data import BenchData
from hashing.bench.experiment import Experiment
from hashing.bench.method_run import Run, train
from hashing.methods.label_cooccurrence.objective import LabelCooccurrence


@dataclass(frozen=True, slots=True)
class TargetGeometry:
    """Where the binary targets of classes are, and how they came there.

    Attributes
    ----------
    conditional : (n_labels, n_labels) float64
        P(j | i) in training images; the diagonal is NaN.
    distances : (n_labels, n_labels) int64
        Hamming distances of the targets at the end, bits.
    progress : (n_moments,) float64
        Shares of the training, from 0, at which the targets were recorded.
    least : (n_moments,) int64
        Least distance of two targets at each moment, bits: it falls to 0 where targets collapse. The code length where
        there is a single label.
    moved : (n_moments, n_labels) int64
        Bits in which each target differs from what it was before the training.
    """

    conditional: NDArray[np.float64]
    distances: NDArray[np.int64]
    progress: NDArray[np.float64]
    least: NDArray[np.int64]
    moved: NDArray[np.int64]


def geometry(objective: LabelCooccurrence) -> TargetGeometry:
    """The geometry of the targets of an objective, up to the weights that training chose."""
    progress, bits = objective.history.moments()
    n_labels, code_length = bits.shape[1:]
    distances = (bits[:, :, None] != bits[:, None]).sum(axis=3)  # (n_moments, n_labels, n_labels)
    others = distances + code_length * np.eye(n_labels, dtype=np.int64)
    conditional = objective.cooccurrence.conditional.copy()
    np.fill_diagonal(conditional, np.nan)
    return TargetGeometry(conditional, distances[-1], progress, others.min(axis=(1, 2)), (bits != bits[0]).sum(axis=2))


def draw_geometry(geometry: TargetGeometry, names: Sequence[str], path: Path) -> None:
    """Write a picture: heat maps of co-occurrence and of target distances, and lines of how targets moved.

    Parameters
    ----------
    names
        Names of the labels.
    path
        File to write; its ending says the format, as ".png".
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    side = 2.5 + 0.28 * len(names)
    figure, panels = pyplot.subplots(1, 3, figsize=(3 * side + 2, side), layout="constrained")
    _heat_map(figure, panels[0], geometry.conditional, names, "P(column | row), training images")
    _heat_map(figure, panels[1], geometry.distances, names, "Hamming distance of targets, bits")
    colours = mpl.colormaps["tab20"]
    for number, name in enumerate(names):
        panels[2].plot(
            geometry.progress, geometry.moved[:, number], linewidth=1, color=colours(number % 20), label=name
        )
    panels[2].plot(geometry.progress, geometry.least, "k--", linewidth=2, label="least distance of two targets")
    panels[2].set(title="Bits by which targets moved", xlabel="share of the training", ylabel="bits")
    panels[2].legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def draw_run(run: Run, experiment: Experiment, root: Path, output: Path, path: Path) -> TargetGeometry:
    """Train a method, and draw the geometry of its targets.

    Parameters
    ----------
    root, output
        As for `hashing.bench.comparison.compare`.
    path
        File to write.

    Raises
    ------
    ValueError
        The method has no targets from label co-occurrence.
    """
    data = BenchData.load(experiment, root, output)
    learner, _ = train(run, experiment, data, output / experiment.name)
    if not isinstance(learner.objective, LabelCooccurrence):
        raise ValueError(f"{run.method} has no targets of classes to draw: choose a method of label co-occurrence")
    measured = geometry(learner.objective)
    draw_geometry(measured, data.truth.names, path)
    return measured


def _heat_map(figure: Any, panel: Any, values: NDArray[np.number], names: Sequence[str], title: str) -> None:
    ticks = range(len(names))
    image = panel.imshow(values, cmap="viridis")
    panel.set_title(title)
    panel.set_xticks(ticks, names, rotation=90, fontsize=7)
    panel.set_yticks(ticks, names, fontsize=7)
    figure.colorbar(image, ax=panel, shrink=0.8)
