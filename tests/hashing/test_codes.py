"""Codes as words."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hashing.codes import CodeLengthError, hamming_distance, pack, prefix, unpack, words

code_lengths = st.integers(16, 256)
bits = code_lengths.flatmap(lambda length: arrays(np.bool_, st.tuples(st.integers(0, 9), st.just(length))))


@settings(deadline=None)
@given(bits)
def test_unpacking_gives_back_what_was_packed(bits: np.ndarray) -> None:
    packed = pack(bits)

    assert packed.dtype == np.uint64
    assert packed.shape == (len(bits), words(bits.shape[1]))
    assert np.array_equal(unpack(packed, bits.shape[1]), bits)


@settings(deadline=None)
@given(bits)
def test_a_bit_lies_in_its_word_and_spare_bits_are_zero(bits: np.ndarray) -> None:
    packed = pack(bits)

    expected = [
        [sum(int(row[i]) << i % 64 for i in range(w * 64, min(w * 64 + 64, len(row)))) for w in range(packed.shape[1])]
        for row in bits
    ]
    assert packed.tolist() == expected


@settings(deadline=None)
@given(bits, st.data())
def test_the_prefix_of_a_code_is_the_code_of_the_first_bits(bits: np.ndarray, data: st.DataObject) -> None:
    shorter = data.draw(st.integers(16, bits.shape[1]))
    packed = pack(bits)

    assert np.array_equal(prefix(packed, shorter), pack(bits[:, :shorter]))
    assert np.array_equal(packed, pack(bits))


@settings(deadline=None)
@given(bits, st.data())
def test_the_distance_counts_differing_bits(bits: np.ndarray, data: st.DataObject) -> None:
    query = data.draw(arrays(np.bool_, (1, bits.shape[1])))

    distances = hamming_distance(pack(query)[0], pack(bits))

    assert distances.dtype == np.uint16
    assert distances.tolist() == [int((row != query[0]).sum()) for row in bits]


@pytest.mark.parametrize("code_length", [0, 15, 257])
def test_a_length_out_of_range_is_refused(code_length: int) -> None:
    with pytest.raises(CodeLengthError) as raised:
        words(code_length)

    assert raised.value.found == code_length


def test_codes_of_another_length_are_refused() -> None:
    packed = pack(np.zeros((2, 64), np.bool_))

    with pytest.raises(CodeLengthError):
        unpack(packed, 65)
    with pytest.raises(CodeLengthError):
        prefix(packed, 128)
    with pytest.raises(CodeLengthError):
        hamming_distance(np.zeros(2, np.uint64), packed)
