"""Packed starts of buckets, beside the plain ones."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.jit import LINE
from storage.segments.starts import A_LINE, MOST, lines_of, look_up, pack

sizes = st.one_of(st.integers(0, 9), st.integers(MOST - 2, MOST + 2), st.sampled_from([65_535, 65_536, 1 << 20]))


@given(st.lists(sizes, min_size=1, max_size=4 * A_LINE), st.integers(0, 5), st.data())
@settings(deadline=None)
def test_every_bucket_is_found_where_it_was(counts: list[int], told: int, data: st.DataObject) -> None:
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32)
    asked = data.draw(st.lists(st.integers(0, len(counts) - 1), min_size=1, max_size=64))
    before, bounds = 3 * LINE, np.empty((2, 64), np.uint64)

    lines, beyond = pack(offsets, told)
    everything = np.concatenate([np.full(before, ~np.uint64(0)), lines])
    look_up(everything, before, np.array(asked, np.uint64), len(asked), np.pad(beyond, (told, 0)), bounds)

    found = [(int(start), int(end)) for start, end in bounds[:, : len(asked)].T]
    assert found == [list(pairwise(offsets.tolist()))[bucket] for bucket in asked]


@given(st.lists(st.integers(0, MOST - 1), min_size=1, max_size=4 * A_LINE))
@settings(deadline=None)
def test_sixty_buckets_take_one_line_while_none_holds_many(counts: list[int]) -> None:
    lines, beyond = pack(np.concatenate([[0], np.cumsum(counts)]).astype(np.uint32), 0)

    assert lines.size == lines_of(len(counts)) * LINE == -(-len(counts) // 60) * 8
    assert beyond.size == 0
