"""Many methods on one set: trained, judged once on the test part, and stored, so that nothing is computed twice."""

import csv
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from hashing.bench.bench_data import BenchData
from hashing.bench.experiment import Experiment
from hashing.bench.method_run import Run, cosine_distance, ranker, validation_score
from hashing.codes import pack
from hashing.data.examples import NO_FINDING
from hashing.evaluation.judgement import Judgement, curve, judge
from hashing.evaluation.protocol import GroundTruth, Ranker, Task, by_chance, by_distance, reported_tasks
from hashing.evaluation.uncertainty import Estimate, Resampling
from hashing.methods.catalogue import LOWER_REFERENCES, MODALITY, SOURCE, SOURCE_SIZE, TRAINED, WITHOUT_CODES
from hashing.progress import progress

CHANCE = "chance"
DETAIL_TASK = "P-A DB-unseen"
VALIDATION = "P-A validation"
GAP_QUERIES = 200
COLLAPSED_SHARE = 0.02
"""Distinct codes, as a share of the images, below which codes have collapsed."""
MACRO = ("MAP", "NDCG@100")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of docs/results.csv.

    Attributes
    ----------
    relevance
        Protocol and database, as "P-A DB-unseen".
    value, low, high
        Mean over queries and seeds, and its 95 % interval over patients.
    seeds
        How many runs the mean is over.
    """

    dataset: str
    method: str
    code_length: int
    metric: str
    relevance: str
    value: float
    low: float
    high: float
    seeds: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything measured in an experiment.

    Attributes
    ----------
    judgements
        By method, code length and task: each measure's values by query, averaged over seeds.
    health
        By method and code length: facts about the codes, averaged over seeds.
    curves
        By method and code length: "precision" and "recall" within each radius, of `DETAIL_TASK`, first seed.
    validation
        By method and code length: validation score, averaged over seeds. The best method is chosen by it.
    """

    experiment: Experiment
    truth: GroundTruth
    tasks: dict[str, Task]
    judgements: dict[tuple[str, int, str], Judgement]
    health: dict[tuple[str, int], dict[str, float]]
    curves: dict[tuple[str, int], dict[str, NDArray[np.float64]]]
    seeds: dict[tuple[str, int], int]
    validation: dict[tuple[str, int], float]

    def best_trained(self, code_length: int) -> str:
        """The trained method with the highest validation score at a code length; "" where none was trained."""
        scores = {
            method: score
            for (method, length), score in self.validation.items()
            if length == code_length and method in TRAINED
        }
        return max(scores, key=scores.__getitem__, default="")


def compare(experiment: Experiment, root: Path, output: Path) -> Comparison:
    """All runs of an experiment; those whose results are in `output` already are read.

    Parameters
    ----------
    root
        Folder of the data sets.
    output
        Folder for trunks, features and results.
    """
    folder = output / experiment.name
    folder.mkdir(parents=True, exist_ok=True)
    data = BenchData.load(experiment, root, output)
    tasks = {task.name: task for task in reported_tasks(data.truth, by_kind=NO_FINDING not in data.truth.names)}
    planned = list(runs(experiment))
    results: dict[tuple[str, int], list[dict[str, NDArray[np.float64]]]] = {}
    for run in progress(planned, f"comparing on {experiment.title}", len(planned)):
        path = folder / f"{run.file_stem(experiment, data.key)}.safetensors"
        if not path.exists():
            _write(path, _measure(run, experiment, data, tasks, folder))
        results.setdefault((run.method, run.code_length), []).append(load_file(path))
    results[CHANCE, 0] = [_judged(tasks, by_chance(len(data.truth.labels)), codes=False)]
    return _gathered(experiment, data.truth, tasks, results)


def runs(experiment: Experiment) -> Iterator[Run]:
    """Every method at every code length, seed by seed.

    Some references have no code length, some no seed, and some neither.
    """
    seedless = (MODALITY, SOURCE_SIZE, SOURCE, "float cosine")
    for seed in experiment.seeds:
        for method in experiment.methods:
            if seed == experiment.seeds[0] or method not in seedless:
                single = method in WITHOUT_CODES or method == MODALITY
                for code_length in experiment.code_lengths[:1] if single else experiment.code_lengths:
                    yield Run(method, 0 if method in WITHOUT_CODES else code_length, seed)


def rows(comparison: Comparison) -> Iterator[Row]:
    """One row for each method, code length, measure and task, with intervals; macro averages for `MACRO`."""
    title = comparison.experiment.title
    for task in comparison.tasks.values():
        resampling = Resampling(comparison.truth.resampled(task.queries), np.random.default_rng(0))
        for (method, code_length, name), judgement in comparison.judgements.items():
            if name != task.name:
                continue
            seeds = comparison.seeds[method, code_length]
            for metric, values in judgement.items():
                estimates = {metric: resampling.estimate(values)}
                if metric in MACRO:
                    estimates[f"{metric} macro"] = resampling.macro_estimate(values, task.query_labels)
                for label, estimate in estimates.items():
                    yield Row(title, method, code_length, label, name, *_rounded(estimate), seeds)
    for (method, code_length), score in comparison.validation.items():
        yield Row(title, method, code_length, "NDCG@100", VALIDATION, *_rounded(Estimate(score, np.nan, np.nan)),
                  comparison.seeds[method, code_length])  # fmt: skip
    for (method, code_length), facts in comparison.health.items():
        for fact, value in facts.items():
            yield Row(title, method, code_length, fact, "codes", *_rounded(Estimate(value, np.nan, np.nan)),
                      comparison.seeds[method, code_length])  # fmt: skip


