"""Maps drawn over images, and the command that draws them."""

from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from hashing.__main__ import app
from hashing.model.architectures import build
from hashing.model.model_file import Architecture
from hashing.model.overlay import overlaid
from hashing.model.weights import export

GREY = np.full((8, 8), 100, np.uint8)


def test_the_highest_value_is_drawn_over_the_image_and_negative_values_are_not() -> None:
    drawn = overlaid(GREY, np.array([[1.0, -1.0], [0.0, -2.0]], np.float32))

    assert drawn.shape == (8, 8, 3)
    assert drawn[0, 0].tolist() == [193, 78, 40]  # 0.4 of the grey, 0.6 of the colour
    assert drawn[-1, -1].tolist() == [100, 100, 100]


def test_a_map_without_positive_values_leaves_the_image_in_grey() -> None:
    for relevance in (np.zeros((2, 2), np.float32), np.full((3, 1), -1.0, np.float32)):
        assert np.array_equal(overlaid(GREY, relevance), np.repeat(GREY[:, :, None], 3, axis=2))


def test_one_command_draws_why_two_pictures_are_alike(tmp_path: Path) -> None:
    architecture = Architecture(head="semantic attention", code_lengths=(16,), modality_bits=False, input_size=64)
    export(build(architecture, 2), architecture, tmp_path / "model.safetensors", "model", {}, ("Mass", "Nodule"))
    rng = np.random.default_rng(0)
    for name in ("query.png", "match.png"):
        Image.fromarray(rng.integers(0, 256, (90, 120), np.uint8)).save(tmp_path / name)
    pictures = [str(tmp_path / name) for name in ("query.png", "match.png")]
    options = ["--model", str(tmp_path / "model.safetensors"), "--code-length", "16"]

    done = CliRunner().invoke(app, ["explain", *pictures, *options, "--out", str(tmp_path / "why.png")])

    assert done.exit_code == 0, done.output
    assert "shared attention" in done.output
    with Image.open(tmp_path / "why.png") as drawn:
        assert drawn.size == (448, 224)
        assert np.ptp(np.asarray(drawn), axis=2).max() > 50  # coloured
