"""What a header leaves out of the Image Pixel module, or says twice, follows from the rest."""

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from hashing.images.frames import stored_frame
from hashing.images.image_pixel import image_pixel
from hashing.images.pixel_error import PixelError
from tests.support.hashing.images import image, scene

GREY = scene(20, 24, 200).astype(np.uint8)
COLOUR = np.dstack([GREY, GREY[::-1], 255 - GREY])


def without(dataset: Dataset, *keywords: str, empty: bool = False) -> Dataset:
    for keyword in keywords:
        if empty:
            dataset[keyword].value = None
        else:
            del dataset[keyword]
    return dataset


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize(
    "keywords",
    [
        ("SamplesPerPixel",),
        ("PhotometricInterpretation",),
        ("SamplesPerPixel", "PhotometricInterpretation"),
        ("BitsAllocated",),
        ("BitsStored",),
        ("HighBit",),
        ("BitsStored", "HighBit"),
        ("BitsAllocated", "BitsStored", "HighBit"),
        ("PixelRepresentation",),
    ],
)
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_greyscale_is_read_without(keywords: tuple[str, ...], empty: bool, dtype: str) -> None:
    stored = stored_frame(without(image(GREY.astype(dtype)), *keywords, empty=empty))

    assert (stored.pixels == GREY).all()
    assert stored.photometric_interpretation == "MONOCHROME2"


@pytest.mark.parametrize("keyword", ["SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"])
def test_colour_is_read_without(keyword: str) -> None:
    stored = stored_frame(without(image(COLOUR), keyword))

    assert (stored.pixels == COLOUR).all()
    assert stored.photometric_interpretation == "RGB"


@pytest.mark.parametrize("keyword", ["BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "Rows"])
def test_of_two_values_the_first_counts(keyword: str) -> None:
    dataset = image(GREY)
    dataset[keyword].value = [dataset[keyword].value, 3]

    assert (stored_frame(dataset).pixels == GREY).all()


@pytest.mark.parametrize("label", ["MONOCHROME2", " MONOCHROME2", "MONOCHROME2 ", "  MONOCHROME2\0"])
def test_spaces_around_a_code_string_mean_nothing(label: str) -> None:
    assert image_pixel(image(GREY, PhotometricInterpretation=label)).photometric_interpretation == "MONOCHROME2"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"SamplesPerPixel": 4}, "undecodable"),
        ({"SamplesPerPixel": 2}, "undecodable"),
        ({"Rows": 0}, "unsupported"),
        ({"Columns": None}, "unsupported"),
        ({"PhotometricInterpretation": "HSV"}, "undecodable"),
        ({"PixelData": b""}, "no pixel data"),
    ],
)
def test_what_cannot_be_put_right_is_refused_with_a_reason(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(PixelError) as caught:
        image_pixel(image(GREY, **change))

    assert caught.value.reason == reason


def test_pixel_data_that_cannot_be_read_is_not_taken_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = image(GREY)
    monkeypatch.setattr("hashing.images.image_pixel.read", lambda *_: None)

    with pytest.raises(PixelError) as caught:
        image_pixel(dataset)

    assert caught.value.reason == "undecodable"
