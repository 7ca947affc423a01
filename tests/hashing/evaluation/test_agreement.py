"""Our measures beside other people's, and beside chance on the real label lists."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hashing.codes import pack
from hashing.data.bundled import label_rows
from hashing.data.examples import FINDINGS, NO_FINDING
from hashing.evaluation import metrics
from hashing.evaluation.protocol import GroundTruth, Task, by_codes, task
from hashing.evaluation.ranking import by_score, grade


@pytest.mark.parametrize("seed", range(5))
def test_torchmetrics_agrees_where_nothing_is_tied(seed: int) -> None:
    pytest.importorskip("torchmetrics")
    from torchmetrics.functional.retrieval import (
        retrieval_average_precision,
        retrieval_normalized_dcg,
        retrieval_precision,
    )

    rng = np.random.default_rng(seed)
    labels, query = rng.random((80, 4)) < 0.3, np.array([[True, True, True, False]])
    distances = rng.permutation(80).astype(float)
    levels = by_score(distances, 0, grade(query, labels, np.array(["asks"]), np.arange(80).astype(str)))
    scores = torch.from_numpy(100 - distances)  # theirs takes scores of 0 and less for misses
    shared = (labels & query).sum(axis=1)
    relevant, gains = torch.from_numpy(shared > 0), torch.from_numpy(2**shared - 1)

    assert metrics.average_precision(levels)[0] == pytest.approx(
        float(retrieval_average_precision(scores, relevant)), abs=1e-6
    )
    assert metrics.precision(levels, 10)[0] == pytest.approx(float(retrieval_precision(scores, relevant, top_k=10)))
    ours = metrics.discounted_gain(levels, 20)[0]
    assert ours == pytest.approx(float(retrieval_normalized_dcg(scores, gains, top_k=20)), abs=1e-6)
    found = metrics.legacy_average_precision_found(levels, 20)[0]  # their precision at k divides by what was found
    assert found == pytest.approx(float(retrieval_average_precision(scores, relevant, top_k=20)), abs=1e-6)


def chexnet_truth(root: Path) -> GroundTruth:
    """The split of the CheXNet re-implementations, of which the design document gives chance values."""
    rows = label_rows(root)
    findings = np.array([[row[name] == "1" for name in FINDINGS] for row in rows])
    return GroundTruth(
        labels=np.column_stack([findings, ~findings.any(axis=1)]),
        names=(*FINDINGS, NO_FINDING),
        groups=np.array([row["patient_id"] for row in rows]),
        splits=np.array([row["split_chexnet"] for row in rows]),
        kinds=np.repeat("adult chest radiograph", len(rows)),
    )


def relevant_share(asked: Task, truth: GroundTruth) -> float:
    """Mean share of relevant images, counted over distinct label sets: what a random order has in each place."""
    columns = np.ones(15, bool) if asked.relevance == "P-B" else truth.positive
    sets, counts = np.unique(truth.labels[asked.images][:, columns], axis=0, return_counts=True)
    wanted, asking = np.unique(asked.query_labels, axis=0, return_counts=True)
    relevant = (wanted.astype(np.int64) @ sets.T.astype(np.int64)) > 0
    return float(asking @ (relevant @ counts) / asking.sum() / counts.sum())


@pytest.mark.shared
@pytest.mark.parametrize(
    ("relevance", "average", "gain"), [("P-A", 0.305, 0.21), ("P-B", 0.359, 0.34), ("P-C", 0.141, 0.10)]
)
def test_random_codes_give_the_chance_values_of_the_real_label_lists(
    relevance: str, average: float, gain: float, shared_data: Path
) -> None:
    truth = chexnet_truth(shared_data)
    whole = task(truth, relevance, "DB-seen", truth.part("test"), np.flatnonzero(truth.splits != "test"))
    codes = pack(np.random.default_rng(0).random((len(truth.labels), 48)) < 0.5)
    few = task(truth, relevance, "DB-seen", whole.queries[::8], whole.images)

    values: list[NDArray[np.float64]] = []
    gains: list[NDArray[np.float64]] = []
    for levels in by_codes(codes)(few):
        values.append(metrics.average_precision(levels))
        gains.append(metrics.discounted_gain(levels, 100, "linear"))

    assert np.nanmean(np.concatenate(values)) == pytest.approx(relevant_share(few, truth), abs=0.002)
    # the design document's values; the exact shares of all queries are 0.3016, 0.3520 and 0.1387
    assert relevant_share(whole, truth) == pytest.approx(average, abs=0.008)
    assert np.nanmean(np.concatenate(gains)) == pytest.approx(gain, abs=0.015)
