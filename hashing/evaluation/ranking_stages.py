"""How well each ranking stage orders the nearest images, measured on validation images."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes, hamming_distance
from hashing.data import datasets
from hashing.evaluation.evaluate import encode_all
from hashing.evaluation.judgement import judge, truth_of
from hashing.evaluation.protocol import GroundTruth, Ranker, Rows, Task, task, validation_task
from hashing.evaluation.ranking import Levels, by_score
from hashing.evaluation.uncertainty import Estimate, Resampling
from hashing.model.encoder import Encoder
from hashing.ranking_scores import (
    Outputs,
    Ranking,
    asymmetric_scores,
    class_agreement,
    output_agreement,
    shortlist_length,
)

MEASURES = {"MAP@10": 10, "P@10": 10, "NDCG@100": 100}
"""Measures, and the number of matches that their caller asks for."""


@dataclass(frozen=True, slots=True)
class StageResult:
    """All measures of one stage in one task.

    Attributes
    ----------
    database
        "train": the training images; "validation": the other patients of the validation part, whose labels no part of
        the model has seen.
    estimates
        Estimate of each of `MEASURES`, with a 95 % interval, bootstrapped over patients or groups.
    """

    dataset: str
    database: str
    stage: Ranking
    queries: int
    images: int
    estimates: tuple[Estimate, ...]


def evaluate_stages(encoder: Encoder, names: tuple[str, ...], root: Path, cache: Path) -> Iterator[StageResult]:
    """Results of each stage that the model allows, for validation images as queries; test images take no part."""
    for name in names:
        dataset = datasets.load(name, root, cache)
        encoding = encode_all(encoder, dataset, name)
        yield from judge_stages(name, truth_of(dataset), encoding.codes, encoding.outputs)


def judge_stages(name: str, truth: GroundTruth, codes: Codes, outputs: Outputs) -> Iterator[StageResult]:
    """Results of a set, from codes and outputs of all its images."""
    tasks = (
        task(truth, "P-A", "train", truth.part("validation"), truth.part("train")),
        validation_task(truth),
    )
    for measured in tasks:
        resampling = Resampling(truth.resampled(measured.queries), np.random.default_rng(0))
        for stage in outputs.rankings:
            judged = {
                k: judge(measured, by_stage(stage, codes, outputs, k), codes=False) for k in set(MEASURES.values())
            }
            estimates = tuple(resampling.estimate(judged[k][measure]) for measure, k in MEASURES.items())
            known = ~np.isnan(judged[10]["P@10"])
            yield StageResult(name, measured.database, stage, int(known.sum()), len(measured.images), estimates)


def by_stage(stage: Ranking, codes: Codes, outputs: Outputs, k: int) -> Ranker:
    """Ranking by distance whose shortlist for k matches is in the order of a stage.

    Codes and outputs are those of all rows of the set.
    """

    def rank(task: Task) -> Iterator[Levels]:
        for number, query in enumerate(task.queries):
            distances = hamming_distance(codes[query], codes[task.images]).astype(np.int64)
            _, other = task.grades.of_query(number)
            if stage != Ranking.HAMMING:
                candidates = np.flatnonzero(other)
                near = candidates[np.argsort(distances[candidates], kind="stable")[: shortlist_length(k)]]
                keys = _keys(stage, codes, outputs, int(query), task.images[near])
                distances += len(near)  # other images come behind the shortlist
                distances[near] = _ranks([*keys, distances[near]])
            yield by_score(distances, number, task.grades)

    return rank


def table(results: list[StageResult]) -> str:
    """Results as a Markdown table."""
    lines = [
        f"| set | database | ranking | queries | images | {' | '.join(MEASURES)} |",
        "| --- | --- | --- | --- | --- | " + " | ".join("---" for _ in MEASURES) + " |",
    ]
    for row in results:
        figures = " | ".join(f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})" for e in row.estimates)
        lines.append(f"| {row.dataset} | {row.database} | {row.stage} | {row.queries:,} | {row.images:,} | {figures} |")
    return "\n".join(lines)


def _keys(stage: Ranking, codes: Codes, outputs: Outputs, query: int, rows: Rows) -> list[NDArray[np.float64]]:
    """Sort keys of rows before distance, negated so that they ascend, as `storage.search.rerank` computes them."""
    keys = [-asymmetric_scores(outputs.relaxed[[query]], codes[rows])]
    if stage == Ranking.OUTPUTS:
        keys.insert(0, -output_agreement(outputs.relaxed[[query]], outputs.relaxed[rows]))
    if stage == Ranking.CLASSES:
        assert outputs.class_scores is not None
        keys.insert(0, -class_agreement(outputs.class_scores[[query]], outputs.class_scores[rows]))
    return keys


def _ranks(keys: list[NDArray[np.number]]) -> NDArray[np.int64]:
    """Rank of each row by the first key, then the second and so on, from 0; equal rows have the same rank."""
    order = np.lexsort(keys[::-1])
    steps = np.any([np.diff(key[order]) != 0 for key in keys], axis=0)
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.concatenate([[0], np.cumsum(steps)])
    return ranks
