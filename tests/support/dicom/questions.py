"""Questions of a retriever, and its refusals, as the tests of queries by example put them."""

import pytest

from node.errors import Refusal
from node.query.question import Exclusion, Question
from node.query.retriever import Retriever
from storage.database.snapshot import Snapshot
from storage.record import Level
from storage.search.index import Filter
from tests.support.dicom.archive import uid

MODEL = "model"
IMAGE, SERIES, STUDY = Level.IMAGE, Level.SERIES, Level.STUDY


def about(*places: str, level: Level = IMAGE, exclude: str = "SELF", **rest: object) -> Question:
    exclusions = frozenset(Exclusion(name) for name in exclude.split())
    return Question(tuple(map(uid, places)), level, exclusions=exclusions, **rest)  # type: ignore[arg-type]


def refused(retriever: Retriever, snapshot: Snapshot, question: Question) -> Refusal:
    with pytest.raises(Refusal) as caught:
        retriever.similar(snapshot, question, IMAGE, Filter())
    assert str(caught.value) == caught.value.comment, "no comment is cut off"
    return caught.value
