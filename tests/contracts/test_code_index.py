"""The contract of `storage.search.index`, which every implementation fulfils: examples, and comparisons with a twin."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashing.codes import CodeLengthError, Codes
from storage.record import LEVELS, Level
from storage.search.index import Aggregation, CodeStore, Filter, Hit, Hits, IndexRow
from tests.contracts.implementations import IMPLEMENTATIONS, SLOW
from tests.support.storage.index_cases import Case, cases, filters, instance_uid, ks, levels, rows, uids
from tests.support.storage.invented import codes
from tests.support.storage.naive_index import NaiveIndex

Open = Callable[[int], AbstractContextManager[CodeStore]]
_slow = [pytest.param(opened, id=name, marks=pytest.mark.slow) for name, opened in SLOW.items()]
every_index = pytest.mark.parametrize(
    "opened", [*(pytest.param(opened, id=name) for name, opened in IMPLEMENTATIONS.items()), *_slow]
)
every_index_in_time = pytest.mark.parametrize(
    "opened",
    [
        *(
            pytest.param(opened, id=name, marks=[pytest.mark.slow] * (name == "milvus"))
            for name, opened in IMPLEMENTATIONS.items()
        ),
        *_slow,
    ],
)
"""For a test of many examples, which takes a minute on a server."""
some = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])


def at(*distances: int) -> Codes:
    """Codes of 64 bits at these distances from the code of no bit."""
    return np.array([[(1 << distance) - 1] for distance in distances], np.uint64)


QUERY = at(0)


def signed(n: int, code_length: int, most: int) -> NDArray[np.int8]:
    """Outputs of so many queries, between -`most` and `most`."""
    return np.random.default_rng(3).integers(-most, most, (n, code_length), np.int8, endpoint=True)


def fill(index: CodeStore, case: Case) -> None:
    """Give an index everything in about three batches, then remove what is to be removed."""
    instances = sorted({row.sop_instance_uid for row in case.rows})
    for batch in (instances[::3], instances[1::3], instances[2::3]):
        index.append([row for row in case.rows if row.sop_instance_uid in batch])
    index.remove(case.removed)


def found(index: CodeStore, *arguments: object, **options: object) -> Hits:
    with index.view() as view:
        return view.search(*arguments, **options)  # type: ignore[arg-type]


def numbers(hits: Hits) -> list[int]:
    return [int(hit.uid.removeprefix("2.25.2")) for hit in hits.hits]


@every_index_in_time
@given(
    cases(),
    st.integers(1, 3),
    ks,
    levels,
    st.none() | st.integers(-1, 256),
    st.sampled_from(Aggregation),
    st.sampled_from([None, 1, 127]),
)
@settings(some, max_examples=60)
def test_it_finds_what_the_naive_index_finds(
    opened: Open,
    case: Case,
    n: int,
    k: int,
    level: Level,
    maximum_distance: int | None,
    aggregation: Aggregation,
    most: int | None,
) -> None:
    queries, twin = codes(n, case.code_length, seed=7), NaiveIndex(case.code_length)
    outputs = None if most is None else signed(n, case.code_length, most)
    fill(twin, case)
    with opened(case.code_length) as index:
        fill(index, case)
        options = {"maximum_distance": maximum_distance, "aggregation": aggregation, "outputs": outputs}

        assert found(index, queries, k, level, **options) == found(twin, queries, k, level, **options)


@every_index_in_time
@given(cases(), filters(), ks, levels, st.sampled_from(Aggregation))
@settings(some, max_examples=50)
def test_filters_apply_before_the_nearest_are_selected(
    opened: Open, case: Case, where: Filter, k: int, level: Level, aggregation: Aggregation
) -> None:
    queries, twin = codes(1, case.code_length, seed=7), NaiveIndex(case.code_length)
    fill(twin, case)
    with opened(case.code_length) as index:
        fill(index, case)

        hits = found(index, queries, k, level, where, aggregation=aggregation)

    assert hits == found(twin, queries, k, level, where, aggregation=aggregation)


@every_index
def test_the_nearest_come_first_and_ties_at_the_cut_go_to_the_smallest_uid(opened: Open) -> None:
    with opened(64) as index:
        for number, distance in ((3, 5), (10, 5), (20, 5), (1, 9), (2, 2)):
            index.append(rows(number, at(distance)))

        hits = found(index, QUERY, 3).hits

    expected = ((2, 2), (10, 5), (20, 5))
    assert hits == tuple(Hit(instance_uid(number), bits, instance_uid(number), 0) for number, bits in expected)


@every_index
@pytest.mark.parametrize("equal", [3, 200])
def test_however_many_tie_the_smallest_uids_are_kept(opened: Open, equal: int) -> None:
    with opened(64) as index:
        index.append([row for number in range(200) for row in rows(number, at(1 if number < equal else 9))])

        assert [hit.uid for hit in found(index, QUERY, 2).hits] == sorted(map(instance_uid, range(equal)))[:2]


@every_index
def test_an_entity_is_as_near_as_its_nearest_frame_or_as_the_mean_of_all(opened: Open) -> None:
    """Series 0 holds images 0 and 1, and series 1 images 2 and 3."""
    with opened(64) as index:
        index.append(rows(0, at(1, 8, 1), (3, 4, 7)) + rows(1, at(10)) + rows(2, at(4)) + rows(3, at(4)))

        best = found(index, QUERY, 9, Level.SERIES).hits
        mean = found(index, QUERY, 9, Level.SERIES, aggregation=Aggregation.MEAN).hits
        images = found(index, QUERY, 1, aggregation=Aggregation.MEAN).hits

    series, other = uids(0)[2], uids(2)[2]
    assert best == (Hit(series, 1, instance_uid(0), 3), Hit(other, 4, instance_uid(2), 0))
    assert mean == (Hit(other, 4, instance_uid(2), 0), Hit(series, 5, instance_uid(0), 3))
    assert images == (Hit(instance_uid(0), 1, instance_uid(0), 3),)


@every_index
@pytest.mark.parametrize(("limit", "expected"), [(None, [0, 1]), (7, [0, 1]), (6, [0]), (2, [0]), (1, []), (-1, [])])
def test_a_maximum_distance_is_inclusive(opened: Open, limit: int | None, expected: list[int]) -> None:
    with opened(64) as index:
        index.append(rows(0, at(2)) + rows(1, at(7)))

        assert numbers(found(index, QUERY, 9, maximum_distance=limit)) == expected


@every_index
def test_the_distance_is_that_from_the_nearest_query(opened: Open) -> None:
    with opened(64) as index:
        index.append(rows(0, at(2)) + rows(1, at(40)))

        assert [hit.distance for hit in found(index, at(0, 41), 9).hits] == [1, 2]


CONDITIONS = [
    (Filter(modalities=frozenset({"MR"})), [2, 3, 6, 7]),
    (Filter(modalities=frozenset({"US"})), []),
    (Filter(modalities=frozenset()), []),
    (Filter(body_parts=frozenset({"CHEST"})), [*range(10)]),
    (Filter(manufacturers=frozenset({"Acme", ""})), [2, 3, 4, 5, 8, 9]),
    (Filter(sexes=frozenset({"F"})), [8, 9]),
    (Filter(study_dates=(20200115, 20200630)), [0, 1, 2, 3]),
    (Filter(study_dates=(20200701, None)), [4, 5, 6, 7]),
    (Filter(study_dates=(20200701, None), undated=True), [*range(4, 10)]),
    (Filter(study_dates=(None, None)), [*range(8)]),
    (Filter(ages=(40, 40)), [*range(10)]),
    (Filter(ages=(None, 39)), []),
    (Filter(patients=frozenset({uids(9)[0], "unknown"})), [8, 9]),
    (Filter(studies=frozenset({uids(0)[1]}), excluded_series=frozenset({uids(0)[2]})), [2, 3]),
    (Filter(instances=frozenset()), []),
    (Filter(studies=frozenset({"", "\udc80", "9" * 600})), []),
    (Filter(instances=frozenset({instance_uid(7), instance_uid(1)})), [1, 7]),
    (Filter(excluded_patients=frozenset({uids(0)[0]})), [8, 9]),
    (Filter(excluded_studies=frozenset({"unknown", uids(0)[1]})), [*range(4, 10)]),
    (Filter(excluded_instances=frozenset({instance_uid(0)})), [*range(1, 10)]),
    (Filter(excluded_digests=frozenset({4, 2**64 - 1})), [0, 1, 2, 3, 5, 6, 7, 8, 9]),
]


@every_index
def test_each_condition_lets_through_what_it_says(opened: Open) -> None:
    with opened(64) as index:
        index.append([row for number in range(10) for row in rows(number, at(number))])

        for where, expected in CONDITIONS:
            hits = found(index, QUERY, 99, where=where)
            assert (numbers(hits), hits.candidates) == (expected, len(expected)), where


@every_index
def test_instances_not_frames_are_counted_and_only_when_they_are_to_be(opened: Open) -> None:
    with opened(64) as index:
        index.append(rows(0, at(1, 2, 3), (0, 1, 2)) + rows(1, at(5)))

        assert found(index, QUERY, 1).candidates == 2
        assert found(index, QUERY, 1, count=False).candidates is None


@every_index
def test_a_known_row_changes_nothing_until_its_instance_is_removed(opened: Open) -> None:
    with opened(64) as index:
        index.append(rows(0, at(1)))
        index.append(rows(0, at(1)))
        index.append(rows(0, at(30)) + rows(2, at(4)) + rows(2, at(9)))
        assert [hit.distance for hit in found(index, QUERY, 9).hits] == [1, 4]

        index.remove([instance_uid(0), "unknown"])
        assert numbers(found(index, QUERY, 9)) == [2]
        index.append(rows(0, at(30)))

        assert [hit.distance for hit in found(index, QUERY, 9).hits] == [4, 30]


@every_index
def test_a_view_stays_as_it_was_while_rows_are_appended_and_removed(opened: Open) -> None:
    with opened(64) as index:
        index.append([row for number in range(40) for row in rows(number, at(number))])
        with index.view() as view:
            before = [view.search(QUERY, 50, level) for level in LEVELS]
            index.remove([instance_uid(number) for number in range(0, 40, 3)])
            index.append([row for number in range(40, 60) for row in rows(number, at(0))])

            assert [view.search(QUERY, 50, level) for level in LEVELS] == before
            with index.view() as later:
                assert later.search(QUERY, 1).hits[0].uid == instance_uid(40)
            assert [view.search(QUERY, 50, level) for level in LEVELS] == before


@every_index
def test_more_than_there_are_may_be_wanted(opened: Open) -> None:
    with opened(64) as index:
        index.append([row for number in range(40) for row in rows(number, at(number))])

        assert numbers(found(index, QUERY, 10**12)) == [*range(40)]


@every_index
def test_an_empty_index_has_no_hits(opened: Open) -> None:
    with opened(64) as index:
        assert found(index, QUERY, 5, Level.STUDY) == Hits((), 0)
        index.append(rows(0, at(1)))
        index.remove([instance_uid(0)])
        index.append([])

        assert found(index, QUERY, 5, Level.STUDY) == Hits((), 0)


@every_index
def test_searches_and_rows_that_make_no_sense_are_refused(opened: Open) -> None:
    with opened(64) as index:
        index.append(rows(0, at(1)))
        for aggregation in Aggregation:
            with pytest.raises(CodeLengthError):
                found(index, codes(1, 128), 5, Level.STUDY, aggregation=aggregation)
            with pytest.raises(ValueError, match="query"):
                found(index, codes(0), 5, Level.STUDY, aggregation=aggregation)
            with pytest.raises(ValueError, match="least"):
                found(index, QUERY, 0, Level.STUDY, aggregation=aggregation)
            with pytest.raises(CodeLengthError):
                found(index, QUERY, 5, Level.STUDY, aggregation=aggregation, outputs=np.zeros((1, 63), np.int8))
        with pytest.raises(CodeLengthError):
            index.append(rows(1, codes(1, 128)))

        assert numbers(found(index, QUERY, 5)) == [0]


def test_a_row_is_plain_data() -> None:
    assert {field for field in IndexRow.__slots__ if field.startswith("_")} == set()
    assert hash(Filter(modalities=frozenset({"CT"}))) == hash(Filter(modalities=frozenset({"CT"})))
