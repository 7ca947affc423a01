"""How well each stage orders the nearest: measured on validation images, beside the order by distance alone."""

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
from hashing.ranking_scores import Outputs, Ranking, asymmetric_scores, class_agreement, shortlist_length

MEASURES = {"MAP@10": 10, "P@10": 10, "NDCG@100": 100}
"""Measures, and how many matches a caller asks for whom they speak of."""


@dataclass(frozen=True, slots=True)
class StageResult:
    """Every measure of one stage in one task.

    Attributes
    ----------
    database
        "train": the training images; "validation": the other patients of the validation part, whose labels no part of
        the model has seen.
    estimates
        Of each of `MEASURES`, with 95 % interval, bootstrapped over patients or groups.
    """

    dataset: str
    database: str
    stage: Ranking
    queries: int
    images: int
    estimates: tuple[Estimate, ...]


def evaluate_stages(encoder: Encoder, names: tuple[str, ...], root: Path, cache: Path) -> Iterator[StageResult]:
    """What each stage that the model allows makes of the questions of validation images; the test part stays apart."""
    for name in names:
        dataset = datasets.load(name, root, cache)
        encoding = encode_all(encoder, dataset, name)
        yield from judge_stages(name, truth_of(dataset), encoding.codes, encoding.outputs)


def judge_stages(name: str, truth: GroundTruth, codes: Codes, outputs: Outputs) -> Iterator[StageResult]:
    """Results of a set, given what is known of each of its rows."""
    tasks = (
        task(truth, "P-A", "train", truth.part("validation"), truth.part("train")),
        validation_task(truth),
    )
    for one in tasks:
        resampling = Resampling(truth.groups[one.queries], np.random.default_rng(0))
        for stage in outputs.rankings:
            judged = {k: judge(one, by_stage(stage, codes, outputs, k), codes=False) for k in set(MEASURES.values())}
            estimates = tuple(resampling.estimate(judged[k][measure]) for measure, k in MEASURES.items())
            known = ~np.isnan(judged[10]["P@10"])
            yield StageResult(name, one.database, stage, int(known.sum()), len(one.images), estimates)


def by_stage(stage: Ranking, codes: Codes, outputs: Outputs, k: int) -> Ranker:
    """Ranking by distance, the shortlist for k matches in the order of a stage; codes and outputs are of all rows."""

    def rank(task: Task) -> Iterator[Levels]:
        for number, query in enumerate(task.queries):
            distances = hamming_distance(codes[query], codes[task.images]).astype(np.int64)
            _, other = task.grades.of_query(number)
            if stage != Ranking.HAMMING:
                candidates = np.flatnonzero(other)
                near = candidates[np.argsort(distances[candidates], kind="stable")[: shortlist_length(k)]]
                keys = _keys(stage, codes, outputs, int(query), task.images[near])
                distances += len(near)  # what is not on the shortlist comes behind it
                distances[near] = _places([*keys, distances[near]])
            yield by_score(distances, number, task.grades)

    return rank


def table(results: list[StageResult]) -> str:
    """Results as a Markdown table."""
    lines = [
        f"| set | database | ranking | queries | images | {' | '.join(MEASURES)} |",
        "| --- | --- | --- | --- | --- | " + " | ".join("---" for _ in MEASURES) + " |",
    ]
    for one in results:
        figures = " | ".join(f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})" for e in one.estimates)
        lines.append(f"| {one.dataset} | {one.database} | {one.stage} | {one.queries:,} | {one.images:,} | {figures} |")
    return "\n".join(lines)


def _keys(stage: Ranking, codes: Codes, outputs: Outputs, query: int, rows: Rows) -> list[NDArray[np.float64]]:
    """What rows are ordered by before distance, descending made ascending, as `storage.search.rerank` does."""
    keys = [-asymmetric_scores(outputs.relaxed[[query]], codes[rows])]
    if stage == Ranking.CLASSES:
        assert outputs.class_scores is not None
        keys.insert(0, -class_agreement(outputs.class_scores[[query]], outputs.class_scores[rows]))
    return keys


def _places(keys: list[NDArray[np.number]]) -> NDArray[np.int64]:
    """Place of each row by the first key, then the second ...: from 0 on, equal rows at one place."""
    order = np.lexsort(keys[::-1])
    steps = np.any([np.diff(key[order]) != 0 for key in keys], axis=0)
    places = np.empty(len(order), np.int64)
    places[order] = np.concatenate([[0], np.cumsum(steps)])
    return places
