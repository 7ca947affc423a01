"""Windows as the standard writes them; each pair of centre and width is used by itself."""

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from tests.support.hashing.images import image, item, shown

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


@settings(max_examples=60, deadline=None)
@given(center=st.integers(200, 900), width=st.integers(1, 5000), slope=st.sampled_from([1, 2, 0.25]))
def test_a_linear_window_is_the_standards_pseudo_code(center: int, width: int, slope: float) -> None:
    width = max(width, 1 if slope >= 1 else 2)  # of values that are no whole numbers a width of 1 is no threshold
    dataset = image(RAMP, WindowCenter=center, WindowWidth=width, RescaleSlope=slope, RescaleIntercept=-100)

    picture = shown(dataset)

    expected = [linear_twin(x * slope - 100, center, width) for x in RAMP.ravel().tolist()]
    assert np.abs(picture.ravel() - expected).max() <= 1.001


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


def linear_twin(x: float, center: float, width: float) -> float:
    """PS3.3 C.11.2.1.2.1, as it is written there."""
    if x <= center - 0.5 - (width - 1) / 2:
        return 0
    if x > center - 0.5 + (width - 1) / 2:
        return 255
    return ((x - (center - 0.5)) / (width - 1) + 0.5) * 255


def black_or_white(values: NDArray[Any], center: float, width: float) -> NDArray[np.int64]:
    return np.array([round(linear_twin(x, center, width)) for x in values.ravel().tolist()]).reshape(values.shape)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize(
    ("low", "high", "center", "width"), [(0, 1, 1, 2), (0, 1, 1, 1), (50, 120, 90, 60), (0, 100, 1, 1), (3, 4, 4, 1)]
)
@pytest.mark.parametrize("share", [0.5, 0.001, 0.999])
def test_a_window_that_leaves_nothing_between_black_and_white_is_a_threshold(
    dtype: str, low: int, high: int, center: int, width: int, share: float
) -> None:
    pixels = np.full((301, 307), low, dtype)
    pixels.ravel()[: max(1, int(share * pixels.size))] = high
    pixels = np.random.default_rng(1).permuted(pixels)

    picture = shown(image(pixels, WindowCenter=center, WindowWidth=width))

    assert set(np.unique(picture)) == {0, 255}
    assert (picture == black_or_white(pixels, center, width)).all()


@pytest.mark.parametrize("center", [1, 700, 2047.5, 4095])
def test_a_window_of_width_1_is_a_threshold_on_any_picture(center: float) -> None:
    picture = shown(image(RAMP, WindowCenter=center, WindowWidth=1, BitsStored=12))

    assert (picture == black_or_white(RAMP, center, 1)).all()


def test_a_single_white_pixel_that_the_sample_misses_keeps_its_window() -> None:
    pixels = np.zeros((1000, 1000), np.uint16)
    pixels[501, 503] = 1

    picture = shown(image(pixels, WindowCenter=1, WindowWidth=1))

    assert picture.sum() == picture[501, 503] == 255


def test_a_picture_of_one_value_is_what_its_window_makes_of_it() -> None:
    assert (shown(image(np.ones((9, 9), np.uint8), WindowCenter=1, WindowWidth=2)) == 255).all()
    assert (shown(image(np.full((9, 9), 5, np.uint16), WindowCenter=100, WindowWidth=2)) == 0).all()


def test_shares_from_0_to_1_with_a_window_of_width_1_are_a_picture_not_a_threshold() -> None:
    shares = (scene_of_shares := np.arange(4096).reshape(64, 64) / 4095).astype(np.float32)

    picture = shown(image(shares, WindowCenter=0.5, WindowWidth=1.0))

    assert np.abs(picture - scene_of_shares * 255).max() <= 0.501


def with_windows(center: bytes, width: bytes, *, implicit: bool) -> Dataset:
    """Windows as they come in a file, whatever they are."""
    dataset = image(RAMP, BitsStored=12, WindowCenter="1111", WindowWidth="2222")
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    whole = file.getvalue()
    for element, old, new in ((0x1050, b"1111", center), (0x1051, b"2222", width)):
        new += b" " * (len(new) % 2)
        written = [
            struct.pack("<HH", 0x28, element)
            + (struct.pack("<I", len(v)) if implicit else struct.pack("<2sH", b"DS", len(v)))
            + v
            for v in (old, new)
        ]
        assert written[0] in whole
        whole = whole.replace(written[0], written[1])
    return dcmread(BytesIO(whole))


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(
    ("center", "width", "used"),
    [
        (b"1000\\", b"500\\", (1000, 500)),
        (b"1000\\auto", b"500\\200", (1000, 500)),
        (b"\\1000", b"\\500", (1000, 500)),
        (b"1000\\2000", b"500", (1000, 500)),
        (b"nan\\1000", b"500\\500", (1000, 500)),
        (b"1000\\1000", b"inf\\500", (1000, 500)),
        (b"1000\\2000", b"0\\500", (2000, 500)),
        (b"1000\\2000\\3000", b"-1\\word\\700", (3000, 700)),
        (b"1e9999\\1000", b"5\\ 500 ", (1000, 500)),
        (b"1,5\\1000", b"500\\500", (1000, 500)),
        (b"1000\\\\\\", b"500\\\\\\", (1000, 500)),
        (b"+1.0E3\\x", b"0500.0\\y", (1000, 500)),
        (b"auto", b"auto", None),
        (b"1000", b"", None),
        (b"", b"500\\600", None),
    ],
)
def test_each_pair_of_centre_and_width_is_used_by_itself(
    center: bytes, width: bytes, used: tuple[float, float] | None, implicit: bool
) -> None:
    picture = shown(with_windows(center, width, implicit=implicit))

    wanted = image(RAMP, BitsStored=12)
    if used is not None:
        wanted.WindowCenter, wanted.WindowWidth = used
    assert (picture == shown(wanted)).all()


def test_a_frame_keeps_its_window_beside_a_bad_one() -> None:
    macro = item(WindowCenter=["", "1000"], WindowWidth=["", "500"])
    dataset = image(RAMP, PerFrameFunctionalGroupsSequence=[item(FrameVOILUTSequence=[macro])])

    assert (shown(dataset) == shown(image(RAMP, WindowCenter=1000, WindowWidth=500))).all()


@pytest.mark.parametrize("function", ["SIGMOID", " SIGMOID", "SIGMOID ", " LINEAR_EXACT", " LINEAR"])
def test_spaces_around_a_voi_lut_function_mean_nothing(function: str) -> None:
    window: dict[str, Any] = {"WindowCenter": 2000, "WindowWidth": 1000}

    spaced = image(RAMP, VOILUTFunction=function, **window)

    assert (shown(spaced) == shown(image(RAMP, VOILUTFunction=function.strip(), **window))).all()
