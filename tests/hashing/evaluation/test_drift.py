"""How far codes move when an image comes in a lower resolution or more compressed."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from typer.testing import CliRunner

from hashing.__main__ import app
from hashing.codes import unpack
from hashing.evaluation.drift import (
    CHANGES,
    Drift,
    bordered,
    compressed,
    evaluate_drift,
    reduced,
    shifted,
    table,
    turned,
    windowed,
)
from hashing.images.pixels import network_input
from hashing.model.encoder import Encoder, Encoding
from hashing.model.model_file import DEFAULT_MODEL

SHARP = 1.0  # mean difference of neighbouring pixels, grey values


class OfSharpness:
    """An encoder whose codes say nothing but how sharp an image is."""

    code_length = 16

    def encode(self, images: NDArray[np.uint8], modalities: list[str]) -> Encoding:
        contrast = np.abs(np.diff(images.astype(np.float32), axis=2)).mean(axis=(1, 2))
        relaxed = np.repeat(contrast[:, None] - SHARP, 16, axis=1).astype(np.float32)
        return Encoding(relaxed, np.empty((len(images), 0), np.float32))


def test_a_code_that_is_the_same_for_all_images_has_no_share(nih: Path, tmp_path: Path) -> None:
    encoder = OfSharpness()

    found = {
        drift.change: drift
        for drift in evaluate_drift(encoder, ("chestxray14:nih",), nih, tmp_path)  # type: ignore[arg-type]
    }

    assert found["reduced to 64 pixels"].images == 30
    assert found["reduced to 64 pixels"].between == 0.0
    assert found["reduced to 64 pixels"].share == float("inf")


def test_a_reduced_image_keeps_its_size_and_loses_its_detail() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (224, 112))

    assert reduced(stripes, 64).shape == (224, 224)
    assert reduced(stripes, 64).std() < 20 < stripes.std()
    assert compressed(stripes, 50).shape == (224, 224)


def test_changes_keep_the_size_and_do_what_they_say() -> None:
    image = np.zeros((200, 200), np.uint8)
    image[100, 100] = image[90:110, 20] = 255

    for name, change in CHANGES.items():
        assert change(image).shape == image.shape, name
        assert change(image).dtype == np.uint8, name
    assert shifted(image, 0.03)[106, 106] == 255
    assert turned(image, 5.0)[100, 100] > 200
    assert not bordered(image, 0.05)[:10].any()
    assert windowed(np.full((2, 2), 237, np.uint8), 1.1).tolist() == [[227, 227], [227, 227]]


def test_the_table_says_which_share_of_the_distance_between_images_a_code_moves() -> None:
    assert "| nih14k | JPEG of quality 50 | 200 | 3.0 | 24.0 | 0.12 |" in table(
        [Drift("nih14k", "JPEG of quality 50", 200, 3.0, 24.0)]
    )


@pytest.mark.shared
def test_reducing_a_full_radiograph_moves_its_code_by_less_than_a_third_of_the_distance_between_images(
    shared_data: Path,
) -> None:
    with zipfile.ZipFile(shared_data / "dicom/nih_dx_1024.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".dcm")]
        inputs = np.stack([network_input(dcmread(io.BytesIO(archive.read(name)))) for name in names])
    encoder = Encoder.load()
    smaller = np.stack([reduced(image, 128) for image in inputs])

    whole, less = (unpack(encoder.encode(some, ["DX"] * len(some)).codes, 64) for some in (inputs, smaller))

    between = (whole[:, None] != whole[None]).sum(axis=2)[~np.eye(len(whole), dtype=bool)].mean()
    moved = (whole != less).sum(axis=1).mean()
    assert moved < between / 3, f"{moved:.1f} of {between:.1f} bits"


def test_one_command_prints_the_drift_of_a_model(nih: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashing.evaluation.drift.MAX_IMAGES", 4)
    command = ["drift", str(DEFAULT_MODEL), "--data", str(nih), "--output", str(tmp_path), "--sets", "chestxray14:nih"]

    done = CliRunner().invoke(app, command)

    assert done.exit_code == 0, done.output
    assert "| chestxray14:nih | reduced to 64 pixels | 4 |" in done.output
