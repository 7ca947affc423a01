"""A question about a region is compared with parts of images where these are kept, by distance alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hashing.ranking_scores import Outputs, Ranking
from node.query.question import Question
from node.query.retriever import LookAlikes, Retriever
from storage.objects.region_table import RegionCodes, RegionTable
from storage.record import Level
from storage.search.index import Aggregation, Filter
from storage.search.local import LocalIndex
from storage.search.regions import RegionIndex
from storage.spool.queue import Spool
from tests.support.dicom.questions import MODEL
from tests.support.storage.invented import codes, item

ITEMS = [item(number) for number in range(12)]
QUERY, NEAR = codes(1, seed=99), 7
REGION = Question(("1.2",), region=(1, 1, 9, 9), maximum_matches=4)


@pytest.fixture
def retriever(tmp_path: Path, index: LocalIndex) -> Retriever:
    """A retriever by class scores, over images of which one has a part that is the query."""
    table = RegionTable(tmp_path / "regions.sqlite", MODEL, 1)
    table.claim()
    table.keep([RegionCodes(f"2.25.2{NEAR}", f"content of {NEAR}".encode(), QUERY)])
    spool = Spool(tmp_path / "spool", 9, 0)
    return Retriever(spool, index.view, MODEL, Ranking.OUTPUTS, regions=RegionIndex(table, 100))


def ask(retriever: Retriever, index: LocalIndex, question: Question) -> LookAlikes:
    outputs = Outputs(np.full((1, 64), 100, np.int8))
    with index.database.snapshot() as snapshot:
        return retriever.nearest(snapshot, QUERY, question, Level.STUDY, Filter(), outputs)


def test_the_nearest_part_decides_and_the_order_is_by_distance(retriever: Retriever, index: LocalIndex) -> None:
    answer = ask(retriever, index, REGION)

    assert answer.ranking == Ranking.HAMMING
    assert (answer.matches[0].image.uid, answer.matches[0].distance) == (f"2.25.2{NEAR}", 0)
    assert [match.distance for match in answer.matches] == sorted(match.distance for match in answer.matches)
    assert answer.candidates == len(ITEMS)


@pytest.mark.parametrize(
    "question",
    [
        replace(REGION, region=None),
        replace(REGION, ranking=Ranking.OUTPUTS),
        replace(REGION, aggregation=Aggregation.MEAN),
    ],
    ids=["whole image", "by outputs", "by the mean"],
)
def test_parts_do_not_count_in_other_questions(retriever: Retriever, index: LocalIndex, question: Question) -> None:
    answer = ask(retriever, index, question)

    assert all(match.distance > 0 for match in answer.matches)
