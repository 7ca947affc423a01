"""Scans of a whole database, in every order of filter and distance, against a plain twin."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashing.codes import Codes, hamming_distance
from storage.database.columns import LEVEL_COLUMN
from storage.record import LEVELS, Level
from storage.search import scan
from storage.search.filter import Candidates
from storage.search.index import Filter
from storage.search.local_snapshot import LocalSnapshot
from storage.search.milvus.passing import passes
from storage.search.scan import ScanQuery, ScanResult, sweep
from tests.contracts.implementations import database
from tests.support.storage.index_cases import Case, cases, filters, ks
from tests.support.storage.invented import codes
from tests.support.storage.local_store import LocalStore

Pairs = list[tuple[int, int]]
queries_of = st.tuples(st.integers(1, 3), st.integers(0, 99))


@contextmanager
def snapshot_of(case: Case) -> Iterator[LocalSnapshot]:
    with database(case.code_length) as opened:
        index = LocalStore(opened)
        index.append(case.rows)
        index.remove(case.removed)
        with index.snapshot() as snapshot:
            yield snapshot


def answer(found: ScanResult, query: ScanQuery) -> Pairs:
    """(distance, row) of the best rows of the k nearest groups, and of all that tie with the k-th."""
    groups = found.groups if query.group_column else found.rows
    best: dict[int, int] = {}
    for group, distance in zip(groups.tolist(), found.distances.tolist(), strict=True):
        best[group] = min(distance, best.get(group, distance))
    nearest = sorted(best.values())[: query.k]
    triples = zip(found.distances.tolist(), found.rows.tolist(), groups.tolist(), strict=True)
    return sorted((d, row) for d, row, group in triples if nearest and d == best[group] and d <= nearest[-1])


def twin(case: Case, where: Filter, queries: Codes, most: int) -> ScanResult:
    """Every row that is there, passes and is near enough, by a plain loop."""
    distances = [min(int(hamming_distance(query, row.code[None])[0]) for query in queries) for row in case.rows]
    near = [
        number
        for number, row in enumerate(case.rows)
        if row.sop_instance_uid not in case.removed and passes(row, where) and distances[number] <= most
    ]
    chosen = np.array(near, np.int64)
    return ScanResult(chosen, np.array(distances, np.uint16)[chosen], np.empty(0, np.uint32))


def scanned(snapshot: LocalSnapshot, query: ScanQuery, threads: int, *, filter_first: bool = False) -> Pairs:
    found = sweep(snapshot, query, filter_first=filter_first, threads=threads)
    assert found.rows.tolist() == sorted(set(found.rows.tolist()))
    return answer(found, query)


@pytest.mark.parametrize("filter_first", [True, False])
@pytest.mark.parametrize("selective", [0.0, 1.0])
@given(cases(), queries_of, filters(), ks, st.sampled_from([1, 2, 3]), st.sampled_from([20, 256]))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
def test_a_scan_gives_every_row_of_the_answer_in_whichever_order_columns_are_tested(
    selective: float,
    filter_first: bool,
    case: Case,
    seeds: tuple[int, int],
    where: Filter,
    k: int,
    threads: int,
    most: int,
) -> None:
    queries = codes(seeds[0], case.code_length, seed=seeds[1])
    with snapshot_of(case) as snapshot, pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "SELECTIVE", selective)
        query = ScanQuery(queries, k, most, Candidates(where, snapshot))

        found = scanned(snapshot, query, threads, filter_first=filter_first)

    assert found == answer(twin(case, where, queries, most), query)


@given(cases(), queries_of, ks, st.sampled_from(LEVELS), st.sampled_from([1, 2, 3]))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_a_scan_without_filter_counts_each_group_once(
    case: Case, seeds: tuple[int, int], k: int, level: Level, threads: int
) -> None:
    queries = codes(seeds[0], case.code_length, seed=seeds[1])
    with snapshot_of(case) as snapshot:
        groups = 0 if level == Level.IMAGE else snapshot.records.ordinal_bound(level)
        query = ScanQuery(queries, k, case.code_length, None, LEVEL_COLUMN[level], groups)

        found = scanned(snapshot, query, threads)

        expected = twin(case, Filter(), queries, case.code_length)
        labels = snapshot.records.gather(LEVEL_COLUMN[level], expected.rows)
    assert found == answer(ScanResult(expected.rows, expected.distances, labels), query)
