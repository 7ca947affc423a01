"""Passes over all rows, beside a plain twin."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashing.codes import hamming_distance
from storage.search.each import nearest_each
from storage.search.local import LocalIndex
from storage.search.local_snapshot import LocalSnapshot
from storage.search.scan import nearest
from tests.contracts.implementations import database
from tests.index_cases import Case, cases, ks
from tests.invented import codes

queries_of = st.tuples(st.integers(1, 3), st.integers(0, 99))


@contextmanager
def snapshot_of(case: Case) -> Iterator[LocalSnapshot]:
    with database(case.code_length) as opened:
        index = LocalIndex(opened)
        index.append(case.rows)
        index.remove(case.removed)
        with index.snapshot() as snapshot:
            yield snapshot


@given(cases(), queries_of, ks, st.none() | st.integers(0, 99))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_the_nearest_rows_come_in_order_of_distance_and_row(
    case: Case, asked: tuple[int, int], k: int, seed: int | None
) -> None:
    queries = codes(asked[0], case.code_length, seed=asked[1])
    mask = None if seed is None else np.random.default_rng(seed).random(len(case.rows)) < 0.5
    everything = sorted(
        (min(int(hamming_distance(query, row.code[None])[0]) for query in queries), number)
        for number, row in enumerate(case.rows)
        if row.sop_instance_uid not in case.removed and (mask is None or mask[number])
    )

    with snapshot_of(case) as snapshot:
        for threads in (1, 2, 3):
            found, distances = nearest(snapshot, queries, k, mask, threads=threads)

            assert list(zip(distances.tolist(), found.tolist(), strict=True)) == everything[:k]
        middle = len(case.rows) // 2
        found, distances = nearest(snapshot, queries, k, mask, first_row=middle, maximum_distance=20)

    rest = [pair for pair in everything if pair[1] >= middle and pair[0] <= 20]
    assert list(zip(distances.tolist(), found.tolist(), strict=True)) == rest[:k]


@given(cases(), queries_of, ks, st.sampled_from([1, 2]))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
def test_queries_asked_together_are_answered_as_one_by_one(
    case: Case, asked: tuple[int, int], k: int, threads: int
) -> None:
    queries = codes(2 * asked[0], case.code_length, seed=asked[1])

    with snapshot_of(case) as snapshot:
        together = nearest_each(snapshot, queries, k, threads=threads)

        assert len(together) == len(queries)
        for query, (rows, distances) in zip(queries, together, strict=True):
            alone = nearest(snapshot, query[None], k)
            assert (rows.tolist(), distances.tolist()) == (alone[0].tolist(), alone[1].tolist())
