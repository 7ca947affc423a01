"""Compiled loops against plain ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashing.codes import Codes, hamming_distance
from storage.search.kernels.distance import BOUND_ROWS, LEAST_BOUND, STRETCH, STRIP, bound
from storage.search.kernels.mean import total
from storage.search.kernels.select import new_listing, select
from storage.search.kernels.state import UNSEEN, Selection, Totals, lower
from tests.invented import codes
from tests.laid import Laid, notes, packed_bits, selection

lengths = st.sampled_from([16, 32, 48, 64, 128, 192, 256])
sizes_of = st.lists(st.integers(1, 2 * STRIP), min_size=1, max_size=3)


def twin(stored: Codes, queries: Codes) -> NDArray[np.int64]:
    least: NDArray[np.int64] = np.min([hamming_distance(query, stored) for query in queries], axis=0).astype(np.int64)
    return least


def noted(laid: Laid, queries: Codes, chosen: Selection, capacity: int) -> list[tuple[int, int, int]]:
    """(row, distance, group) of everything noted, in as many calls as the capacity asks for."""
    parts, place, room, found = laid.parts(), np.zeros(2, np.int64), notes(capacity), []
    listing = new_listing()
    while place[0] < len(parts.rows):
        n = select(parts, queries, chosen, listing, room, 0, place)
        found += list(zip(*(each[:n].tolist() for each in room), strict=True))
    return found


@given(
    lengths,
    sizes_of,
    st.integers(1, 3),
    st.integers(1, 900),
    st.sampled_from(["rows", "runs", "table"]),
    st.sampled_from([STRIP, 5 * STRIP]),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_selection_notes_every_row_of_the_answer(
    code_length: int, sizes: list[int], n_queries: int, k: int, kind: str, capacity: int, seed: int
) -> None:
    n, generator = sum(sizes), np.random.default_rng(seed)
    stored, queries = codes(n, code_length, seed), codes(n_queries, code_length, seed + 1)
    deleted = generator.random(n) < 0.1
    labels = generator.integers(0, 1 + n // 3, n, dtype=np.uint32) if kind == "table" else np.arange(n) // 3
    groups = None if kind == "rows" else labels.astype(np.uint32)
    labels = np.arange(n) if groups is None else groups
    expected, kept = twin(stored, queries), ~deleted
    best = np.full(n, UNSEEN, np.int64)
    np.minimum.at(best, labels[kept], expected[kept])
    reached = np.sort(best[best <= code_length])
    chosen = selection(k, code_length, n if kind == "table" else 0, keep_ties=True)
    laid = Laid(stored, sizes, deleted, groups)

    found = noted(laid, queries, chosen, capacity)

    farthest = reached[k - 1] if k <= len(reached) else code_length
    answer = np.flatnonzero(kept & (expected == best[labels]) & (expected <= farthest))
    rows = [row for row, _, _ in found]
    assert chosen.threshold[0] == farthest
    assert set(answer.tolist()) <= set(rows)
    assert rows == sorted(set(rows))
    assert not set(rows) - set(np.flatnonzero(kept).tolist())
    for row, distance, group in found:
        assert (distance, group) == (expected[row], 0 if groups is None else groups[row])


@given(
    lengths,
    st.sampled_from([STRETCH - 1, STRETCH, STRETCH + 1, STRETCH + STRIP + 1, 2 * STRETCH + 65]),
    st.integers(1, 2000),
    st.sampled_from([STRIP, 5 * STRIP]),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=12)
def test_selection_goes_over_stretch_after_stretch(code_length: int, n: int, k: int, capacity: int, seed: int) -> None:
    stored, query = codes(n, code_length, seed), codes(1, code_length, seed + 1)
    chosen, expected = selection(k, code_length, keep_ties=True), twin(stored, query)

    found = noted(Laid(stored, [n]), query, chosen, capacity)

    farthest = np.partition(expected, k - 1)[k - 1]
    rows = [row for row, _, _ in found]
    assert chosen.threshold[0] == farthest
    assert set(np.flatnonzero(expected <= farthest).tolist()) <= set(rows)
    assert rows == sorted(rows)
    assert all(distance == expected[row] for row, distance, _ in found)


@given(lengths, st.integers(1, 6000), st.integers(1, 3), st.integers(1, 500), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_the_nearest_lie_within_the_first_bound_and_it_is_no_farther_than_it_must(
    code_length: int, n: int, n_queries: int, k: int, seed: int
) -> None:
    stored, queries = codes(n, code_length, seed), codes(n_queries, code_length, seed + 1)
    deleted = np.random.default_rng(seed).random(n) < 0.1
    looked_at, laid = min(n, max(LEAST_BOUND, BOUND_ROWS * k)), Laid(stored, [n], deleted)

    found = bound(laid.parts(), queries, k)

    left = np.sort(twin(stored, queries)[~deleted])
    assert found >= (left[k - 1] if k <= left.size else code_length)
    wanted = k + deleted[:looked_at].sum()
    first = np.sort(twin(stored[:looked_at], queries[:1]))
    assert found == (first[wanted - 1] if wanted <= looked_at else UNSEEN)


def test_a_lower_limit_found_elsewhere_leaves_out_what_is_farther_only() -> None:
    stored, queries = codes(1000), codes(1, seed=1)
    expected, chosen = twin(stored, queries), selection(50, 64)
    laid = Laid(stored, [500, 500])
    first, room = laid.parts(0, 1), notes(1000)
    select(first, queries, chosen, new_listing(), room, 0, np.zeros(2, np.int64))

    lower(chosen, 20)
    n = select(laid.parts(1), queries, chosen, new_listing(), room, 0, np.zeros(2, np.int64))

    assert set(np.flatnonzero(expected[500:] < chosen.threshold[0] + 1) + 500) <= set(room.rows[:n].tolist())
    assert room.distances[:n].max(initial=0) <= 20


@pytest.mark.parametrize("apart", [0, 100, 300])
@pytest.mark.parametrize("masked", [False, True])
def test_totals_add_up_by_group(masked: bool, apart: int) -> None:
    stored, queries, sizes = codes(1500, 128), codes(2, 128, seed=1), [700, 800]
    generator = np.random.default_rng(2)
    groups = (
        generator.integers(0, 20, 1500, dtype=np.uint32) if not apart else np.arange(1500, dtype=np.uint32) // apart
    )
    allowed, deleted = generator.random(1500) < 0.5, generator.random(1500) < (0.001 if apart else 0.1)
    allowed[:400] |= bool(apart)
    kept = ~deleted & (allowed if masked else True)
    totals, laid = Totals(np.zeros(20, np.int64), np.zeros(20, np.int64)), Laid(stored, sizes, deleted, groups)

    total(laid.parts(), queries, packed_bits(allowed, sizes) if masked else None, totals)

    expected = twin(stored, queries)
    assert totals.sums.tolist() == [int(expected[kept & (groups == g)].sum()) for g in range(20)]
    assert totals.counts.tolist() == [int((kept & (groups == g)).sum()) for g in range(20)]


@pytest.mark.parametrize("loop", [select, total])
def test_other_threads_run_while_a_kernel_does(loop: object) -> None:
    assert loop.targetoptions["nogil"]  # type: ignore[attr-defined]
