"""Bits shared out to substrings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashing.codes import pack, unpack, words
from storage.segments.substrings import MAX_WIDTH, Partition, balanced, lookup
from tests.support.storage.invented import codes

lengths = st.sampled_from([16, 32, 48, 64, 100, 128, 256])


@given(lengths, st.integers(0, 10**9), st.integers(0, 99))
@settings(deadline=None)
def test_every_bit_is_in_one_substring_of_about_the_width_that_gives_one_row_a_bucket(
    code_length: int, rows: int, seed: int
) -> None:
    partition = balanced(codes(50, code_length, seed), code_length, rows)

    assert sorted(partition.order) == list(range(code_length))
    assert np.ptp(partition.widths) <= 1
    assert max(partition.widths) <= min(MAX_WIDTH, max(4, np.ceil(np.log2(max(rows, 2)))))
    assert (np.bitwise_or.reduce(partition.masks) == pack(np.ones((1, code_length), np.bool_))[0]).all()


def test_bits_that_are_equal_lie_in_different_substrings() -> None:
    bits = np.random.default_rng(0).random((1000, 24)) < 0.5
    bits[:, 8:16] = bits[:, :8]

    partition = balanced(pack(np.concatenate([bits, bits[:, ::-1]], axis=1)), 48, 2**24)

    place = {bit: number for number, substring in enumerate(partition.substrings) for bit in substring}
    assert len(partition.substrings) == 2
    assert all(place[bit] != place[bit + 8] for bit in range(8))


def test_bits_without_information_are_shared_out_evenly() -> None:
    bits = np.random.default_rng(0).random((1000, 64)) < 0.5
    bits[:, ::2] = False

    partition = balanced(pack(bits), 64, 2**16)

    assert [sum(bit % 2 for bit in substring) for substring in partition.substrings] == [8, 8, 8, 8]


@given(lengths, st.data())
@settings(deadline=None)
def test_the_table_gathers_the_bits_it_was_made_for(code_length: int, data: st.DataObject) -> None:
    bits = data.draw(st.lists(st.integers(0, code_length - 1), max_size=64, unique=True))
    code = codes(1, code_length, seed=data.draw(st.integers(0, 99)))
    octets = np.ascontiguousarray(code, "<u8").view(np.uint8)[0]

    gathered = np.bitwise_or.reduce(lookup(bits, words(code_length))[np.arange(octets.size), octets])

    expected = unpack(code, code_length)[0, bits]
    assert int(gathered) == sum(1 << place for place, bit in enumerate(expected) if bit)


@pytest.mark.parametrize("substrings", [((0, 1), (1, 2)), ((0, 1),), ((0, 1, 2, 3),)])
def test_substrings_that_are_no_partition_are_refused(substrings: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="each of 3 bits"):
        Partition(3, substrings)


def test_a_substring_too_wide_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 24"):
        Partition(25, (tuple(range(25)),))
