"""Many queries over one tile after another, by counting and by table, against a plain loop."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core import config
from numpy.typing import NDArray

from hashing.codes import Codes, hamming_distance, pack
from storage.jit import kernel
from storage.search.kernels.nibbles import (
    ENTRIES,
    GROUP,
    MOST,
    PLANES,
    TOGETHER,
    aligned,
    is_quicker,
    look_up,
    split,
    tables,
)
from storage.search.kernels.state import Each, Parts, new_each
from storage.search.kernels.tiles import select_each, select_each_by_table
from tests.invented import codes
from tests.laid import Laid

Look = Callable[[Parts, Codes, int, Each, NDArray[np.int64]], None]
TILE = 512
lengths = st.sampled_from([16, 32, 48, 64, 128, 192, 256])
sizes_of = st.lists(st.integers(1, 2 * TILE), min_size=1, max_size=3)
by_table = pytest.mark.skipif(not is_quicker(), reason="this processor counts bits in vectors, or shuffles no bytes")


def count(parts: Parts, queries: Codes, k: int, each: Each, place: NDArray[np.int64]) -> None:
    select_each(parts, queries, TILE - 12, k, each, place)  # a tile may end anywhere


def by_tables(parts: Parts, queries: Codes, k: int, each: Each, place: NDArray[np.int64]) -> None:
    limits = np.minimum(each.thresholds[:, 0], MOST).astype(np.uint8)
    room = aligned(TILE * queries.shape[1] * PLANES), np.append(limits, np.zeros(TOGETHER - 1, np.uint8))
    select_each_by_table(parts, queries, tables(queries), *room, k, each, place)


def found(
    look: Look, laid: Laid, queries: Codes, k: int, code_length: int, capacity: int
) -> list[list[tuple[int, int]]]:
    """(row, distance) of everything noted for each query, in as many calls as the capacity asks for."""
    m, place = len(queries), np.zeros(2, np.int64)
    each = new_each(m, code_length, capacity)
    answers: list[list[tuple[int, int]]] = [[] for _ in queries]
    parts = laid.parts()
    while place[0] < parts.rows.size:
        look(parts, queries, k, each, place)
        for answer, rows, distances, (n,) in zip(answers, each.rows, each.distances, each.noted, strict=True):
            answer += zip(rows[:n].tolist(), distances[:n].tolist(), strict=True)
        each.noted[:] = 0
    return answers


def plain(distances: NDArray[np.int64], kept: NDArray[np.bool_], k: int, code_length: int) -> list[tuple[int, int]]:
    """Every row that is among the k nearest of those up to it."""
    counts, noted = np.zeros(code_length + 1, np.int64), []
    for row in np.flatnonzero(kept).tolist():
        if counts[: distances[row] + 1].sum() < k:
            counts[distances[row]] += 1
            noted.append((row, int(distances[row])))
    return noted


@pytest.mark.parametrize("look", [count, pytest.param(by_tables, marks=by_table)])
@given(
    lengths,
    sizes_of,
    st.integers(1, 9),
    st.integers(1, 300),
    st.sampled_from([TILE, 3 * TILE]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=40)
def test_many_queries_are_answered_as_a_plain_loop_answers_each(
    look: Look, code_length: int, sizes: list[int], m: int, k: int, capacity: int, alike: bool, seed: int
) -> None:
    n = sum(sizes)
    stored, queries = codes(n, code_length, seed), codes(m, code_length, seed + 1)
    if alike:  # every distance is 0 or all bits
        bits = np.random.default_rng(seed).random((1, code_length)) < 0.5
        stored, queries = pack(np.where(np.arange(n)[:, None] % 3, bits, ~bits)), np.repeat(pack(bits), m, axis=0)
    deleted = np.random.default_rng(seed).random(n) < 0.1

    answers = found(look, Laid(stored, sizes, deleted), queries, k, code_length, capacity)

    for query, answer in zip(queries, answers, strict=True):
        assert answer == plain(hamming_distance(query, stored).astype(np.int64), ~deleted, k, code_length)


@kernel
def _group(codes: Codes, nibbles: NDArray[np.uint8]) -> None:
    for w in range(codes.shape[0]):
        split(codes[w], 0, nibbles, w * PLANES * GROUP)


@kernel
def _near(
    table: NDArray[np.uint8], nibbles: NDArray[np.uint8], planes: int, limits: NDArray[np.uint8], near: Codes
) -> int:
    return look_up(table, 0, nibbles, 0, planes, limits, 0, near)  # type: ignore[no-any-return]


@by_table
@given(st.sampled_from([1, 2, 3, 4]), st.integers(0, 255), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_looking_up_tells_which_of_64_rows_are_within_the_limits(words: int, limit: int, seed: int) -> None:
    stored, queries = codes(GROUP, 64 * words, seed), codes(TOGETHER, 64 * words, seed + 1)
    nibbles, near = aligned(GROUP * words * PLANES), np.empty(TOGETHER, np.uint64)
    limits = np.array([limit, 255 - limit, 32 * words - 1, 255], np.uint8)

    _group(np.ascontiguousarray(stored.T), nibbles)
    joined = _near(tables(queries), nibbles, words * PLANES, limits, near)

    for nibble in range(words * PLANES):
        plane = (stored[:, nibble // PLANES] >> np.uint64(4 * (nibble % PLANES))) & np.uint64(ENTRIES - 1)
        assert nibbles[nibble * GROUP : (nibble + 1) * GROUP].tolist() == plane.tolist()
    for query, most, word in zip(queries, limits, near.tolist(), strict=True):
        assert [word >> row & 1 for row in range(GROUP)] == (hamming_distance(query, stored) <= most).tolist()
    assert joined == np.bitwise_or.reduce(near)


def test_queries_that_fill_up_the_last_four_find_nothing() -> None:
    for words in (1, 2, 3, 4):
        n = words * PLANES * ENTRIES
        assert tables(codes(5, 64 * words)).size == 8 * n
        assert 0 < tables(codes(5, 64 * words))[5 * n :: ENTRIES].reshape(3, -1).sum(axis=1).max() <= MOST


@pytest.mark.parametrize(
    ("features", "expected"),
    [("", False), ("+avx2,+popcnt", True), ("+avx2,+avx512vpopcntdq", False), ("-avx2", False)],
)
def test_tables_are_for_processors_that_shuffle_bytes_but_count_none_in_vectors(
    monkeypatch: pytest.MonkeyPatch, features: str, expected: bool
) -> None:
    monkeypatch.setattr(config, "CPU_FEATURES", features)

    assert is_quicker() == expected


@pytest.mark.parametrize("loop", [select_each, select_each_by_table])
def test_other_threads_run_while_a_loop_does(loop: object) -> None:
    assert loop.targetoptions["nogil"]  # type: ignore[attr-defined]
