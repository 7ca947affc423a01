"""A small tree with the names, tables and lists of ChestX-ray14 as NIH publishes it."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hashing.data.examples import FINDINGS

COLUMNS = (
    "Image Index",
    "Finding Labels",
    "Follow-up #",
    "Patient ID",
    "Patient Age",
    "Patient Gender",
    "View Position",
)


EXPERIMENT = """
title = "stand-in"
dataset = ["chestxray14:nih"]
trunk = "{trunk}"
size = 32
folds = 2
frozen_blocks = 14
trunk_batch = 16
methods = {methods}
code_lengths = [16, 32]
seeds = [0]
batch = 16
sampling = "balanced"
[trunk_schedule]
epochs = 1
learning_rate = 1e-3
trunk_rate = 0.25
weight_decay = 0.0
patience = 0
[schedule]
epochs = 2
learning_rate = 5e-3
trunk_rate = 0.1
weight_decay = 0.0
patience = 0
"""


@dataclass(frozen=True, slots=True)
class Film:
    """An image of the tree; its findings show as bright columns."""

    name: str
    patient: int
    split: str
    findings: tuple[str, ...]


def chest_xray14(folder: Path, films: Sequence[Film]) -> None:
    """Write images, Data_Entry_2017_v2020.csv and the two official lists."""
    rng = np.random.default_rng(0)
    (folder / "images_001/images").mkdir(parents=True)
    with (folder / "Data_Entry_2017_v2020.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for film in films:
            table.writerow([film.name, "|".join(film.findings) or "No Finding", 0, film.patient, "058", "M", "PA"])
            Image.fromarray(_pixels(film, rng)).save(folder / "images_001/images" / film.name)
    for split, name in (("train", "train_val_list.txt"), ("test", "test_list.txt")):
        (folder / name).write_text("".join(f"{film.name}\n" for film in films if film.split == split))


def _pixels(film: Film, rng: np.random.Generator) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    pixels = rng.integers(0, 40, (64, 64))
    for finding in film.findings:
        column = 4 * FINDINGS.index(finding)
        pixels[:, column : column + 4] += 180
    return pixels.astype(np.uint8)


def small_set(root: Path) -> None:
    """90 images of 45 patients in `nih`, as NIH names and lists them."""
    rng = np.random.default_rng(0)
    findings = ("Effusion", "Mass", "Nodule")
    films = [
        Film(
            f"{patient:08d}_{number:03d}.png",
            patient,
            "test" if patient >= 30 else "train",
            tuple(name for name in findings if rng.random() < 0.4),
        )
        for patient in range(45)
        for number in range(2)
    ]
    chest_xray14(root / "nih", films)


def experiment(folder: Path, trunk: str, methods: list[str]) -> Path:
    """File of an experiment on `small_set`, of two epochs."""
    path = folder / f"standin-{trunk}.toml"
    path.write_text(EXPERIMENT.format(trunk=trunk, methods=methods))
    return path
