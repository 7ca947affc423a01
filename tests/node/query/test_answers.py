"""At most one answer for each series, study or patient, with near-duplicates folded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.errors import Refusal, Status
from node.query import answers as module
from node.query.question import Distinct, Question
from node.query.retriever import LookAlikes, Retriever
from storage.database.database import Database
from storage.record import Level
from storage.search.index import Aggregation, Filter
from storage.search.local import LocalIndex
from storage.spool.queue import Spool
from tests.support.dicom.archive import instance, uid

IMAGE, SERIES, STUDY = Level.IMAGE, Level.SERIES, Level.STUDY
ITEMS = [
    instance("9.1.1", 0, digest=90, PatientID="Z"),
    instance("1.1.1", 1, digest=1, PatientID="A"),
    instance("1.1.2", 2, digest=2, PatientID="A"),
    instance("1.2.1", 1, digest=3, PatientID="A"),  # the code of 1.1.1, in its study
    instance("2.1.1", 3, digest=4, PatientID="A"),
    instance("3.1.1", 3, digest=4, PatientID="B"),  # the pixels of 2.1.1, of another patient
    instance("4.1.1", 1, digest=5, PatientID="C"),  # the code of 1.1.1, elsewhere
    instance("5.1.1", 6, digest=6, PatientID="D"),
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalIndex]:
    with Database.create_or_open(tmp_path_factory.mktemp("database"), 64, "model", 1 << 24) as database:
        database.append(ITEMS)
        yield LocalIndex(database)


def answer(index: LocalIndex, folder: Path, level: Level, distinct: Distinct, **rest: Any) -> LookAlikes:
    question = Question((uid("9.1.1"),), distinct=distinct, **rest)
    with index.database.snapshot() as snapshot:
        return Retriever(Spool(folder / "spool", 9, 0), index.view, "model").similar(
            snapshot, question, level, Filter()
        )


def answers(found: LookAlikes) -> list[tuple[str, int | None]]:
    return [(match.entity.uid.removeprefix("2.25."), match.duplicates) for match in found.matches]


@pytest.mark.parametrize(
    ("level", "distinct", "expected"),
    [
        (IMAGE, Distinct.SERIES, [("1.1.1", 1), ("4.1.1", 0), ("2.1.1", 1), ("5.1.1", 0)]),
        (IMAGE, Distinct.STUDY, [("1.1.1", 0), ("4.1.1", 0), ("2.1.1", 1), ("5.1.1", 0)]),
        (IMAGE, Distinct.PATIENT, [("1.1.1", 0), ("4.1.1", 0), ("3.1.1", 0), ("5.1.1", 0)]),
        (STUDY, Distinct.PATIENT, [("1", 0), ("4", 0), ("3", 0), ("5", 0)]),
        (STUDY, Distinct.SERIES, [("1", 0), ("4", 0), ("2", 1), ("5", 0)]),
        (SERIES, Distinct.STUDY, [("1.1", 0), ("4.1", 0), ("2.1", 1), ("5.1", 0)]),
    ],
)
def test_each_entity_gives_one_answer_and_near_duplicates_are_counted(
    index: LocalIndex, tmp_path: Path, level: Level, distinct: Distinct, expected: list[tuple[str, int]]
) -> None:
    found = answer(index, tmp_path, level, distinct)

    assert answers(found) == expected
    assert [match.distance for match in found.matches] == [1, 1, 3, 6]


@pytest.mark.parametrize(
    ("aggregation", "expected"), [(Aggregation.MEAN, ["4", "1", "3", "5"]), (Aggregation.LATE, ["1", "4", "3", "5"])]
)
def test_by_other_aggregations_the_best_study_of_each_patient_answers(
    index: LocalIndex, tmp_path: Path, aggregation: Aggregation, expected: list[str]
) -> None:
    found = answer(index, tmp_path, STUDY, Distinct.PATIENT, aggregation=aggregation)

    assert [uid for uid, _ in answers(found)] == expected


def test_as_many_answers_come_as_are_wanted_though_duplicates_are_nearer(index: LocalIndex, tmp_path: Path) -> None:
    found = answer(index, tmp_path, IMAGE, Distinct.SERIES, maximum_matches=2)

    assert answers(found) == [("1.1.1", 1), ("4.1.1", 0)]


def test_without_distinct_every_image_answers_and_nothing_is_counted(index: LocalIndex, tmp_path: Path) -> None:
    found = answer(index, tmp_path, IMAGE, Distinct.NONE)

    assert len(found.matches) == 7
    assert {match.duplicates for match in found.matches} == {None}


def test_more_duplicates_than_are_looked_at_are_refused_and_not_passed_over(
    index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_HITS", 2)

    with pytest.raises(Refusal) as caught:
        answer(index, tmp_path, IMAGE, Distinct.SERIES, maximum_matches=3)

    assert caught.value.status == Status.OUT_OF_RESOURCES
