"""Rows sorted into buckets, against a plain sort."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hashing.codes import unpack
from storage.segments.sorting import sort_into_buckets
from storage.segments.substrings import lookup
from tests.support.storage.invented import codes


@given(
    st.sampled_from([16, 64, 128]),
    st.integers(0, 400),
    st.integers(1, 200),
    st.integers(1, 13),
    st.integers(0, 3),
    st.integers(1, 500),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=150)
def test_buckets_hold_their_rows_in_row_order(
    code_length: int, n: int, block: int, width: int, shift: int, different: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    stored = codes(different, code_length, seed)[generator.integers(0, different, n)]
    bits = generator.permutation(code_length)[: width + shift].tolist()
    table = lookup(bits, stored.shape[1])

    found = sort_into_buckets(
        lambda: (np.ascontiguousarray(stored[i : i + block].T) for i in range(0, n, block)),
        n,
        table,
        shift,
        width,
    )

    weights = 1 << np.arange(len(bits))
    gathered = (unpack(stored, code_length)[:, bits] * weights).sum(axis=1)
    keys = gathered >> shift
    order = np.argsort(keys, kind="stable")
    assert found.rows.tolist() == order.tolist()
    assert found.gathered.tolist() == gathered[order].tolist()
    assert found.offsets.tolist() == np.searchsorted(keys[order], np.arange((1 << width) + 1)).tolist()
