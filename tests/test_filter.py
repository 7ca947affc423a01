"""When columns are tested: before distances or after."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings

from storage.record import Level
from storage.search.entities import nearest_groups
from storage.search.filter import Candidates
from storage.search.index import Filter
from storage.search.local import LocalIndex
from tests.benchmarks.search_data import database, uniform
from tests.contracts.implementations import database as empty_database
from tests.index_cases import Case, cases, filters, ks, levels
from tests.invented import codes


@given(cases(), filters(), ks, levels)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_columns_before_distances_or_after_find_the_same(case: Case, where: Filter, k: int, level: Level) -> None:
    queries = codes(2, case.code_length, seed=7)
    with empty_database(case.code_length) as opened:
        index = LocalIndex(opened)
        index.append(case.rows)
        index.remove(case.removed)
        with index.snapshot() as snapshot:
            candidates = Candidates(where, snapshot, k)
            found = []
            for first in (False, True):
                candidates.first = first
                near = nearest_groups(snapshot, queries, k, level, candidates, 40, threads=2)
                found.append((near.rows.tolist(), near.distances.tolist(), near.groups.tolist()))

    assert found[0] == found[1]


def test_columns_are_tested_first_where_that_costs_less(tmp_path: Path) -> None:
    few, most = Filter(studies=frozenset({"5"})), Filter(excluded_studies=frozenset({"5"}))

    with (
        database(tmp_path, "uniform", uniform, 50_000, 64) as opened,
        LocalIndex(opened).snapshot() as snapshot,
    ):
        order = [Candidates(where, snapshot, 2).first for where in (few, most)]

    assert order == [True, False]
