"""Scores of the second stages against plain twins."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashing.codes import hamming_distance, pack, unpack
from hashing.ranking_scores import (
    MAX_OUTPUT,
    Outputs,
    Ranking,
    asymmetric_scores,
    class_agreement,
    in_eight_bits,
    in_whole_numbers,
    output_agreement,
    shortlist_length,
)
from tests.support.storage.invented import codes

seeds = st.integers(0, 2**32 - 1)


@given(st.sampled_from([16, 48, 64, 128, 256]), st.integers(1, 3), seeds)
@settings(deadline=None)
def test_a_score_counts_each_bit_by_how_sure_the_query_is_of_it(code_length: int, n_queries: int, seed: int) -> None:
    relaxed, stored = np.random.default_rng(seed).normal(size=(n_queries, code_length)), codes(9, code_length, seed)

    scores = asymmetric_scores(relaxed, stored)

    for score, bits in zip(scores, unpack(stored, code_length), strict=True):
        agreeing = []
        for query in relaxed:
            whole = [round(127 * one / max(abs(query))) for one in query]
            agreed = sum(abs(q) for q, bit in zip(whole, bits, strict=True) if (q > 0) == bit)
            undecided = sum(abs(q) for q in whole)
            agreeing.append(agreed / undecided)
        assert score == pytest.approx(max(agreeing))


@given(st.sampled_from([16, 128]), seeds)
@settings(deadline=None)
def test_outputs_kept_as_whole_numbers_score_as_they_did(code_length: int, seed: int) -> None:
    relaxed, stored = np.random.default_rng(seed).normal(size=(3, code_length)), codes(9, code_length, seed)

    kept = in_whole_numbers(relaxed)

    assert kept.dtype == np.int8
    assert np.abs(kept).max(axis=1).tolist() == [MAX_OUTPUT] * 3
    assert in_whole_numbers(kept).tolist() == kept.tolist()
    assert asymmetric_scores(kept, stored).tolist() == asymmetric_scores(relaxed, stored).tolist()


@given(seeds)
@settings(deadline=None)
def test_a_query_that_is_equally_sure_of_every_bit_scores_by_hamming_distance(seed: int) -> None:
    query, stored = codes(1, 64, seed), codes(20, 64, seed + 1)
    relaxed = np.where(unpack(query, 64), 0.7, -0.7)

    scores = asymmetric_scores(relaxed, stored)

    np.testing.assert_allclose(scores, 1 - hamming_distance(query[0], stored) / 64)


def test_scores_lie_between_disagreeing_and_agreeing_with_every_bit() -> None:
    relaxed = np.random.default_rng(0).normal(size=(1, 32))
    same = pack(relaxed > 0)
    opposite = pack(relaxed < 0)

    assert asymmetric_scores(relaxed, np.concatenate([same, opposite])).tolist() == [1, 0]
    assert asymmetric_scores(np.zeros((1, 32)), same).tolist() == [0.5]


def distributions(n: int, n_classes: int, seed: int) -> NDArray[np.float64]:
    """From nearly even ones to such as put all on one class."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(n_classes, rng.choice([0.05, 1.0, 20.0])), n)


@given(st.integers(1, 40), st.integers(1, 3), seeds)
@settings(deadline=None)
def test_agreement_of_classes_is_the_overlap_of_their_distributions(n_classes: int, n_queries: int, seed: int) -> None:
    queries, stored = distributions(n_queries, n_classes, seed), distributions(9, n_classes, seed + 1)

    agreement = class_agreement(in_eight_bits(queries), in_eight_bits(stored))

    for score, q in zip(agreement, stored, strict=True):
        whole = [round(255 * sqrt(one)) for one in q]
        cosines, overlaps = [], []
        for p in queries:
            own = [round(255 * sqrt(one)) for one in p]
            dot = sum(a * b for a, b in zip(own, whole, strict=True))
            cosines.append(dot / sqrt(sum(a * a for a in own) * sum(b * b for b in whole)))
            overlaps.append(sum(sqrt(a * b) for a, b in zip(p, q, strict=True)))
        assert score == max(cosines), "whole numbers leave nothing to rounding"
        assert score == pytest.approx(max(overlaps), abs=0.03)


def test_images_of_one_distribution_agree_fully_and_of_classes_apart_or_unknown_not_at_all() -> None:
    stored = np.array([[0.5, 0.5, 0, 0], [0, 0, 0.9, 0.1]])
    unknown = np.zeros((1, 4), np.uint8)
    kept = np.concatenate([in_eight_bits(stored), unknown])

    assert class_agreement(kept[:1], kept).tolist() == [1, 0, 0]
    assert class_agreement(kept[2:], kept).tolist() == [0, 0, 0]


def test_outputs_agree_whatever_their_size_and_unknown_ones_with_none() -> None:
    stored = np.array([[2, -4, 0], [-1, 2, 0], [0, 0, 9], [0, 0, 0]], np.int8)
    queries = np.array([[1, -2, 0]], np.int8)

    assert output_agreement(queries, stored).tolist() == [1, 0, 0.5, 0]
    assert output_agreement(np.concatenate([queries, -queries]), stored).tolist() == [1, 1, 0.5, 0]


def test_what_is_kept_of_several_images_has_class_scores_if_each_has_them() -> None:
    relaxed, scores = np.arange(6, dtype=np.int8).reshape(2, 3), np.array([[255, 0], [180, 180]], np.uint8)
    known, unknown = Outputs(relaxed, scores), Outputs(relaxed)

    joined = Outputs.joined([known, known])[[3, 0]]

    assert joined.relaxed.tolist() == [[3, 4, 5], [0, 1, 2]]
    assert joined.class_scores is not None
    assert joined.class_scores.tolist() == [[180, 180], [255, 0]]
    assert joined.rankings == tuple(Ranking)
    assert Outputs.joined([known, unknown])[:1].rankings == ("HAMMING", "ASYMMETRIC", "OUTPUTS")


def test_a_shortlist_is_longer_than_the_answer() -> None:
    assert [shortlist_length(k) for k in (1, 25, 500)] == [100, 100, 2000]
