# mypy: untyped-calls-exclude=SimpleITK
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from hashing.images.frames import PixelError
from hashing.images.pixels import decode
from tests.images import image, item, scene, sent

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def shown(dataset: Dataset, frame: int = 0) -> NDArray[np.int64]:
    return sitk.GetArrayFromImage(decode(dataset, frame)).astype(np.int64)


def linear_twin(x: float, center: float, width: float) -> float:
    """PS3.3 C.11.2.1.2.1, as it is written there."""
    if x <= center - 0.5 - (width - 1) / 2:
        return 0
    if x > center - 0.5 + (width - 1) / 2:
        return 255
    return ((x - (center - 0.5)) / (width - 1) + 0.5) * 255


@settings(max_examples=30)
@given(center=st.integers(200, 3900), width=st.integers(100, 5000), slope=st.sampled_from([1, 2, 0.25]))
def test_a_linear_window_is_the_standards_pseudo_code(center: int, width: int, slope: float) -> None:
    dataset = image(RAMP, WindowCenter=center, WindowWidth=width, RescaleSlope=slope, RescaleIntercept=-100)

    picture = shown(dataset)

    expected = [linear_twin(x * slope - 100, center, width) for x in RAMP.ravel().tolist()]
    inside = sum(0 < y < 255 for y in expected) >= 0.01 * len(expected)
    assert not inside or np.abs(picture.ravel() - expected).max() <= 1.001


def test_an_exact_window_and_a_sigmoid_are_as_the_standard_says() -> None:
    window: dict[str, Any] = {"WindowCenter": 2000, "WindowWidth": 1000}

    exact = shown(image(RAMP, VOILUTFunction="LINEAR_EXACT", **window)).ravel()
    sigmoid = shown(image(RAMP, VOILUTFunction="SIGMOID", **window)).ravel()

    assert list(exact[[1500, 1700, 2000, 2500]]) == [0, 51, 128, 255]
    assert list(sigmoid[[0, 1750, 2000, 4000]]) == [0, round(255 / (1 + np.e)), 128, 255]


def test_of_several_windows_the_first_that_shows_something_is_taken() -> None:
    first = image(RAMP, WindowCenter=[1000, 3000], WindowWidth=[500, 500])
    absurd = image(RAMP, WindowCenter=[-9000, 3000], WindowWidth=[1, 500])

    assert (shown(first) == shown(image(RAMP, WindowCenter=1000, WindowWidth=500))).all()
    assert (shown(absurd) == shown(image(RAMP, WindowCenter=3000, WindowWidth=500))).all()


@pytest.mark.parametrize("width", [0, -400, None, ""])
def test_an_impossible_window_is_ignored(width: float | str | None) -> None:
    dataset = image(RAMP, WindowCenter=40, WindowWidth=width)

    assert (shown(dataset) == shown(image(RAMP))).all()


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


def test_padding_is_black_and_does_not_count() -> None:
    pixels = scene(80, 80, 1000).astype(np.int16)
    padded = np.pad(pixels, 40, constant_values=-32000)
    padded[0, :] = -31990

    framed = shown(image(padded, PixelPaddingValue=-32000, PixelPaddingRangeLimit=-31980))
    inverse = image(padded, PixelPaddingValue=-32000, PixelPaddingRangeLimit=-31980)
    inverse.PhotometricInterpretation = "MONOCHROME1"

    assert np.abs(framed[40:120, 40:120] - shown(image(pixels))).max() <= 2  # the percentiles see another sample
    assert (framed[:40] == 0).all()
    assert (shown(inverse)[:40] == 0).all()


def test_an_image_of_padding_alone_is_black() -> None:
    assert not shown(image(np.full((9, 9), 700, np.uint16), PixelPaddingValue=700)).any()


