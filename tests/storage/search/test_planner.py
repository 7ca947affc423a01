"""The same rows as the scan, by the index."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.database.columns import LEVEL_COLUMN
from storage.record import LEVELS, Level
from storage.search import planner as indexed
from storage.search.filter import Candidates
from storage.search.index import Filter
from storage.search.local import LocalIndex
from storage.search.planner import by_index, find, is_filter_first_cheaper
from storage.search.scan import ScanQuery, sweep
from storage.segments.builder import build
from storage.segments.registry import segment_folder
from tests.benchmarks.search_data import database, uniform
from tests.storage.search.test_scan import answer
from tests.support.storage.indexing import (
    BLOCK_ROWS,
    KINDS,
    always_indexed,
    checked,
    create,
    empty_database,
    invented,
    items,
)
from tests.support.storage.invented import codes, item

lengths = st.sampled_from([16, 32, 48, 64, 128, 256])
seeds = st.integers(0, 2**32 - 1)
FILTERS: list[dict[str, Any]] = [
    {},
    {"modalities": frozenset({"MR"})},
    {"excluded_series": frozenset(f"2.25.3{number}" for number in range(0, 30, 2))},
    {"excluded_instances": frozenset({"2.25.23"})},
    {"modalities": frozenset({"US"})},
]


@given(
    lengths,
    st.sampled_from(KINDS),
    st.integers(1, 200),
    st.sampled_from([1, 2, 10, 100, 1000]),
    st.integers(1, 3),
    st.sampled_from(FILTERS),
    st.sampled_from([None, *LEVELS]),
    st.none() | st.integers(0, 64),
    st.booleans(),
    seeds,
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_segments_give_the_rows_of_the_scan_in_its_order(
    code_length: int,
    kind: str,
    n: int,
    k: int,
    n_queries: int,
    asked: dict[str, Any],
    level: Level | None,
    maximum_distance: int | None,
    inline: bool,
    seed: int,
) -> None:
    generator = np.random.default_rng(seed)
    stored = invented(kind, n, code_length, seed)
    queries = np.concatenate([stored[generator.integers(0, n, n_queries - 1)], codes(1, code_length, seed + 1)])
    with empty_database(code_length) as database, always_indexed():
        given_items = items(stored, code_length)
        for start in range(0, n, 60):
            database.append(given_items[start : start + 60])
            build(database, inline=inline and code_length <= 64)
        database.remove(f"2.25.2{number}" for number in generator.permutation(n)[: n // 5])
        index = LocalIndex(database)
        served = checked(index)
        with index.snapshot() as snapshot:
            candidates = Candidates(Filter(**asked), snapshot)
            query = ScanQuery(
                queries,
                k,
                code_length if maximum_distance is None else maximum_distance,
                candidates=candidates if candidates else None,
                group_column=None if level is None else LEVEL_COLUMN[level],
                groups=0 if level in (None, Level.IMAGE) else snapshot.records.ordinal_bound(level),
            )

            found = by_index(snapshot, query)

            assert (served > 0) == (n >= BLOCK_ROWS)
            assert found is not None or served == 0 or asked or level not in (None, Level.IMAGE)
            if found is not None:
                assert answer(found, query) == answer(sweep(snapshot, query), query)
                assert (np.diff(found.rows) > 0).all()


@pytest.mark.parametrize("level", LEVELS)
def test_a_search_with_segments_answers_as_one_without(tmp_path: Path, level: Level) -> None:
    stored = invented("clustered", 150, 64, seed=1)
    with create(tmp_path) as database:
        database.append(items(stored))
        index = LocalIndex(database)
        with index.view() as view:
            before = [view.search(query[None], 7, level) for query in stored[:20]]
        with always_indexed():
            build(database)

            assert checked(index) == 1
            with index.view() as view:
                assert [view.search(query[None], 7, level) for query in stored[:20]] == before


def test_nothing_is_asked_of_an_index_where_a_scan_is_as_quick(tmp_path: Path) -> None:
    with create(tmp_path) as database, always_indexed():
        database.append(items(codes(100)))
        build(database)
        index = LocalIndex(database)
        checked(index)
        with index.snapshot() as snapshot, pytest.MonkeyPatch.context() as patch:
            query = ScanQuery(codes(1), 3, 64)
            assert by_index(snapshot, query) is not None

            patch.setattr(indexed, "scan_ns", lambda *_: 10.0)

            assert by_index(snapshot, query) is None
            assert answer(find(snapshot, query), query) == answer(sweep(snapshot, query), query)


def test_a_scan_is_chosen_when_the_index_would_have_to_look_almost_everywhere(tmp_path: Path) -> None:
    stored = codes(2000, 64)
    with create(tmp_path) as database, always_indexed():
        database.append(items(stored))
        build(database)
        index = LocalIndex(database)
        checked(index)
        with index.snapshot() as snapshot, pytest.MonkeyPatch.context() as patch:
            patch.setattr(indexed, "scan_ns", lambda *_: 101_000.0)

            assert by_index(snapshot, ScanQuery(~stored[:1], 1500, 64)) is None
            assert by_index(snapshot, ScanQuery(stored[:1], 1, 64)) is not None


def test_columns_are_tested_first_where_that_costs_less(tmp_path: Path) -> None:
    few, most = Filter(studies=frozenset({"30"})), Filter(excluded_studies=frozenset({"30"}))
    tenth = Filter(ages=(40, 49))

    with database(tmp_path, "uniform", uniform, 50_000, 64) as opened, LocalIndex(opened).snapshot() as snapshot:
        queries = [ScanQuery(codes(1), 2, 64, Candidates(where, snapshot)) for where in (few, tenth, most)]
        first = [is_filter_first_cheaper(snapshot, query) for query in queries]

        assert not is_filter_first_cheaper(snapshot, ScanQuery(codes(1), 2, 64))
    assert first == [True, True, False]


def test_a_filter_that_few_near_rows_pass_leads_to_the_scan_and_the_right_answer(tmp_path: Path) -> None:
    stored = invented("clustered", 300, 64, seed=2)
    with create(tmp_path) as database, always_indexed():
        database.append(items(stored))
        build(database)
        index = LocalIndex(database)
        checked(index)
        with index.view() as view:
            where = Filter(instances=frozenset({"2.25.27", "2.25.299", "2.25.2280"}))

            found = view.search(stored[:1], 2, where=where)

            expected = sorted((int(np.bitwise_count(stored[n] ^ stored[0]).sum()), f"2.25.2{n}") for n in (7, 99, 280))
            assert [(hit.distance, hit.uid) for hit in found.hits] == expected[:2]


SEARCHER = """
import sys
from pathlib import Path
from storage.database.database import Database
from storage.search.local import LocalIndex
from tests.support.storage.indexing import always_indexed, checked
from tests.support.storage.invented import codes
with Database.open(Path(sys.argv[1])) as database, always_indexed():
    index = LocalIndex(database)
    for line in sys.stdin:
        served = checked(index)
        with index.view() as view:
            hit = view.search(codes(1, 64, int(line)), 1).hits[0]
            print(served, hit.uid, int(hit.distance), flush=True)
"""


def test_another_process_sees_each_commit_at_once_whatever_becomes_of_the_segments(tmp_path: Path) -> None:
    with create(tmp_path) as database, always_indexed():
        database.append(items(codes(100, seed=1000)))
        build(database)
        command = [sys.executable, "-c", SEARCHER, str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:

            def told(seed: int) -> str:
                assert reader.stdin is not None
                assert reader.stdout is not None
                reader.stdin.write(f"{seed}\n")
                reader.stdin.flush()
                return reader.stdout.readline().strip()

            for number in range(200, 204):  # appended behind the segments
                database.append([item(number, frame_codes=codes(1, 64, number))])
                assert told(number) == f"1 2.25.2{number} 0"
            database.remove(["2.25.2203", "2.25.210"])  # one behind, one within them
            assert told(203).split()[1] != "2.25.2203"
            database.append([item(203, frame_codes=codes(1, 64, 5))])  # replaced
            assert told(5) == "1 2.25.2203 0"
            database.compact()
            assert told(202) == "0 2.25.2202 0"
            build(database, whole=True)
            assert told(202) == "1 2.25.2202 0"
            (path,) = segment_folder(database).glob("*.segment")
            path.unlink()
            assert told(201) == "1 2.25.2201 0"  # it has it open
