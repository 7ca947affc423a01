"""Stored values are shown as a viewing station would show them."""

from typing import Any

import numpy as np
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from tests.support.hashing.images import image, item, scene, sent, shown

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def test_without_a_window_few_bright_pixels_do_not_darken_the_rest() -> None:
    pixels = scene(100, 100, 1000).astype(np.uint16)
    pixels[:2, :10] = 65535

    picture = shown(image(pixels))

    assert np.ptp(picture[2:]) == 255
    assert (picture[:2, :10] == 255).all()


def test_eight_bits_without_a_window_are_shown_as_they_are() -> None:
    pixels = scene(64, 64, 100).astype(np.uint8) + 20

    assert (shown(image(pixels)) == pixels).all()


def test_few_pixels_among_many_equal_ones_are_seen() -> None:
    pixels = np.zeros((500, 500), np.uint16)
    pixels[250, 251] = 7

    picture = shown(image(pixels))

    assert picture[250, 251] == 255
    assert picture.sum() == 255


def test_monochrome1_is_inverted_once() -> None:
    pixels = scene(64, 64, 256).astype(np.uint8)

    inverse = image(255 - pixels, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")

    assert (shown(inverse) == pixels).all()


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 1801, "WindowWidth": 900}])
def test_the_picture_does_not_depend_on_how_its_values_are_stored(window: dict[str, Any]) -> None:
    values = scene(90, 70, 3000)
    plain = image(values.astype(np.uint16), **window)

    signed = image((values - 1024).astype(np.int16), RescaleSlope=1, RescaleIntercept=1024, **window)
    scaled = image((values * 16).astype(np.uint16), RescaleSlope=0.0625, RescaleIntercept=0, **window)
    wide = image(values.astype(np.int32), **window)
    real = image(values.astype(np.float32), **window)
    double = image(values.astype(np.float64), **window)
    negative = image((3000 - values).astype(np.uint16), RescaleSlope=-1, RescaleIntercept=3000, **window)

    for other in (signed, scaled, wide, real, double, negative):
        assert (shown(other) == shown(plain)).all()


def test_a_picture_with_its_whole_range_as_window_is_the_same_in_8_12_and_16_bits() -> None:
    grey = scene(80, 80, 256)

    stored = [
        image(grey.astype(np.uint8), WindowCenter=128, WindowWidth=256),
        image(
            (255 - grey).astype(np.uint8), WindowCenter=128, WindowWidth=256, PhotometricInterpretation="MONOCHROME1"
        ),
        image((grey * 16).astype(np.uint16), WindowCenter=2048, WindowWidth=4096, BitsStored=12),
        image((4095 - grey * 16).astype(np.uint16), WindowCenter=2048, WindowWidth=4096),
        image((grey * 8 - 1024).astype(np.int16), WindowCenter=0, WindowWidth=2048),
        image((grey * 257).astype(np.uint16), WindowCenter=32768, WindowWidth=65536),
    ]
    stored[3].PhotometricInterpretation = "MONOCHROME1"

    assert all((shown(dataset) == grey).all() for dataset in stored)


def test_ct_in_hounsfield_units_has_one_window_whatever_the_file_suggests() -> None:
    hounsfield = np.array([[-2000, -1000, -300, 40, 400, 3000]], np.int16)
    rescale: dict[str, Any] = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}

    picture = shown(image(hounsfield + 1024, WindowCenter=40, WindowWidth=80, **rescale))

    assert list(picture[0]) == [0, 0, 128, 189, 255, 255]


@pytest.mark.parametrize(
    "unlike",
    [
        {"RescaleType": "US"},
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        {"Modality": "MR"},
        {"BitsStored": 10},
    ],
)
def test_values_that_are_no_hounsfield_units_keep_their_own_window(unlike: dict[str, Any]) -> None:
    rescale: dict[str, Any] = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}
    pixels = scene(60, 60, 1000).astype(np.uint16)

    picture = shown(image(pixels, WindowCenter=-500, WindowWidth=600, **(rescale | unlike)))

    assert (picture == shown(image(pixels, WindowCenter=524, WindowWidth=600))).all()


def test_functional_groups_go_before_the_instance_and_the_frames_before_the_shared() -> None:
    shared = item(
        PixelValueTransformationSequence=[item(RescaleSlope=2, RescaleIntercept=10)],
        FrameVOILUTSequence=[item(WindowCenter=900, WindowWidth=500)],
    )
    first, second = item(), item(FrameVOILUTSequence=[item(WindowCenter=4000, WindowWidth=3000)])
    multi = image(np.stack([RAMP, RAMP]), WindowCenter=1, WindowWidth=2000)
    multi.SharedFunctionalGroupsSequence = [shared]
    multi.PerFrameFunctionalGroupsSequence = [first, second]
    rescale: dict[str, Any] = {"RescaleSlope": 2, "RescaleIntercept": 10}

    assert (shown(multi, 0) == shown(image(RAMP, WindowCenter=900, WindowWidth=500, **rescale))).all()
    assert (shown(multi, 1) == shown(image(RAMP, WindowCenter=4000, WindowWidth=3000, **rescale))).all()


