"""Does the shipped model take a sharp radiograph for a pneumonia, as the first one did?"""

import csv
import gzip
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hashing.data.datasets import LABELS
from hashing.data.pictures import picture_input
from hashing.model.encoder import Encoder

FINDINGS = 15
"""Labels of ChestX-ray14, "No Finding" among them: the first of all."""
ENOUGH = 0.1


def sharp_radiographs(folder: Path) -> dict[str, bytes]:
    """The test images of ChestX-ray14 that come in 256 pixels and show no pneumonia, by name."""
    with gzip.open(folder / "labels.csv.gz", "rt", newline="") as table:
        names = [
            row["image"]
            for row in csv.DictReader(table)
            if row["package"] == "shared_256" and row["split_official"] == "test" and "Pneumonia" not in row["labels"]
        ]
    with zipfile.ZipFile(folder / "nih_cxr_256.zip") as archive:
        stored = {Path(name).stem: name for name in archive.namelist()}
        return {name: archive.read(stored[Path(name).stem]) for name in names}


@pytest.mark.shared
def test_a_sharp_radiograph_without_pneumonia_is_seldom_taken_for_one(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [picture_input(content)[0] for content in sharp_radiographs(shared_data / "chestxray14").values()]

    scores = Encoder.load().encode(np.stack(images), ["DX"] * len(images)).class_scores[:, :FINDINGS]

    top = Counter(LABELS[number] for number in scores.argmax(axis=1))
    with capsys.disabled():
        print(f"\n{len(images)} sharp radiographs without pneumonia, by their top label: {dict(top.most_common())}")
    assert top["Pneumonia"] < ENOUGH * len(images)
