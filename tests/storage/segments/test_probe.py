"""Steps through one multi-index, against plain distances."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashing.codes import hamming_distance
from storage.segments.probe import ABANDONED, NO_ADDRESSES, ROWS, probe
from storage.segments.segment_file import Segment
from storage.segments.top_k import Results, new_results, new_top_k
from tests.storage.segments.test_segment_file import written
from tests.support.storage.indexing import KINDS, invented
from tests.support.storage.invented import codes

EVERYTHING = 10**9


def rows_of(results: Results) -> dict[int, int]:
    n = results.size[0]
    return dict(zip(results.rows[:n].tolist(), results.distances[:n].tolist(), strict=True))


@given(
    st.sampled_from([16, 48, 64]),
    st.sampled_from(KINDS),
    st.one_of(st.integers(1, 400), st.integers(1000, 3000)),
    st.sampled_from([1, 7, 100, 1000]),
    st.integers(0, 99),
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_after_each_step_no_row_up_to_its_number_is_missing_and_none_is_found_twice(
    code_length: int, kind: str, n: int, k: int, seed: int
) -> None:
    stored, query = invented(kind, n, code_length, seed), codes(1, code_length, seed + 1)[0]
    distances = hamming_distance(query, stored).astype(int)
    with written(stored, code_length, first_row=1000) as segment:
        buckets, prepared, work = segment.buckets(NO_ADDRESSES, 0), segment.probe_query(query), np.zeros(2, np.int64)
        top_k, results, step = new_top_k(k, code_length, code_length), new_results(5000), 0

        while step <= top_k.threshold[0] and step < segment.costs.steps:
            step = probe(buckets, prepared, top_k, results, work, step, step + 1, EVERYTHING)

            known = rows_of(results)
            assert len(known) == results.size[0]
            assert all(distances[row - 1000] == distance for row, distance in known.items())
            certain = min(step - 1, int(top_k.threshold[0]))
            assert set(np.flatnonzero(distances <= certain) + 1000) <= set(known)

        farthest = np.sort(distances)[k - 1] if k <= n else code_length
        assert top_k.threshold[0] == farthest


def searched(segment: Segment, room: int, max_rows: int) -> tuple[int, int]:
    """The next step, and how many rows were looked at."""
    top_k, work, query = new_top_k(10, 64, 64), np.zeros(2, np.int64), segment.probe_query(np.zeros(1, np.uint64))
    buckets, steps = segment.buckets(NO_ADDRESSES, 0), segment.costs.steps
    return probe(buckets, query, top_k, new_results(room), work, 0, steps, max_rows), int(work[ROWS])


def test_a_search_is_given_up_when_too_many_rows_are_looked_at_or_tie() -> None:
    with written(np.zeros((300, 1), np.uint64), 64) as segment:
        assert searched(segment, room=400, max_rows=EVERYTHING)[0] != ABANDONED
        assert searched(segment, room=299, max_rows=EVERYTHING)[0] == ABANDONED
        step, rows = searched(segment, room=400, max_rows=100)

        assert step == ABANDONED
        assert rows > 100
