"""What each ranking stage makes of a task, against a plain twin."""

import numpy as np
import pytest

from hashing import ranking_scores as stages
from hashing.codes import hamming_distance, pack
from hashing.evaluation.judgement import judge
from hashing.evaluation.protocol import GroundTruth, by_codes, task
from hashing.evaluation.ranking_stages import MEASURES, by_stage, judge_stages, table
from hashing.ranking_scores import (
    Outputs,
    Ranking,
    asymmetric_scores,
    class_agreement,
    in_eight_bits,
    in_whole_numbers,
    output_agreement,
)

N = 240
RNG = np.random.default_rng(0)
LABELS = RNG.random((N, 3)) < 0.4
RELAXED = in_whole_numbers(RNG.normal(size=(N, 16)))
CODES = pack(RELAXED >= 0)
OUTPUTS = Outputs(RELAXED, in_eight_bits(RNG.dirichlet(np.ones(3), N)))
TRUTH = GroundTruth(
    labels=LABELS,
    names=("Mass", "Nodule", "Edema"),
    groups=np.char.add("patient ", (np.arange(N) // 2).astype(str)),
    splits=np.repeat(["train", "validation"], [N - 40, 40]),
    kinds=np.full(N, "adult chest radiograph"),
)


def by_class(query: int, image: int) -> tuple[float, ...]:
    assert OUTPUTS.class_scores is not None
    agreement = class_agreement(OUTPUTS.class_scores[[query]], OUTPUTS.class_scores[[image]])[0]
    return (-agreement, *surely(query, image))


def by_outputs(query: int, image: int) -> tuple[float, ...]:
    agreement = output_agreement(OUTPUTS.relaxed[[query]], OUTPUTS.relaxed[[image]])[0]
    return (-agreement, *surely(query, image))


def surely(query: int, image: int) -> tuple[float, ...]:
    return (-asymmetric_scores(RELAXED[[query]], CODES[[image]])[0], distance(query, image))


def distance(query: int, image: int) -> int:
    return int(hamming_distance(CODES[query], CODES[[image]])[0])


@pytest.mark.parametrize(
    ("stage", "key"), [(Ranking.ASYMMETRIC, surely), (Ranking.OUTPUTS, by_outputs), (Ranking.CLASSES, by_class)]
)
def test_only_the_shortlist_is_ordered_anew_and_the_rest_stays_behind_it(
    stage: Ranking, key: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "MIN_SHORTLIST", 20)
    one = task(TRUTH, "P-A", "validation", TRUTH.part("validation"), TRUTH.part("validation", "train"))

    precision = judge(one, by_stage(stage, CODES, OUTPUTS, 3), codes=False)["P@10"]

    for query, value in zip(one.queries.tolist(), precision, strict=True):
        others = [image for image in one.images.tolist() if TRUTH.groups[image] != TRUTH.groups[query]]
        shortlist = sorted(others, key=lambda image: distance(query, image))[:20]
        best = sorted(shortlist, key=lambda image: key(query, image))[:10]  # type: ignore[operator]
        relevant = [(LABELS[query] & LABELS[image]).any() for image in best]
        assert value == pytest.approx(np.mean(relevant)), "no two images have equal scores here"


def test_by_distance_alone_a_ranking_is_that_of_the_codes() -> None:
    one = task(TRUTH, "P-A", "train", TRUTH.part("validation"), TRUTH.part("train"))

    plain, staged = by_codes(CODES), by_stage(Ranking.HAMMING, CODES, OUTPUTS, 10)

    for name in MEASURES:
        np.testing.assert_allclose(judge(one, staged, codes=False)[name], judge(one, plain)[name])


def test_each_stage_that_the_outputs_allow_has_a_row_for_each_database() -> None:
    results = list(judge_stages("set", TRUTH, CODES, OUTPUTS))
    without_classes = list(judge_stages("set", TRUTH, CODES, Outputs(RELAXED)))

    assert [(one.database, one.stage) for one in results] == [
        (database, stage) for database in ("train", "validation") for stage in Ranking
    ]
    assert [one.stage for one in without_classes] == ["HAMMING", "ASYMMETRIC", "OUTPUTS"] * 2
    assert all(estimate.low <= estimate.value <= estimate.high for one in results for estimate in one.estimates)
    assert "| set | validation | CLASSES |" in table(results)
