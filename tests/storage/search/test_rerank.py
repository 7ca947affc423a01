"""The second stage over hits of a database."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hashing.codes import CodeLengthError, pack
from hashing.ranking_scores import Outputs, Ranking, in_eight_bits, in_whole_numbers, shortlist_length
from storage.database.database import Database
from storage.search.local import LocalIndex
from storage.search.rerank import rerank
from tests.support.storage.invented import item

RELAXED = in_whole_numbers(np.array([[3.0, -2.0, 1.0] + [4.0] * 13]))
FLIPPED = [0, 1, 2, 2]
"""The bit in which each stored image differs from the query."""


def one_bit_off() -> NDArray[np.bool_]:
    bits = np.repeat(RELAXED > 0, len(FLIPPED), axis=0)
    bits[range(len(FLIPPED)), FLIPPED] ^= True
    return bits


def test_equal_distances_are_ordered_by_what_the_query_is_sure_of_and_equal_scores_by_uid(tmp_path: Path) -> None:
    codes = pack(one_bit_off())
    with Database.create_or_open(tmp_path, 16, "model", 2**24) as database:
        database.append([item(number, 16, codes[[number]]) for number in range(len(FLIPPED))])
        with database.snapshot() as snapshot:
            with LocalIndex(database).view(snapshot) as view:
                hits = view.search(pack(RELAXED > 0), shortlist_length(4)).hits

            ranked = rerank(snapshot, hits, Outputs(RELAXED), Ranking.ASYMMETRIC, 4)

    assert [hit.distance for hit in hits] == [1] * 4
    assert [hit.uid for _, hit, _ in ranked] == ["2.25.22", "2.25.23", "2.25.21", "2.25.20"]
    scores = [score for _, _, score in ranked]
    assert scores[0] == scores[1] > scores[2] > scores[3]
    assert [rank for rank, _, _ in ranked] == [1, 1, 3, 4]


def test_by_classes_equal_agreement_is_ordered_by_what_the_query_is_sure_of_and_unknown_classes_come_last(
    tmp_path: Path,
) -> None:
    codes = pack(one_bit_off())
    scores = in_eight_bits(np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.5, 0.5]]))
    items = [replace(item(i, 16, codes[[i]]), class_scores=scores[[i]]) for i in range(len(FLIPPED))]
    others = [replace(item(4, 16, codes[:1]), class_scores=None)]
    queries = Outputs(RELAXED, in_eight_bits(np.array([[0.1, 0.9]])))
    with Database.create_or_open(tmp_path, 16, "model", 2**24) as database:
        database.append(items + others)
        with database.snapshot() as snapshot:
            with LocalIndex(database).view(snapshot) as view:
                hits = view.search(pack(RELAXED > 0), shortlist_length(4)).hits

            ranked = rerank(snapshot, hits, queries, Ranking.CLASSES, 5)

    assert [hit.uid for _, hit, _ in ranked] == ["2.25.22", "2.25.21", "2.25.23", "2.25.20", "2.25.24"]
    assert [ranked[number][2] for number in (0, 1, 4)] == [1, 1, 0]


def test_queries_that_do_not_suffice_are_refused(tmp_path: Path) -> None:
    short, long = (Outputs(np.zeros((1, bits), np.int8)) for bits in (32, 128))
    with Database.create_or_open(tmp_path, 64, "model", 2**24) as database, database.snapshot() as snapshot:
        with pytest.raises(CodeLengthError):
            rerank(snapshot, [], short, Ranking.ASYMMETRIC, 5)
        with pytest.raises(ValueError, match="no scores came to order by CLASSES"):
            rerank(snapshot, [], long, Ranking.CLASSES, 5)
        assert rerank(snapshot, [], long, Ranking.ASYMMETRIC, 5) == []
