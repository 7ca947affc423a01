"""Steps through one multi-index, against plain distances."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashing.codes import hamming_distance
from storage.segments.probe import NO_ADDRESSES, probe
from storage.segments.segment_file import Segment
from storage.segments.top_k import ABANDONED, NOTED, ROWS, THRESHOLD, Findings
from tests.indexing import KINDS, invented
from tests.invented import codes
from tests.test_segment_file import written

EVERYTHING = 10**9


def findings(k: int, code_length: int, room: int = 5000) -> Findings:
    state, counts = np.array([code_length, 0, 0, 0, 0]), np.zeros(code_length + 1, np.int64)
    return Findings(k, state, counts, np.empty(room, np.int64), np.empty(room, np.uint16))


def noted(found: Findings) -> dict[int, int]:
    n = found.state[NOTED]
    return dict(zip(found.rows[:n].tolist(), found.distances[:n].tolist(), strict=True))


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
        buckets, question = segment.buckets(NO_ADDRESSES, 0), segment.question(query)
        found, step = findings(k, code_length), 0

        while step <= found.state[THRESHOLD] and step < segment.costs.steps:
            step = probe(buckets, question, found, step, step + 1, EVERYTHING)

            known = noted(found)
            assert len(known) == found.state[NOTED]
            assert all(distances[row - 1000] == distance for row, distance in known.items())
            certain = min(step - 1, int(found.state[THRESHOLD]))
            assert set(np.flatnonzero(distances <= certain) + 1000) <= set(known)

        farthest = np.sort(distances)[k - 1] if k <= n else code_length
        assert found.state[THRESHOLD] == farthest


def searched(segment: Segment, room: int, most_rows: int) -> tuple[int, Findings]:
    found = findings(10, 64, room)
    question = segment.question(np.zeros(1, np.uint64))
    return probe(segment.buckets(NO_ADDRESSES, 0), question, found, 0, segment.costs.steps, most_rows), found


def test_a_search_is_given_up_when_too_many_rows_are_looked_at_or_tie() -> None:
    with written(np.zeros((300, 1), np.uint64), 64) as segment:
        assert searched(segment, room=400, most_rows=EVERYTHING)[0] != ABANDONED
        assert searched(segment, room=299, most_rows=EVERYTHING)[0] == ABANDONED
        step, found = searched(segment, room=400, most_rows=100)

        assert step == ABANDONED
        assert found.state[ROWS] > 100
