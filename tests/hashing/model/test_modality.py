"""Bits that come from Modality (0008,0060)."""

from itertools import combinations

import numpy as np
import pytest

from hashing.model.modality import joined, learned_length
from hashing.model.model_file import CODE_LENGTHS

EVERYTHING = ("DX", "XA", "CT", "MR", "US", "PT", "ES", "OT")


@pytest.mark.parametrize("code_length", CODE_LENGTHS)
def test_families_differ_in_an_eighth_or_a_quarter_of_all_bits(code_length: int) -> None:
    same = np.ones((len(EVERYTHING), learned_length(max(CODE_LENGTHS))), np.float32)

    bits = joined(same, EVERYTHING)[:, :code_length] > 0

    distances = {int((one != other).sum()) for one, other in combinations(bits, 2)}
    assert distances == {code_length // 8, code_length // 4}


def test_three_of_four_bits_are_learned_and_keep_their_order() -> None:
    learned = np.arange(96, dtype=np.float32)[None]

    relaxed = joined(learned, ["CT"])

    places = np.arange(128) % 4 != 3
    assert np.array_equal(relaxed[:, places], learned)


@pytest.mark.parametrize(
    ("one", "other"), [("CR", "DX"), ("MG", "RG"), ("RF", "XA"), ("", "OT"), ("OT", "ct"), ("CT", " CT"), ("MR", "MR ")]
)
def test_modalities_of_one_family_have_the_same_bits(one: str, other: str) -> None:
    learned = np.zeros((2, 12), np.float32)

    first, second = joined(learned, [one, other])

    assert np.array_equal(first, second)


def test_each_image_needs_its_modality() -> None:
    with pytest.raises(ValueError, match="1 modalities for 2 images"):
        joined(np.zeros((2, 12), np.float32), ["CT"])
