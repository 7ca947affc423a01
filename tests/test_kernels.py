"""Compiled loops against plain ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashing.codes import hamming_distance
from storage.kernels import FAR, STRIP, UNSEEN, Selection, Totals, select, strip_distances, total
from tests.invented import codes

shapes = st.tuples(st.sampled_from([16, 32, 48, 64, 128, 256]), st.integers(1, 3 * STRIP), st.integers(1, 3))


def twin(stored: np.ndarray, queries: np.ndarray) -> np.ndarray:
    least: np.ndarray = np.stack([hamming_distance(query, stored) for query in queries]).min(axis=0)
    return least


def planes(stored: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(stored.T)


@given(shapes, st.booleans(), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_a_strip_has_the_least_distance_over_all_queries(shape: tuple[int, int, int], masked: bool, seed: int) -> None:
    code_length, n, n_queries = shape
    stored, queries = codes(n, code_length, seed), codes(n_queries, code_length, seed + 1)
    allowed = np.random.default_rng(seed).random(n) < 0.5 if masked else None
    expected = twin(stored, queries) + (0 if allowed is None else FAR * ~allowed)
    near = np.empty(2 * STRIP, np.uint64)

    for start in range(0, n, STRIP):
        least = strip_distances(planes(stored), queries, allowed, start, near)

        here = expected[start : start + STRIP]
        assert near[: len(here)].tolist() == here.tolist()
        assert least == min(FAR, here.min())


@given(shapes, st.integers(1, 900), st.booleans(), st.booleans(), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_selection_notes_every_row_of_the_answer(
    shape: tuple[int, int, int], k: int, grouped: bool, masked: bool, seed: int
) -> None:
    code_length, n, n_queries = shape
    stored, queries = codes(n, code_length, seed), codes(n_queries, code_length, seed + 1)
    generator = np.random.default_rng(seed)
    allowed = generator.random(n) < 0.5 if masked else None
    groups = generator.integers(0, 1 + n // 3, n, dtype=np.uint32) if grouped else None
    labels = np.arange(n, dtype=np.uint32) if groups is None else groups
    expected = twin(stored, queries).astype(np.int64) + (0 if allowed is None else FAR * ~allowed)
    best = np.full(n, UNSEEN, np.int64)
    np.minimum.at(best, labels, expected)
    reached = np.sort(best[best <= code_length])
    selection = Selection(
        k,
        True,
        np.array([code_length]),
        np.zeros(1, np.int64),
        np.zeros(code_length + 1, np.int64),
        np.full(n, UNSEEN, np.uint16),
    )
    rows, distances = np.empty(n, np.int64), np.empty(n, np.uint16)

    noted = select(planes(stored), queries, allowed, groups, selection, rows, distances)

    farthest = reached[k - 1] if k <= len(reached) else code_length
    answer = np.flatnonzero((expected == best[labels]) & (expected <= farthest))
    assert selection.threshold[0] == farthest
    assert set(answer) <= set(rows[:noted])
    assert (np.diff(rows[:noted]) > 0).all()
    assert distances[:noted].tolist() == expected[rows[:noted]].tolist()


def test_selection_goes_on_from_block_to_block() -> None:
    stored, queries = codes(1000, 64), codes(1, 64, seed=1)
    expected = np.sort(twin(stored, queries))[9]
    counts, best = np.zeros(65, np.int64), np.empty(0, np.uint16)
    selection = Selection(10, True, np.array([64]), np.zeros(1, np.int64), counts, best)
    rows, distances = np.empty(300, np.int64), np.empty(300, np.uint16)

    for start in range(0, 1000, 300):
        select(planes(stored[start : start + 300]), queries, None, None, selection, rows, distances)

    assert selection.threshold[0] == expected


@pytest.mark.parametrize("masked", [False, True])
def test_totals_add_up_by_group(masked: bool) -> None:
    stored, queries = codes(700, 128), codes(2, 128, seed=1)
    groups = np.random.default_rng(2).integers(0, 20, 700, dtype=np.uint32)
    allowed = np.random.default_rng(3).random(700) < 0.5 if masked else None
    kept = np.ones(700, np.bool_) if allowed is None else allowed
    totals, distances = Totals(np.zeros(20, np.int64), np.zeros(20, np.int64)), np.empty(700, np.uint16)

    total(planes(stored), queries, allowed, groups, totals, distances)

    expected = twin(stored, queries)
    assert totals.sums.tolist() == [int(expected[kept & (groups == g)].sum()) for g in range(20)]
    assert totals.counts.tolist() == [int((kept & (groups == g)).sum()) for g in range(20)]
    assert distances.tolist() == np.where(kept, expected, UNSEEN).tolist()


def test_other_threads_run_while_a_kernel_does() -> None:
    assert select.targetoptions["nogil"]  # type: ignore[attr-defined]
    assert total.targetoptions["nogil"]  # type: ignore[attr-defined]