def csv_cells(results: list[Row]) -> list[list[str]]:
    """Rows as texts; unknown intervals are empty."""
    return [["" if value != value else str(value) for value in astuple(row)] for row in results]


def write_csv(path: Path, cells: list[list[str]]) -> None:
    """Write rows below a header line."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Row)])
        writer.writerows(cells)


def health(relaxed: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """How well bits are used: imbalance |share of ones - 1/2|, absolute correlation of bits, distinct codes."""
    bits = relaxed >= 0
    imbalance = np.abs(bits.mean(axis=0) - 0.5).mean()
    varying = bits[:, bits.any(axis=0) & ~bits.all(axis=0)]
    centred = (varying - varying.mean(axis=0)) / varying.std(axis=0)
    correlation = np.abs(centred.T @ centred) / len(bits)  # (bits, bits)
    beside = correlation[np.triu_indices(len(correlation), 1)]
    return {
        "bit imbalance": np.array(imbalance),
        "bit correlation": np.array(beside.mean() if len(beside) else 0.0),
        "distinct codes": np.array(float(len(np.unique(pack(bits), axis=0)))),
    }


def collapsed(distinct_codes: float, images: int) -> bool:
    """Whether codes have collapsed: a few of them stand for all images."""
    return distinct_codes < COLLAPSED_SHARE * images


def quantization_gap(task: Task, relaxed: NDArray[np.float32], binary: Judgement) -> float:
    """Mean average precision by the cosine of relaxed codes minus that by codes, over the first queries."""
    few = slice(0, GAP_QUERIES)
    part = Task(task.relevance, task.database, task.queries[few], task.images, task.query_labels, task.grades)
    continuous = judge(part, by_distance(cosine_distance(relaxed)), codes=False)["MAP"]
    return float(np.nanmean(continuous) - np.nanmean(binary["MAP"][few]))


def _measure(
    run: Run, experiment: Experiment, data: BenchData, tasks: dict[str, Task], folder: Path
) -> dict[str, NDArray[np.float64]]:
    rank, relaxed = ranker(run, experiment, data, folder)
    values = _judged(tasks, rank, codes=relaxed.shape[1] > 0)
    if relaxed.shape[1]:
        test = data.truth.part("test")
        values |= {f"health/{fact}": value for fact, value in health(relaxed[test]).items()}
        task = tasks[DETAIL_TASK]
        if run.seed == experiment.seeds[0]:
            values |= {f"curve/{part}": value for part, value in curve(task, rank).items()}
        values["validation/score"] = np.array(validation_score(run, data.truth, relaxed))
        if run.seed == experiment.seeds[0] and run.method not in LOWER_REFERENCES:
            binary = {"MAP": values[f"{task.name}/MAP"]}
            values["health/quantisation gap"] = np.array(quantization_gap(task, relaxed, binary))
    return values


def _judged(tasks: dict[str, Task], rank: Ranker, *, codes: bool) -> dict[str, NDArray[np.float64]]:
    return {
        f"{name}/{metric}": values
        for name, task in tasks.items()
        for metric, values in judge(task, rank, codes=codes).items()
    }


def _gathered(
    experiment: Experiment,
    truth: GroundTruth,
    tasks: dict[str, Task],
    results: dict[tuple[str, int], list[dict[str, NDArray[np.float64]]]],
) -> Comparison:
    judgements: dict[tuple[str, int, str], Judgement] = {}
    facts: dict[tuple[str, int], dict[str, float]] = {}
    curves: dict[tuple[str, int], dict[str, NDArray[np.float64]]] = {}
    validation: dict[tuple[str, int], float] = {}
    for (method, code_length), measured in results.items():
        for key in measured[0]:
            part, name = key.split("/", 1)
            mean = np.mean([values[key] for values in measured if key in values], axis=0)
            if part == "validation":
                validation[method, code_length] = float(np.mean(mean))
            elif part == "health":
                facts.setdefault((method, code_length), {})[name] = float(np.mean(mean))
            elif part == "curve":
                curves.setdefault((method, code_length), {})[name] = mean
            else:
                judgements.setdefault((method, code_length, part), {})[name] = mean
    seeds = {key: len(measured) for key, measured in results.items()}
    return Comparison(experiment, truth, tasks, judgements, facts, curves, seeds, validation)


def _rounded(estimate: Estimate) -> tuple[float, float, float]:
    return round(estimate.value, 5), round(estimate.low, 5), round(estimate.high, 5)


def _write(path: Path, values: dict[str, NDArray[np.float64]]) -> None:
    """Complete or not at all."""
    partial = path.with_suffix(".partial")
    save_file({name: np.ascontiguousarray(value, dtype=np.float32) for name, value in values.items()}, partial)
    partial.rename(path)
