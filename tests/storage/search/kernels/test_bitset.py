"""Tests of columns, by words and by lists, against plain ones."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashing.codes import hamming_distance
from storage.search.filter import NO_TABLE, one_of
from storage.search.kernels.bitset import Condition, every, keep, rows_of
from storage.search.kernels.select import BLOCK, MAX_LISTED, keep_listed, list_near, new_listing, take_listed
from storage.segments.top_k import new_results
from tests.support.storage.invented import codes
from tests.support.storage.laid import Laid, addresses, nearest, packed_bits

DTYPES: list[type[np.integer[Any]]] = [np.uint8, np.uint16, np.int16, np.int32, np.uint32, np.uint64]
sizes_of = st.lists(st.integers(1, 700), min_size=1, max_size=4)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def conditions(draw: st.DrawFn, dtype: type[np.integer[Any]]) -> tuple[Condition, NDArray[Any]]:
    """A condition, and the values that it means."""
    span = draw(st.sampled_from([20, 250, 2**31 - 1, 2**63 - 1]))
    top = min(span, int(np.iinfo(dtype).max))
    generator = np.random.default_rng(draw(seeds))
    values = generator.integers(0, top, draw(st.sampled_from([0, 1, 2, 7, 40])), endpoint=True).astype(dtype)
    return one_of(values, dtype, wanted=draw(st.booleans())), values


def column_of(
    generator: np.random.Generator, n: int, dtype: type[np.integer[Any]], values: NDArray[Any]
) -> NDArray[Any]:
    """Values of which about half are meant, others lie beside them, and others anywhere."""
    info = np.iinfo(dtype)
    anywhere = generator.integers(info.min, info.max, n, dtype, endpoint=True)
    near = (generator.choice(values, n) + generator.integers(-1, 2, n)).astype(dtype) if values.size else anywhere
    meant = generator.choice(values, n) if values.size else anywhere
    kind = generator.integers(0, 4, n)
    return np.where(kind == 0, anywhere, np.where(kind == 1, near, meant)).astype(dtype)


@given(st.sampled_from(DTYPES).flatmap(conditions), sizes_of, st.sampled_from([1.0, 0.5, 0.02, 0.001]), seeds)
@settings(deadline=None, max_examples=200)
def test_what_is_kept_is_what_passes_however_many_are_asked_about(
    condition: tuple[Condition, NDArray[Any]], sizes: list[int], share: float, seed: int
) -> None:
    asked, values = condition
    generator, n, dtype = np.random.default_rng(seed), sum(sizes), values.dtype.type
    column = column_of(generator, n, dtype, values)
    parts = np.split(column, np.cumsum(sizes)[:-1])
    before = np.repeat(generator.random(-(-n // 40)) < share, 40)[:n] if seed % 2 else generator.random(n) < share
    passing = np.isin(column, values) == asked.wanted
    counts, where, bits = np.array(sizes), addresses(parts), packed_bits(before, sizes)

    keep(counts, where, asked, bits)
    listing, position, found = new_listing(MAX_LISTED), np.zeros(2, np.int64), []
    laid, query = Laid(np.zeros((n, 1), np.uint64), sizes), np.zeros((1, 1), np.uint64)
    while position[0] < len(sizes):
        some = list_near(laid.parts(), query, 0, packed_bits(before, sizes), MAX_LISTED, listing, position)
        left = keep_listed(listing, some, where, asked)
        found += list(zip(listing.parts[:left].tolist(), listing.offsets[:left].tolist(), strict=True))

    starts = np.cumsum([0, *sizes[:-1]])
    expected = np.flatnonzero(before & passing)
    assert bits.tolist() == packed_bits(before & passing, sizes).tolist()
    assert rows_of(starts, counts, bits).tolist() == expected.tolist()
    assert [int(starts[part]) + at for part, at in found] == expected.tolist()


@given(st.sampled_from([0, 1, 63, 64, 65, 1000]))
@settings(deadline=None)
def test_every_row_has_a_bit_and_no_other(n: int) -> None:
    assert rows_of(np.array([5]), np.array([n]), every(np.array([n]))).tolist() == list(range(5, 5 + n))


def test_more_rows_are_listed_than_there_is_room_for_in_several_calls() -> None:
    sizes = [MAX_LISTED + 100, 3, MAX_LISTED]
    listing, position, found = new_listing(MAX_LISTED), np.zeros(2, np.int64), []
    laid, query = Laid(np.zeros((sum(sizes), 1), np.uint64), sizes), np.zeros((1, 1), np.uint64)

    while position[0] < len(sizes):
        bits = every(np.array(sizes))
        some = list_near(laid.parts(), query, 0, bits, MAX_LISTED, listing, position)
        found += list(zip(listing.parts[:some].tolist(), listing.offsets[:some].tolist(), strict=True))

    assert found == [(part, at) for part, size in enumerate(sizes) for at in range(size)]


@given(
    st.sampled_from([16, 64, 128, 192, 256]),
    st.lists(st.integers(1, 6 * BLOCK), min_size=1, max_size=3),
    st.integers(1, 3),
    st.integers(1, 60),
    st.booleans(),
    st.booleans(),
    st.sampled_from([BLOCK, 3 * BLOCK, MAX_LISTED]),
    seeds,
)
@settings(deadline=None)
def test_rows_listed_within_the_threshold_and_taken_hold_the_answer(
    code_length: int, sizes: list[int], n_queries: int, k: int, grouped: bool, by_bits: bool, most: int, seed: int
) -> None:
    n, generator = sum(sizes), np.random.default_rng(seed)
    stored, queries = codes(n, code_length, seed), codes(n_queries, code_length, seed + 1)
    deleted, values = generator.random(n) < 0.1, generator.integers(0, 4, n, np.uint8)
    groups = (np.arange(n) // 3).astype(np.uint32) if grouped else None
    laid, condition = Laid(stored, sizes, deleted, groups), Condition(np.ones(2, np.uint8), NO_TABLE, values[:0], True)
    columns = addresses(split := np.split(values, np.cumsum(sizes)[:-1]))
    expected = np.min([hamming_distance(query, stored) for query in queries], axis=0).astype(np.int64)
    chosen, listing, position, room = (
        nearest(k, code_length),
        new_listing(MAX_LISTED),
        np.zeros(2, np.int64),
        new_results(MAX_LISTED),
    )
    found: list[tuple[int, int]] = []

    while position[0] < len(split):
        limit, bits = int(chosen.threshold[0]), packed_bits(values == 1, sizes) if by_bits else None
        left = list_near(laid.parts(), queries, limit, bits, most, listing, position)
        if not by_bits:
            left = keep_listed(listing, left, columns, condition)
        room.size[0] = 0
        take_listed(laid.parts(), listing, left, chosen, room)
        found += list(zip(*(column[: room.size[0]].tolist() for column in room[1:3]), strict=True))

    kept = np.flatnonzero(~deleted & (values == 1))
    label = kept // 3 if grouped else kept
    best = np.full(n, code_length + 1)
    np.minimum.at(best, label, expected[kept])
    reached = np.sort(best[best <= code_length])
    farthest = reached[k - 1] if k <= reached.size else code_length
    answer = kept[(expected[kept] == best[label]) & (expected[kept] <= farthest)]
    assert chosen.threshold[0] == farthest
    assert set(answer.tolist()) <= {row for row, _ in found} <= set(kept.tolist())
    assert all(distance == expected[row] for row, distance in found)
    assert [row for row, _ in found] == sorted(row for row, _ in found)


@pytest.mark.parametrize("loop", [keep, list_near, keep_listed, take_listed])
def test_other_threads_run_while_a_loop_does(loop: Any) -> None:
    assert loop.targetoptions["nogil"]
