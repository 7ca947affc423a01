"""MR instances."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from hashing.phantoms.body.head import head
from hashing.phantoms.body.person import person
from hashing.phantoms.instance import instance
from hashing.phantoms.schedule import schedule


def made(protocol: str) -> Dataset:
    number, series = next((n, s) for n in range(30) for s in schedule(n) if s.protocol == protocol)
    who = person(number, 0)
    return instance(who, series, 1, head(who))[0]


@pytest.mark.parametrize(("protocol", "inversion"), [("T1", None), ("T2", None), ("FLAIR", 2300)])
def test_the_sequence_is_declared(protocol: str, inversion: float | None) -> None:
    dataset = made(protocol)

    assert dataset.get("InversionTime") == inversion
    assert (dataset.EchoTime > 50) == (protocol != "T1")
    assert dataset.ScanningSequence == (["SE", "IR"] if inversion else "SE")


def test_the_window_shows_the_brain_between_black_and_white() -> None:
    for protocol in ("T1", "T2", "FLAIR", "T1 contrast"):
        dataset = made(protocol)
        brain = dataset.pixel_array[90:170, 90:170]

        share = float(np.median(brain)) / float(dataset.WindowWidth)
        assert 0.2 < share < 0.8
        assert dataset.pixel_array[:10, :10].mean() < 0.1 * float(dataset.WindowWidth)


def test_stored_values_fit_twelve_bits() -> None:
    dataset = made("T2")

    assert dataset.BitsStored == 12
    assert dataset.pixel_array.max() <= 4095
    assert dataset.PixelRepresentation == 0


def test_noise_is_never_negative_and_never_still() -> None:
    corner = made("T1").pixel_array[:20, :20]

    assert corner.min() >= 0
    assert corner.std() > 0