def test_colour_is_shown_by_its_luminance_and_grey_stays_as_it_is() -> None:
    grey = scene(40, 40, 256).astype(np.uint8)
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255

    assert (shown(image(np.dstack([grey] * 3))) == grey).all()
    assert (shown(image(red)) == 76).all()
    assert (shown(image(red.astype(np.uint16) * 257)) == 76).all()


def test_luminance_of_ybr_is_its_first_sample() -> None:
    pixels = np.dstack([scene(40, 40, 256), np.full((40, 40), 128), np.full((40, 40), 90)]).astype(np.uint8)

    assert (shown(image(pixels, PhotometricInterpretation="YBR_FULL")) == pixels[..., 0]).all()


@pytest.mark.parametrize("syntax", ["", RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_colour_with_pixel_representation_1_is_unsigned(dtype: str, syntax: str) -> None:
    grey = scene(40, 44, 256)
    pixels = (np.dstack([grey, 255 - grey, grey // 3]) * (257 if dtype == "u2" else 1)).astype(dtype)
    dataset = image(pixels)
    expected = shown(dataset)
    if syntax:
        dataset.compress(syntax)

    dataset.PixelRepresentation = 1

    assert (shown(dataset) == expected).all()


@pytest.mark.parametrize("bits", [32, 64])
def test_colour_of_many_bits_is_shown_by_its_luminance(bits: int) -> None:
    grey = scene(20, 20, 256)
    pixels = np.dstack([grey] * 3).astype(f"u{bits // 8}") << np.array(bits - 8, f"u{bits // 8}")

    assert np.abs(shown(image(pixels)) - grey).max() <= 1


MISSING: list[Any] = ["missing", None, "word", "nan", "1e999"]


@pytest.mark.parametrize("slope", [*MISSING, "0"])
@pytest.mark.parametrize("modality", ["CT", " CT", "CT "])
def test_an_intercept_alone_makes_hounsfield_units(slope: str | None, modality: str) -> None:
    hounsfield = scene(50, 50, 1400) - 1000
    plain = image((hounsfield + 1024).astype(np.uint16), BitsStored=12, Modality="CT", RescaleIntercept=-1024)
    plain.RescaleSlope = 1
    expected = shown(plain)

    half = damaged(plain, "RescaleSlope", slope)
    half.Modality = modality

    assert (shown(half) == expected).all()
    assert np.abs(expected - (hounsfield + 1000) * 255 / 1400).max() <= 0.51


@pytest.mark.parametrize("intercept", MISSING)
def test_a_slope_alone_is_a_slope(intercept: str | None) -> None:
    window: dict[str, Any] = {"WindowCenter": 2000, "WindowWidth": 1000}
    plain = image(scene(50, 50, 1400).astype(np.uint16), RescaleSlope=3, RescaleIntercept=0, **window)
    expected = shown(plain)

    assert (shown(damaged(plain, "RescaleIntercept", intercept)) == expected).all()
    assert (expected != shown(image(scene(50, 50, 1400).astype(np.uint16), **window))).any()


def damaged(dataset: Dataset, keyword: str, value: str | None) -> Dataset:
    """Data set as it is received with a value that may be missing, empty or no number."""
    if value == "missing":
        del dataset[keyword]
        return sent(dataset)
    received = sent(dataset)
    text = b"" if value is None else value.encode()
    received[keyword] = RawDataElement(Tag(tag_for_keyword(keyword) or 0), "DS", len(text), text, 0, False, True)
    return received


@pytest.mark.parametrize("image_type", [["ORIGINAL", "PRIMARY", " LOCALIZER"], ["ORIGINAL", "PRIMARY", "LOCALIZER "]])
def test_spaces_around_an_image_type_mean_nothing(image_type: list[str]) -> None:
    rescale: dict[str, Any] = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}
    pixels = scene(60, 60, 1000).astype(np.uint16)

    projection = image(pixels, ImageType=image_type, WindowCenter=-500, WindowWidth=600, **rescale)

    assert (shown(projection) == shown(image(pixels, WindowCenter=524, WindowWidth=600))).all()


@pytest.mark.parametrize("label", ["MONOCHROME1", " MONOCHROME1", "MONOCHROME1 ", "  MONOCHROME1  "])
def test_spaces_around_monochrome1_mean_nothing(label: str) -> None:
    pixels = scene(64, 64, 256).astype(np.uint8)

    assert (shown(sent(image(255 - pixels, PhotometricInterpretation=label))) == pixels).all()


@pytest.mark.parametrize("modality", ["XA", " XA", "RF "])
def test_spaces_around_a_modality_mean_nothing(modality: str) -> None:
    pixels = scene(40, 40, 256).astype(np.uint8)
    table = item(LUTDescriptor=[256, 0, 16], LUTData=[255 - value for value in range(256)])
    table["LUTData"].VR = "US"

    angiogram = image(pixels, Modality=modality, PixelIntensityRelationship="LOG", ModalityLUTSequence=[table])

    assert (shown(angiogram) == pixels).all()
