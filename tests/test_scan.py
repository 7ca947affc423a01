"""Scans of a whole database, in every order of filter and distance, against a plain twin."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashing.codes import Codes, hamming_distance
from storage.database.columns import LEVEL_COLUMN
from storage.database.snapshot import Snapshot
from storage.record import LEVELS, Level
from storage.search import worker
from storage.search.filter import Candidates
from storage.search.scan import sweep
from storage.search.scan_query import FilterOrder, ScanQuery, ScanResult
from tests.invented import codes
from tests.test_local import Case, as_filter, cases, conditions, named, passes, queries_of, snapshot_of, wanted

Pairs = list[tuple[int, int]]


def answer(found: ScanResult, query: ScanQuery) -> Pairs:
    """(distance, row) of the best rows of the k nearest groups, and of all that tie with the k-th."""
    groups = found.groups if query.group_column else found.rows
    best: dict[int, int] = {}
    for group, distance in zip(groups.tolist(), found.distances.tolist(), strict=True):
        best[group] = min(distance, best.get(group, distance))
    nearest = sorted(best.values())[: query.k]
    triples = zip(found.distances.tolist(), found.rows.tolist(), groups.tolist(), strict=True)
    return sorted((d, row) for d, row, group in triples if nearest and d == best[group] and d <= nearest[-1])


def twin(case: Case, asked: dict[str, Any], queries: Codes, most: int) -> ScanResult:
    """Every row that is there, passes and is near enough, by a plain loop."""
    rows = [(code, each) for each in case.items for code in each.codes]
    distances = [min(int(hamming_distance(query, code[None])[0]) for query in queries) for code, _ in rows]
    near = [
        row
        for row, (_, each) in enumerate(rows)
        if each in case.kept and passes(each, asked) and distances[row] <= most
    ]
    chosen = np.array(near, np.int64)
    return ScanResult(chosen, np.array(distances, np.uint16)[chosen], np.empty(0, np.uint32))


def scanned(snapshot: Snapshot, query: ScanQuery, order: FilterOrder, threads: int) -> Pairs:
    found = sweep(snapshot, query, order, threads=threads)
    assert found.rows.tolist() == sorted(set(found.rows.tolist()))
    return answer(found, query)


@pytest.mark.parametrize("order", FilterOrder)
@pytest.mark.parametrize("settled", [0.0, 1.0])
@given(cases(), queries_of, conditions(), wanted, st.sampled_from([1, 2, 3]), st.sampled_from([20, 256]))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
def test_a_scan_gives_every_row_of_the_answer_in_whichever_order_columns_are_tested(
    settled: float,
    order: FilterOrder,
    case: Case,
    seeds: tuple[int, int],
    asked: dict[str, Any],
    k: int,
    threads: int,
    most: int,
) -> None:
    queries, asked = codes(seeds[0], case.code_length, seed=seeds[1]), named(case, asked)
    with snapshot_of(case) as snapshot, pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "SELECTIVE", settled)
        query = ScanQuery(queries, k, most, Candidates(as_filter(snapshot, asked), snapshot))

        found = scanned(snapshot, query, order, threads)

    assert found == answer(twin(case, asked, queries, most), query)


@given(cases(), queries_of, wanted, st.sampled_from(LEVELS), st.sampled_from([1, 2, 3]))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_a_scan_without_filter_counts_each_group_once(
    case: Case, seeds: tuple[int, int], k: int, level: Level, threads: int
) -> None:
    queries = codes(seeds[0], case.code_length, seed=seeds[1])
    with snapshot_of(case) as snapshot:
        groups = 0 if level == Level.IMAGE else snapshot.ordinal_bound(level)
        query = ScanQuery(queries, k, case.code_length, None, LEVEL_COLUMN[level], groups)

        found = scanned(snapshot, query, FilterOrder.LAST, threads)

        expected = twin(case, {}, queries, case.code_length)
        labels = snapshot.levels_of(expected.rows, level)
    assert found == answer(ScanResult(expected.rows, expected.distances, labels), query)
