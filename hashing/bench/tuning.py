"""Tuning with equal effort: six settings of each trained method, judged on validation images of one experiment."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hashing.bench.bench_data import BenchData
from hashing.bench.experiment import Experiment
from hashing.bench.method_run import Run, outputs_of, validation_score
from hashing.methods.catalogue import TRAINED
from hashing.methods.label_cooccurrence.variants import VARIANTS
from hashing.progress import progress

SAMPLINGS = ("balanced", "uniform")
PARAMETERS: dict[str, tuple[str, tuple[float, ...]]] = {
    "DSH": ("alpha", (0.001, 0.01, 0.1)),
    "DPSH": ("scale", (3.0, 10.0, 30.0)),
    "DHN": ("scale", (3.0, 10.0, 30.0)),
    "HashNet": ("scale", (3.0, 10.0, 30.0)),
    "DTSH": ("margin", (0.1, 0.25, 0.5)),
    "DCH": ("gamma", (10.0, 20.0, 40.0)),
    "IDHN": ("scale", (2.5, 5.0, 10.0)),
    "CSQ": ("eta", (1e-4, 1e-2, 0.1)),
    "OrthoHash": ("scale", (4.0, 8.0, 16.0)),
    "AHDL-like": ("eta", (0.01, 0.1, 1.0)),
    "semantic attention": ("scale", (3.0, 10.0, 30.0)),
    "unguided attention": ("scale", (3.0, 10.0, 30.0)),
    "local attention only": ("scale", (3.0, 10.0, 30.0)),
    "without attention": ("scale", (3.0, 10.0, 30.0)),
    "semantic loss only": ("scale", (3.0, 10.0, 30.0)),
    **dict.fromkeys(VARIANTS, ("scale", (4.0, 8.0, 16.0))),
    "attention fusion": ("margin", (0.1, 0.25, 0.5)),
    "fusion without attention": ("margin", (0.1, 0.25, 0.5)),
    "fusion by channels only": ("margin", (0.1, 0.25, 0.5)),
    "fusion by positions only": ("margin", (0.1, 0.25, 0.5)),
    "attention at last depth": ("margin", (0.1, 0.25, 0.5)),
    "fusion with plain tanh": ("margin", (0.1, 0.25, 0.5)),
    "fusion with scheduled tanh": ("margin", (0.1, 0.25, 0.5)),
    "fusion without classes": ("margin", (0.1, 0.25, 0.5)),
    "fusion of random triplets": ("margin", (0.1, 0.25, 0.5)),
    "union": ("pairs", (0.3, 1.0, 3.0)),
    "union without depths": ("pairs", (0.3, 1.0, 3.0)),
    "union without regions": ("pairs", (0.3, 1.0, 3.0)),
    "union without graph targets": ("pairs", (0.3, 1.0, 3.0)),
    "union of one length": ("pairs", (0.3, 1.0, 3.0)),
    "union loss only": ("pairs", (0.3, 1.0, 3.0)),
}
"""By method: the parameter of its objective that is tuned, and its values."""
CODE_LENGTH, SEED = 32, 100
"""Bits and seed of tuning runs; results are reported with other seeds."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting of a method, and its validation score.

    Attributes
    ----------
    options
        The options of the method in an experiment file.
    """

    method: str
    options: dict[str, Any]
    score: float


def tune(experiment: Experiment, root: Path, output: Path) -> Iterator[Trial]:
    """Every setting of every trained method of an experiment; test images are not touched.

    Parameters
    ----------
    root, output
        As for `hashing.bench.comparison.compare`.
    """
    data = BenchData.load(experiment, root, output)
    settings = [
        (method, {**experiment.options.get(method, {}), "sampling": sampling, PARAMETERS[method][0]: value})
        for method in experiment.methods
        if method in TRAINED and method in PARAMETERS
        for sampling in SAMPLINGS
        for value in PARAMETERS[method][1]
    ]
    for method, options in progress(settings, f"tuning on {experiment.title}", len(settings)):
        run = Run(method, CODE_LENGTH, SEED)
        changed = replace(experiment, options=experiment.options | {method: options})
        outputs = outputs_of(run, changed, data, output / experiment.name)
        yield Trial(method, options, validation_score(run, data.truth, outputs))


def best_options(trials: list[Trial]) -> str:
    """Options of the best setting of each method, as they stand in an experiment file."""
    lines = []
    for method in dict.fromkeys(trial.method for trial in trials):
        of_method = [trial for trial in trials if trial.method == method]
        best = max(of_method, key=lambda trial: trial.score)
        lines.append(f"[options.{method}]  # {best.score:.4f}, worst of {len(of_method)} settings "
                     f"{min(trial.score for trial in of_method):.4f}")  # fmt: skip
        lines += [f"{name} = {_toml(value)}" for name, value in best.options.items()]
    return "\n".join(lines)


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
