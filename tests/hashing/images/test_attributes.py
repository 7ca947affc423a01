"""Attributes are read value by value, and what is not significant is left out."""

from typing import Any

import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from hashing.images.attributes import (
    code_string,
    code_strings,
    first_number,
    frame_attributes,
    numbers,
    shorts,
    whole_number,
)
from hashing.images.frames import quiet
from tests.support.hashing.images import item


def received(tag: int, vr: str | None, value: bytes, *, little: bool = True) -> Dataset:
    """Data set with one element as it comes from a file; no VR is implicit VR."""
    dataset = Dataset()
    dataset.set_original_encoding(vr is None, little)
    dataset[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, vr is None, little)
    return dataset


@pytest.mark.parametrize("vr", ["DS", None])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"1\\2.5 ", [1, 2.5]),
        (b"1\\", [1, None]),
        (b"\\1", [None, 1]),
        (b"1\\auto\\3", [1, None, 3]),
        (b"nan\\2", [None, 2]),
        (b" 7 ", [7]),
        (b"7\0", [7]),
        (b"", [None]),
    ],
)
def test_each_value_of_a_list_is_read_by_itself(text: bytes, expected: list[float | None], vr: str | None) -> None:
    with quiet():
        attributes = frame_attributes(received(0x00281050, vr, text), 0)

    assert numbers(attributes, "WindowCenter") == expected


@pytest.mark.parametrize(
    ("value", "first", "whole"), [(3, 3, 3), ([4, 5], 4, 4), ("x", None, 9), (None, None, 9), (np.inf, None, 9)]
)
def test_the_first_number_is_a_finite_one_or_none(value: Any, first: float | None, whole: int) -> None:
    assert first_number({"key": value}, "key") == first
    assert first_number({}, "key") is None
    assert whole_number(item(Rows=value) if isinstance(value, int) else Dataset(), "Rows", 9) in (whole, 9)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" MR", ("MR",)),
        ("MR ", ("MR",)),
        ("\0MR\0 ", ("MR",)),
        ("mr", ("mr",)),
        (["A ", " B", "", None], ("A", "B", "")),
        (MultiValue(str, [" A", "B "]), ("A", "B")),
        (None, ()),
        ("", ("",)),
    ],
)
def test_spaces_around_code_strings_are_left_out(value: Any, expected: tuple[str, ...]) -> None:
    assert code_strings(value) == expected
    assert code_string(value) == (expected[0] if expected else "")


@pytest.mark.parametrize("vr", ["US", "SS", "OW", None])
@pytest.mark.parametrize("little", [True, False])
def test_integers_of_16_bits_are_patterns_whatever_wrote_them(vr: str | None, little: bool) -> None:
    words = [4096, 64512, 8]
    dataset = received(0x00283002, vr, np.array(words, "<u2" if little else ">u2").tobytes(), little=little)

    assert shorts(dataset, "LUTDescriptor") == words
    assert shorts(dataset, "LUTDescriptor") == words  # pydicom has turned its bytes into values meanwhile
    assert shorts(dataset, "Rows") == []


def test_integers_that_depend_on_a_missing_pixel_representation_are_read() -> None:
    dataset = received(0x00280120, None, b"\x30\xf8")
    dataset.PixelData = b"\0\0"

    assert shorts(dataset, "PixelPaddingValue") == [63536]
    assert numbers(frame_attributes(dataset, 0), "PixelPaddingValue") == [63536]
