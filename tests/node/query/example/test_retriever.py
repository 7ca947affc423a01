"""From an example and a question to ranked matches: exclusions, frames, aggregation, and why there is no answer."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.tag import Tag

from hashing.codes import unpack
from hashing.ranking_scores import Outputs, Ranking, in_whole_numbers
from node.dicom.private import GROUP
from node.errors import Refusal, Status
from node.query.question import MAX_EXAMPLES, spread
from node.query.retriever import LookAlikes, Retriever
from storage.database.database import Database, Snapshot
from storage.record import Level
from storage.search.index import Aggregation, Filter
from storage.search.local import LocalIndex
from storage.spool.queue import Spool
from tests.support.dicom.archive import instance, ladder, uid
from tests.support.dicom.questions import IMAGE, MODEL, SERIES, STUDY, about, refused

ITEMS = [
    instance("1.1.1", 0, digest=7, PatientID="A"),
    instance("1.1.2", 1, PatientID="A"),
    instance("1.2.1", 2, PatientID="A"),
    instance("2.1.1", 3, PatientID="A"),
    instance("3.1.1", 4, PatientID="B"),
    instance("4.1.1", 5, PatientID=""),
    instance("5.1.1", 0, digest=7, PatientID="C"),
    instance("6.1.1", 30, 40, 50, PatientID="D"),
    instance("7.1.1", PatientID="E"),
]


def places(answer: LookAlikes) -> list[str]:
    return [match.entity.uid.removeprefix("2.25.") for match in answer.matches]


@pytest.mark.parametrize(
    ("level", "exclude", "expected"),
    [
        (IMAGE, "", "1.1.1 5.1.1 1.1.2 1.2.1 2.1.1 3.1.1 4.1.1 6.1.1"),
        (IMAGE, "SELF", "5.1.1 1.1.2 1.2.1 2.1.1 3.1.1 4.1.1 6.1.1"),
        (IMAGE, "SERIES", "5.1.1 1.2.1 2.1.1 3.1.1 4.1.1 6.1.1"),
        (IMAGE, "STUDY", "5.1.1 2.1.1 3.1.1 4.1.1 6.1.1"),
        (IMAGE, "PATIENT", "5.1.1 3.1.1 4.1.1 6.1.1"),
        (IMAGE, "DUPLICATE", "1.1.2 1.2.1 2.1.1 3.1.1 4.1.1 6.1.1"),
        (IMAGE, "DUPLICATE STUDY", "2.1.1 3.1.1 4.1.1 6.1.1"),
        (SERIES, "", "1.1 5.1 1.2 2.1 3.1 4.1 6.1"),
        (SERIES, "SELF", "5.1 1.2 2.1 3.1 4.1 6.1"),
        (SERIES, "STUDY", "5.1 2.1 3.1 4.1 6.1"),
        (SERIES, "DUPLICATE", "1.1 1.2 2.1 3.1 4.1 6.1"),
        (STUDY, "", "1 5 2 3 4 6"),
        (STUDY, "SELF", "5 2 3 4 6"),
        (STUDY, "SERIES", "5 1 2 3 4 6"),
        (STUDY, "PATIENT SELF", "5 3 4 6"),
    ],
)
def test_what_is_excluded_does_not_come_back(
    retriever: Retriever, snapshot: Snapshot, level: Level, exclude: str, expected: str
) -> None:
    answer = retriever.similar(snapshot, about("1.1.1", exclude=exclude), level, Filter())

    assert places(answer) == expected.split()


@pytest.mark.parametrize(
    ("example", "kind", "level", "expected"),
    [
        ("1.1", SERIES, IMAGE, "5.1.1 1.2.1 2.1.1 3.1.1 4.1.1 6.1.1"),
        ("1.1", SERIES, SERIES, "5.1 1.2 2.1 3.1 4.1 6.1"),
        ("1.1", SERIES, STUDY, "5 2 3 4 6"),
        ("1", STUDY, IMAGE, "5.1.1 2.1.1 3.1.1 4.1.1 6.1.1"),
        ("1", STUDY, SERIES, "5.1 2.1 3.1 4.1 6.1"),
    ],
)
def test_a_series_or_study_is_not_its_own_look_alike_nor_is_what_lies_in_it(
    retriever: Retriever, snapshot: Snapshot, example: str, kind: Level, level: Level, expected: str
) -> None:
    answer = retriever.similar(snapshot, about(example, level=kind), level, Filter())

    assert places(answer) == expected.split()


def test_for_a_patient_without_id_only_the_study_is_known_to_be_the_same_patient(
    retriever: Retriever, snapshot: Snapshot
) -> None:
    answer = retriever.similar(snapshot, about("4.1.1", exclude="PATIENT"), STUDY, Filter())

    assert places(answer) == ["3", "2", "1", "5", "6"]


def test_what_the_question_excludes_comes_on_top_of_what_other_keys_do(
    retriever: Retriever, snapshot: Snapshot
) -> None:
    where = Filter(excluded_studies=frozenset({uid("5"), uid("3")}))

    answer = retriever.similar(snapshot, about("1.1.1", exclude="STUDY"), STUDY, where)

    assert places(answer) == ["2", "4", "6"]


def test_ranks_count_from_one_and_scores_fall_with_distance(retriever: Retriever, snapshot: Snapshot) -> None:
    answer = retriever.similar(snapshot, about("1.1.1"), STUDY, Filter())

    assert [match.rank for match in answer.matches] == [1, 2, 3, 4, 5]
    assert [match.distance for match in answer.matches] == [0, 3, 4, 5, 30]
    assert [match.score for match in answer.matches] == [1 - match.distance / 64 for match in answer.matches]
    assert [match.image.uids[STUDY] for match in answer.matches] == [match.entity.uid for match in answer.matches]
    assert answer.candidates == 5


def test_the_outputs_behind_a_query_order_the_nearest_anew(retriever: Retriever, snapshot: Snapshot) -> None:
    relaxed = np.where(unpack(ladder(0), 64), 1.0, -1.0)
    relaxed[0, :4] *= 9  # the bits in which studies 2, 3 and 4 differ

    plain = retriever.nearest(snapshot, ladder(0), about("1.1.1", maximum_matches=9), STUDY, Filter())
    question = about("1.1.1", maximum_matches=3, ranking=Ranking.ASYMMETRIC)
    answer = retriever.nearest(snapshot, ladder(0), question, STUDY, Filter(), Outputs(in_whole_numbers(relaxed)))

    scores = [match.ranking_score or 0 for match in answer.matches]
    assert (plain.ranking, answer.ranking) == ("HAMMING", "ASYMMETRIC")
    assert {match.ranking_score for match in plain.matches} == {None}
    assert [match.rank for match in answer.matches] == [1, 1, 3]
    assert scores == sorted(scores, reverse=True)
    assert set(places(answer)) <= set(places(plain))
    assert scores[0] == 1


def test_outputs_decide_between_equal_distances_alone(retriever: Retriever, snapshot: Snapshot) -> None:
    outputs = Outputs(in_whole_numbers(np.random.default_rng(0).normal(size=(1, 64))))

    answers = [retriever.nearest(snapshot, ladder(0), about("1.1.1"), STUDY, Filter(), one) for one in (None, outputs)]

    assert answers[0] == answers[1]


def test_what_the_node_is_set_to_yields_where_it_cannot_be_had_and_a_key_does_not(
    retriever: Retriever, snapshot: Snapshot
) -> None:
    without_classes = Outputs(np.ones((1, 64), np.int8))
    for stage in (Ranking.ASYMMETRIC, Ranking.OUTPUTS, Ranking.CLASSES):
        retriever.ranking = stage  # of examples of which nothing was kept

        answer = retriever.similar(snapshot, about("1.1.1"), STUDY, Filter())
        refusal = refused(retriever, snapshot, about("1.1.1", ranking=stage, block=0x42))

        assert answer.ranking == Ranking.HAMMING
        assert (refusal.status, refusal.offending) == (Status.DATA_SET_MISMATCH, Tag(GROUP, 0x420C))
        assert refusal.comment == "no outputs are stored of this example: rank by HAMMING"

    partly = retriever.nearest(snapshot, ladder(0), about("1.1.1"), STUDY, Filter(), without_classes)
    question = about("1.1.1", ranking=Ranking.CLASSES)
    with pytest.raises(Refusal, match="rank by OUTPUTS"):
        retriever.nearest(snapshot, ladder(0), question, STUDY, Filter(), without_classes)
    assert partly.ranking == Ranking.OUTPUTS


def test_candidates_are_counted_only_where_that_is_asked_for(retriever: Retriever, snapshot: Snapshot) -> None:
    answers = [retriever.similar(snapshot, about("1.1.1"), STUDY, Filter(), count=count) for count in (False, True)]

    assert [answer.candidates for answer in answers] == [None, 5]
    assert answers[0].matches == answers[1].matches


def test_number_and_distance_of_matches_both_limit(retriever: Retriever, snapshot: Snapshot) -> None:
    nearest = retriever.similar(snapshot, about("1.1.1", maximum_matches=2, maximum_distance=4), STUDY, Filter())
    within = retriever.similar(snapshot, about("1.1.1", maximum_matches=9, maximum_distance=4), STUDY, Filter())
    none = retriever.similar(snapshot, about("6.1.1", maximum_distance=1), STUDY, Filter())

    assert (places(nearest), places(within), places(none)) == (["5", "2"], ["5", "2", "3"], [])


def test_of_several_examples_the_nearest_counts(retriever: Retriever, snapshot: Snapshot) -> None:
    answer = retriever.similar(snapshot, about("1.1.1", "3.1.1"), IMAGE, Filter())

    assert {place: match.distance for place, match in zip(places(answer), answer.matches, strict=True)} == {
        "5.1.1": 0,
        "1.1.2": 1,
        "2.1.1": 1,
        "4.1.1": 1,
        "1.2.1": 2,
        "6.1.1": 26,
    }


@pytest.mark.parametrize(("frames", "distances"), [((), [0, 25]), ((1,), [0, 25]), ((2,), [0, 35]), ((3, 2), [0, 35])])
def test_only_the_frames_asked_about_are_compared(
    retriever: Retriever, snapshot: Snapshot, frames: tuple[int, ...], distances: list[float]
) -> None:
    answer = retriever.similar(snapshot, about("6.1.1", exclude="", frames=frames, maximum_matches=2), IMAGE, Filter())

    assert [match.distance for match in answer.matches] == distances
    assert answer.matches[0].frame == (min(frames) - 1 if frames else 0)


def test_a_mean_is_over_all_images_of_a_series_and_the_best_of_them_is_told(
    retriever: Retriever, snapshot: Snapshot
) -> None:
    question = about("3.1.1", aggregation=Aggregation.MEAN)

    answer = retriever.similar(snapshot, question, STUDY, Filter())

    assert [(place, match.distance) for place, match in zip(places(answer), answer.matches, strict=True)] == [
        ("2", 1),
        ("4", 1),
        ("1", 3),
        ("5", 4),
        ("6", 36),
    ]
    assert answer.matches[2].image.uid == uid("1.2.1")


def test_an_empty_database_has_no_look_alikes(tmp_path: Path) -> None:
    with Database.create_or_open(tmp_path / "database", 64, MODEL, 1 << 24) as database, database.snapshot() as empty:
        retriever = Retriever(Spool(tmp_path / "spool", 9, 0), LocalIndex(database).view, MODEL)
        answer = retriever.nearest(empty, ladder(0), about("1.1.1"), STUDY, Filter())

    assert answer == LookAlikes((), 0)


@given(count=st.integers(1, 200), most=st.integers(2, MAX_EXAMPLES))
def test_examples_are_spread_over_a_series_from_its_first_to_its_last(count: int, most: int) -> None:
    names = [f"{number:03d}" for number in range(count)]

    chosen = spread(names, most)

    assert len(chosen) == min(count, most)
    assert chosen == sorted(set(chosen))
    assert (chosen[0], chosen[-1]) == (names[0], names[-1])
