"""Answers that are farther than the nearest image usually is."""

from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest

from hashing.codes import pack
from node.query.question import Question
from node.query.response import comment
from node.query.retriever import Match, Retriever
from storage.database.database import Item
from storage.database.snapshot import Snapshot
from storage.record import Level
from storage.search.index import Aggregation, Filter
from storage.search.local import LocalIndex
from storage.spool.queue import Spool
from tests.support.dicom.archive import instance
from tests.support.dicom.questions import MODEL

USUAL = {"CT": 2}


def image(number: int, modality: str) -> Item:
    """Image n differs from the first in n bits."""
    made = instance(f"{number + 1}.1.1", 0, PatientID=str(number), Modality=modality)
    return replace(made, codes=pack(np.arange(64)[None] < number), outputs=None)


ITEMS = [image(number, "MR" if number == 5 else "CT") for number in range(6)]


@pytest.fixture
def checked(tmp_path: Path, index: LocalIndex) -> Retriever:
    return Retriever(
        Spool(tmp_path / "spool", 9, 0), index.view, MODEL, usual_distance=lambda modality: USUAL.get(modality, inf)
    )


def matches(retriever: Retriever, snapshot: Snapshot, example: int = 0, **values: object) -> tuple[Match, ...]:
    uid = ITEMS[example].record.sop_instance_uid
    question = Question(examples=(uid,), maximum_matches=5, **values)  # type: ignore[arg-type]
    return retriever.similar(snapshot, question, Level.IMAGE, Filter()).matches


def test_a_match_beyond_the_usual_distance_is_marked(checked: Retriever, snapshot: Snapshot) -> None:
    found = matches(checked, snapshot)

    assert [(match.distance, match.is_unusual) for match in found] == [
        (1, False), (2, False), (3, True), (4, True), (5, True)
    ]  # fmt: skip


def test_nothing_is_marked_where_no_usual_distance_is_known(
    checked: Retriever, retriever: Retriever, snapshot: Snapshot
) -> None:
    assert not any(match.is_unusual for match in matches(checked, snapshot, example=5)), "no MR was measured"
    assert not any(match.is_unusual for match in matches(retriever, snapshot))


@pytest.mark.parametrize("aggregation", [Aggregation.MEAN, Aggregation.LATE])
def test_a_mean_of_distances_is_not_held_against_the_nearest(
    aggregation: Aggregation, checked: Retriever, snapshot: Snapshot
) -> None:
    assert not any(match.is_unusual for match in matches(checked, snapshot, aggregation=aggregation))


def test_the_comment_of_a_response_says_that_a_match_is_unusually_far(checked: Retriever, snapshot: Snapshot) -> None:
    near, *_, far = (comment(match, 64, None) for match in matches(checked, snapshot))

    assert near == "Look-alike 001, 1 of 64 bits apart: not the examination asked about."
    assert far == "Look-alike 005, 5 of 64 bits apart, unusually far: not the examination asked about."