def test_float_pixels_that_are_no_number_are_black() -> None:
    pixels = scene(64, 64, 1000).astype(np.float32) / 1000
    pixels[0, :3] = [np.nan, np.inf, -np.inf]

    picture = shown(image(pixels))

    assert (picture[0, :3] == 0).all()
    assert np.ptp(picture) == 255
    assert not shown(image(np.full((8, 8), np.nan, np.float64))).any()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("data", ["numbers", "words", "bytes"])
def test_a_modality_table_gives_the_values_that_the_window_cuts(syntax: str, data: str) -> None:
    entries = (np.arange(256) ** 2 // 256).astype(np.uint8)
    words = entries.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2")
    forms = {"numbers": entries.tolist(), "words": words.tobytes(), "bytes": entries.tobytes()}
    table = item(LUTDescriptor=[256, 100, 8 if data == "bytes" else 16], ModalityLUTType="US", LUTData=forms[data])
    table["LUTDescriptor"].VR = "US"
    table["LUTData"].VR = "US" if data == "numbers" else "OW"
    pixels = np.arange(50, 450, dtype=np.uint16).reshape(20, 20)

    dataset = image(pixels, syntax, ModalityLUTSequence=[table], WindowCenter=128, WindowWidth=256)

    assert (shown(sent(dataset)) == entries[np.clip(pixels.astype(int) - 100, 0, 255)]).all()


def test_the_table_that_leads_angiography_back_to_intensity_is_not_for_display() -> None:
    pixels = scene(40, 40, 256).astype(np.uint8)
    table = item(LUTDescriptor=[256, 0, 16], LUTData=[value * 16 for value in range(256)])
    table["LUTData"].VR = "US"

    angiogram = image(pixels, Modality="XA", PixelIntensityRelationship="LOG", ModalityLUTSequence=[table])

    assert (shown(angiogram) == pixels).all()


def test_a_voi_table_is_preferred_to_a_window() -> None:
    entries = 4095 - np.arange(4096)
    table = item(LUTDescriptor=[4096, 0, 12], LUTData=entries.tolist())
    table["LUTData"].VR = "US"

    picture = shown(image(RAMP, VOILUTSequence=[table], WindowCenter=2048, WindowWidth=4096))

    assert (picture == np.rint(entries.reshape(64, 64) / 4095 * 255)).all()


@pytest.mark.parametrize("change", [{"LUTDescriptor": [9]}, {"LUTData": []}, {"LUTDescriptor": None}, {"LUTData": b""}])
def test_a_broken_table_is_ignored(change: dict[str, Any]) -> None:
    table = item(**({"LUTDescriptor": [4096, 0, 12], "LUTData": list(range(4096))} | change))
    table["LUTData"].VR = "US"

    picture = shown(image(RAMP, VOILUTSequence=[table], ModalityLUTSequence=[table]))

    assert (picture == shown(image(RAMP))).all()


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


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize(("bits", "colour"), [(8, 200), (16, 51403), (16, 200)])
def test_a_palette_is_looked_up(syntax: str, bits: int, colour: int) -> None:
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    entries = np.array([0, colour, colour // 2, 0], f"{order}u{bits // 8}").tobytes()
    palette: dict[str, Any] = {f"{name}PaletteColorLookupTableData": entries for name in ("Red", "Green", "Blue")}
    palette |= {f"{name}PaletteColorLookupTableDescriptor": [4, 10, bits] for name in ("Red", "Green", "Blue")}
    dataset = image(np.array([[0, 10, 11, 12, 13, 600]], np.uint16), syntax, PhotometricInterpretation="PALETTE COLOR")
    dataset.update(item(**palette))

    picture = shown(sent(dataset))

    assert np.abs(picture - [0, 0, 200, 100, 0, 0]).max() <= 1


def test_a_broken_palette_is_unsupported() -> None:
    with pytest.raises(PixelError) as caught:
        decode(image(RAMP, PhotometricInterpretation="PALETTE COLOR"))

    assert caught.value.reason == "unsupported"
