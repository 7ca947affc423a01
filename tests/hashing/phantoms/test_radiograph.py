"""Radiographs: polarity, depth, findings, and the DICOM around them."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from hashing.phantoms.body.chest import chest
from hashing.phantoms.body.person import Person, person
from hashing.phantoms.instance import instance
from hashing.phantoms.radiograph import Exposure, radiograph
from hashing.phantoms.schedule import schedule

HEALTHY = replace(person(20, 3), findings=(), side=1)
FRONT = Exposure(False, 256, 1.5, (0.0, -10.0), 32.0, 0.0, 12, False)


def image(who: Person, exposure: Exposure = FRONT) -> NDArray[np.float64]:
    return radiograph(chest(who, 0), exposure, np.random.default_rng(0)).astype(np.float64)


def change(finding: str) -> NDArray[np.float64]:
    """What a finding adds, but for the common shift of the grey scale."""
    difference = image(replace(HEALTHY, findings=(finding,))) - image(HEALTHY)
    return np.asarray(difference - np.median(difference))


def places(rows: tuple[int, int], columns: tuple[int, int]) -> tuple[slice, slice]:
    return slice(*rows), slice(*columns)


def test_lungs_are_dark_between_a_light_middle_and_a_light_abdomen() -> None:
    picture = image(HEALTHY)

    right, middle, left = (picture[places((90, 130), span)].mean() for span in ((70, 95), (120, 136), (160, 185)))
    assert max(right, left) < 0.6 * middle
    assert picture[220:240, 80:180].mean() > 1.5 * right
    assert picture[:4, :4].mean() < 100


def test_monochrome1_is_monochrome2_turned_over() -> None:
    light, dark = image(HEALTHY), image(HEALTHY, replace(FRONT, inverted=True))

    assert np.abs(light + dark - 4095).max() <= 1


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_stored_values_use_their_bits(bits: int) -> None:
    stored = radiograph(chest(HEALTHY, 0), replace(FRONT, bits=bits), np.random.default_rng(0))

    assert stored.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert 2 ** (bits - 1) < stored.max() < 2**bits


def test_an_effusion_whitens_the_base_of_its_side() -> None:
    difference = change("effusion")

    rows, columns = np.unravel_index(np.argsort(difference.ravel())[-300:], difference.shape)
    assert np.median(columns) > 150
    assert np.median(rows) > 130
    assert difference[60:100, 60:110].mean() == pytest.approx(0, abs=120)


def test_a_mass_is_a_round_light_spot() -> None:
    difference = change("mass")

    rows, columns = np.nonzero(difference > 400)
    assert 300 < len(rows) < 3500
    assert 0.5 < np.ptp(rows) / np.ptp(columns) < 2
    assert np.median(columns) > 140


def test_an_enlarged_heart_widens_the_silhouette() -> None:
    difference = change("enlarged heart")

    assert difference[120:170, 60:200].mean() > 3 * abs(difference[40:80, 60:200].mean())


def made(modality: str, inverted: bool) -> Dataset:
    for number in range(30):
        for series in schedule(number):
            if (series.modality, series.inverted) == (modality, inverted):
                who = person(number, 0)
                return instance(who, series, 0, chest(who, series.visit))[0]
    raise AssertionError


def test_a_digital_radiograph_names_its_polarity_three_times() -> None:
    light, dark = made("DX", False), made("DX", True)

    assert (light.PhotometricInterpretation, light.PresentationLUTShape) == ("MONOCHROME2", "IDENTITY")
    assert (dark.PhotometricInterpretation, dark.PresentationLUTShape) == ("MONOCHROME1", "INVERSE")
    assert light.PixelIntensityRelationshipSign == -dark.PixelIntensityRelationshipSign == -1


def test_a_radiograph_says_how_the_patient_stood() -> None:
    dataset = made("CR", False)

    assert dataset.ViewPosition in ("PA", "LL")
    assert list(dataset.PatientOrientation) == (["L", "F"] if dataset.ViewPosition == "PA" else ["P", "F"])
    assert dataset.ImagerPixelSpacing[0] * dataset.Columns > 200
