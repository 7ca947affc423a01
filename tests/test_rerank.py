"""The second stage against a plain twin."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashing.codes import CodeLengthError, hamming_distance, pack, unpack
from storage.database import Database
from storage.rerank import STEPS, asymmetric_scores, in_whole_numbers, rerank, shortlist_length
from storage.search import search
from tests.invented import codes, item

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
    assert np.abs(kept).max(axis=1).tolist() == [STEPS] * 3
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


def test_equal_distances_are_ordered_by_what_the_query_is_sure_of_and_equal_scores_by_uid(tmp_path: Path) -> None:
    relaxed = np.array([[3.0, -2.0, 1.0] + [4.0] * 13])
    flipped = [0, 1, 2, 2]  # the bit in which each differs from the query
    bits = np.repeat(relaxed > 0, len(flipped), axis=0)
    bits[range(len(flipped)), flipped] ^= True
    with Database.create_or_open(tmp_path, 16, "model", 2**24) as database:
        database.append([item(number, 16, pack(bits[number : number + 1])) for number in range(len(flipped))])
        with database.snapshot() as snapshot:
            hits = search(snapshot, pack(relaxed > 0), shortlist_length(4)).hits

            ranked = rerank(snapshot, hits, relaxed, 4)

    assert [hit.distance for hit in hits] == [1] * 4
    assert [one.hit.uid for one in ranked] == ["2.25.22", "2.25.23", "2.25.21", "2.25.20"]
    assert ranked[0].score == ranked[1].score > ranked[2].score > ranked[3].score


def test_fewer_numbers_than_bits_are_refused(tmp_path: Path) -> None:
    with Database.create_or_open(tmp_path, 64, "model", 2**24) as database, database.snapshot() as snapshot:
        with pytest.raises(CodeLengthError):
            rerank(snapshot, [], np.zeros((1, 32)), 5)
        assert rerank(snapshot, [], np.zeros((1, 128)), 5) == []


def test_a_shortlist_is_longer_than_the_answer() -> None:
    assert [shortlist_length(k) for k in (1, 25, 500)] == [100, 100, 2000]
