"""Compiled loops against plain ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashing.codes import Codes, hamming_distance
from storage.search.kernels.aggregate import aggregate, new_totals
from storage.search.kernels.select import BLOCK, MIN_LISTED, select
from storage.segments.top_k import UNSEEN, TopK, lower, new_results
from tests.support.storage.invented import codes
from tests.support.storage.laid import Laid, nearest, packed_bits

lengths = st.sampled_from([16, 32, 48, 64, 128, 192, 256])
sizes_of = st.lists(st.integers(1, 3 * BLOCK), min_size=1, max_size=3)


def twin(stored: Codes, queries: Codes) -> NDArray[np.int64]:
    least: NDArray[np.int64] = np.min([hamming_distance(query, stored) for query in queries], axis=0).astype(np.int64)
    return least


def selected(laid: Laid, queries: Codes, chosen: TopK, capacity: int) -> list[tuple[int, int, int]]:
    """(row, distance, group) of every result, in as many calls as the capacity needs."""
    parts, position, found = laid.parts(), np.zeros(2, np.int64), []
    while position[0] < len(parts.rows):
        results = new_results(capacity)
        results.groups[:] = 0
        select(parts, queries, None, chosen, results, position)
        found += list(zip(*(column[: results.size[0]].tolist() for column in results[1:]), strict=True))
    return found


@given(
    lengths,
    sizes_of,
    st.integers(1, 3),
    st.integers(1, 900),
    st.sampled_from(["rows", "runs", "table"]),
    st.sampled_from([MIN_LISTED, 3 * MIN_LISTED]),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_select_gives_every_row_of_the_answer(
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
    chosen = nearest(k, code_length, n if kind == "table" else 0)
    laid = Laid(stored, sizes, deleted, groups)

    found = selected(laid, queries, chosen, capacity)

    farthest = reached[k - 1] if k <= len(reached) else code_length
    answer = np.flatnonzero(kept & (expected == best[labels]) & (expected <= farthest))
    rows = [row for row, _, _ in found]
    assert chosen.threshold[0] == farthest
    assert set(answer.tolist()) <= set(rows)
    assert rows == sorted(set(rows))
    assert not set(rows) - set(np.flatnonzero(kept).tolist())
    for row, distance, group in found:
        assert (distance, group) == (expected[row], 0 if groups is None else groups[row])


def test_a_lower_limit_found_elsewhere_leaves_out_what_is_farther_only() -> None:
    stored, queries = codes(1000), codes(1, seed=1)
    expected, chosen = twin(stored, queries), nearest(50, 64)
    laid = Laid(stored, [500, 500])
    select(laid.parts(0, 1), queries, None, chosen, new_results(1000), np.zeros(2, np.int64))

    lower(chosen, 20)
    results = new_results(1000)
    select(laid.parts(1), queries, None, chosen, results, np.zeros(2, np.int64))

    rows, distances = (column[: results.size[0]] for column in results[1:3])
    assert set(np.flatnonzero(expected[500:] <= chosen.threshold[0]) + 500) <= set(rows.tolist())
    assert distances.max(initial=0) <= 20


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
    sums, nearest_each, laid = new_totals(20, 0), new_totals(20, 2), Laid(stored, sizes, deleted, groups)

    for totals in (sums, nearest_each):
        aggregate(laid.parts(), queries, packed_bits(allowed, sizes) if masked else None, totals)

    expected = twin(stored, queries)
    assert sums.sums.tolist() == [int(expected[kept & (groups == g)].sum()) for g in range(20)]
    assert sums.counts.tolist() == [int((kept & (groups == g)).sum()) for g in range(20)]
    for query, nearest_of_groups in zip(queries, nearest_each.nearest, strict=True):
        own = hamming_distance(query, stored)
        assert nearest_of_groups.tolist() == [min(own[kept & (groups == g)], default=UNSEEN) for g in range(20)]


@pytest.mark.parametrize("loop", [select, aggregate])
def test_other_threads_run_while_a_kernel_does(loop: object) -> None:
    assert loop.targetoptions["nogil"]  # type: ignore[attr-defined]
