"""Padding is black and does not count, however its value is written."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.support.hashing.images import image, scene, sent, shown

VALUE, LIMIT = Tag(0x0028, 0x0120), Tag(0x0028, 0x0121)


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


def padded(padding: int, dtype: str, **attributes: Any) -> tuple[NDArray[np.bool_], Dataset]:
    pixels = scene(80, 80, 1000 if np.dtype(dtype).itemsize > 1 else 100)
    outside = np.hypot(*(np.indices((80, 80)) - 40)) > 30
    return outside, image(np.where(outside, padding, pixels).astype(dtype), **attributes)


@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize(
    ("dtype", "padding", "writings"),
    [
        ("u2", 63536, [("US", 63536), ("SS", -2000)]),
        ("u2", 65535, [("US", 65535), ("SS", -1)]),
        ("u2", 32768, [("US", 32768), ("SS", -32768)]),
        ("i2", -2000, [("US", 63536), ("SS", -2000)]),
        ("i2", -32768, [("US", 32768), ("SS", -32768)]),
        ("u1", 255, [("US", 255), ("SS", 255)]),
        ("i1", -1, [("US", 255), ("SS", -1)]),
        ("u4", 63536, [("US", 63536), ("SS", -2000)]),
        ("i4", -2000, [("US", 63536), ("SS", -2000), ("SL", -2000)]),
        ("u4", 4294967295, [("UL", 4294967295), ("SL", -100000)][:1]),
    ],
)
def test_the_bit_pattern_of_a_padding_value_counts(
    modality: str, syntax: str, dtype: str, padding: int, writings: list[tuple[str, int]]
) -> None:
    rescale: dict[str, Any] = {"Modality": modality, "RescaleSlope": 1, "RescaleIntercept": -1024}
    big = np.dtype(dtype).newbyteorder(">")
    for vr, value in writings:
        outside, dataset = padded(padding, dtype, **rescale)
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, dtype).astype(big).tobytes()
        dataset.add(DataElement(VALUE, vr, value))
        if syntax == ImplicitVRLittleEndian and vr in ("UL", "SL"):
            continue  # nothing says so

        picture = shown(sent(dataset))

        assert (picture[outside] == 0).all()
        assert np.ptp(picture[~outside]) > 80


@pytest.mark.parametrize("vrs", [("US", "US"), ("SS", "SS"), ("US", "SS"), ("SS", "US")])
@pytest.mark.parametrize("dtype", ["u2", "i2"])
def test_a_range_of_padding_is_a_range_of_patterns(vrs: tuple[str, str], dtype: str) -> None:
    pixels = scene(80, 80, 1000)
    pixels[:20] = -2000 - np.arange(80) % 11
    dataset = image((pixels & 0xFFFF).astype(np.uint16).view(dtype))
    for tag, vr, value in ((VALUE, vrs[0], -2010), (LIMIT, vrs[1], -2000)):
        dataset.add(DataElement(tag, vr, value if vr == "SS" else value + 65536))

    picture = shown(dataset)

    assert (picture[:20] == 0).all()
    assert np.ptp(picture[20:]) == 255


@pytest.mark.parametrize("missing", ["PixelRepresentation", None])
def test_padding_is_known_without_pixel_representation(missing: str | None) -> None:
    outside, dataset = padded(63536, "u2", PixelPaddingValue=63536)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset["PixelPaddingValue"].VR = "US"
    if missing:
        del dataset[missing]

    assert (shown(sent(dataset))[outside] == 0).all()


@pytest.mark.parametrize("attribute", ["FloatPixelPadding", "DoubleFloatPixelPadding"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("value", [-9999.0, 0.1, -3.4028234663852886e38, 1e30])
def test_float_padding_is_like_nan(attribute: str, dtype: str, value: float) -> None:
    pixels = (scene(70, 70, 1000) / 500 - 1).astype(dtype)
    pixels[(pixels > 0.09) & (pixels < 0.11)] = 0.2
    without, with_value = pixels.copy(), pixels.copy()
    without[:20], with_value[:20] = np.nan, value

    padding: dict[str, Any] = {f"{attribute}Value": value}
    picture = shown(image(with_value, **padding))

    assert (picture == shown(image(without))).all()
    assert (picture[:20] == 0).all()
    assert np.ptp(picture) == 255


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("value", "limit"), [(-9999.0, -5000.0), (-5000.0, -9999.0), (float("-inf"), -5000.0)])
def test_a_range_of_float_padding_is_like_nan(dtype: str, value: float, limit: float) -> None:
    pixels = (scene(70, 70, 1000) / 500 - 1).astype(dtype)
    without, with_value = pixels.copy(), pixels.copy()
    without[:20], with_value[:20] = np.nan, np.linspace(-9999, -5000, 70)
    attribute = "FloatPixelPadding" if dtype == "f4" else "DoubleFloatPixelPadding"

    padding: dict[str, Any] = {f"{attribute}Value": value, f"{attribute}RangeLimit": limit}
    picture = shown(image(with_value, **padding))

    assert (picture == shown(image(without))).all()


def test_padding_that_is_nan_is_no_other_padding() -> None:
    pixels = (scene(70, 70, 1000) / 500 - 1).astype(np.float32)
    pixels[:20] = np.nan

    assert (shown(image(pixels, FloatPixelPaddingValue=np.nan)) == shown(image(pixels))).all()


def test_padding_does_not_hide_the_little_that_is_beside_it() -> None:
    pixels = np.full((300, 300), 60000, np.uint16)
    pixels[50:250, 50:250] = 10
    pixels[150, 151] = 11

    picture = shown(image(pixels, PixelPaddingValue=60000))

    assert picture.sum() == picture[150, 151] == 255
