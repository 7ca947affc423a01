"""CT instances."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from hashing.phantoms.body.chest import chest
from hashing.phantoms.body.person import person
from hashing.phantoms.instance import instance
from hashing.phantoms.schedule import Series, schedule
from hashing.phantoms.tomogram import PADDING


def made(bits: int, protocol: str, share: float = 0.5) -> Dataset:
    number, series = next((n, s) for n in range(60) for s in schedule(n) if (s.bits, s.protocol) == (bits, protocol))
    return make(number, series, int(share * (series.images - 1)))


def make(number: int, series: Series, index: int) -> Dataset:
    who = person(number, 0)
    return instance(who, series, index, chest(who, series.visit))[0]


def hounsfield(dataset: Dataset) -> np.ndarray:
    return np.asarray(dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept))


def test_values_are_hounsfield_units() -> None:
    image = hounsfield(made(12, "native"))

    lung = image[(image > -950) & (image < -750)]
    flesh = image[(image > 0) & (image < 100)]
    assert image[3:20, 3:20].mean() == pytest.approx(-1000, abs=10)
    assert lung.mean() == pytest.approx(-840, abs=25)
    assert flesh.mean() == pytest.approx(50, abs=15)
    assert image.max() > 600


def test_padding_lies_outside_the_circle_and_is_declared() -> None:
    dataset = made(16, "native")

    assert dataset.PixelPaddingValue == PADDING
    assert dataset.pixel_array[0, 0] == PADDING
    assert dataset.pixel_array[256, 256] > 0
    assert dataset.PixelRepresentation == 1
    assert "PixelPaddingValue" not in made(12, "native")


def test_contrast_medium_lights_the_blood() -> None:
    native, contrast = (hounsfield(made(12, protocol)) for protocol in ("native", "contrast"))

    def share(image: np.ndarray) -> float:
        return float(((image > 160) & (image < 220)).mean())

    assert share(contrast) > share(native) + 0.005


def test_positions_and_spacing_place_every_pixel() -> None:
    dataset = made(12, "native")

    x, y, z = (float(value) for value in dataset.ImagePositionPatient)
    width = float(dataset.PixelSpacing[1]) * (dataset.Columns - 1)
    assert x == pytest.approx(-width / 2, abs=0.01)
    assert y == pytest.approx(10 - width / 2, abs=0.01)
    assert z == float(dataset.SliceLocation)


def test_slices_of_a_series_share_their_frame_of_reference() -> None:
    series = next(s for s in schedule(0) if s.modality == "CT")

    first, last = make(0, series, 0), make(0, series, series.images - 1)

    assert first.FrameOfReferenceUID == last.FrameOfReferenceUID
    assert first.SeriesInstanceUID == last.SeriesInstanceUID
    assert first.PixelSpacing == last.PixelSpacing
