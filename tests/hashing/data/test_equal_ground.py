"""Equal ground: on the sets of the bench neither resolution nor source tells the label."""

import csv
import gzip
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from hashing.codes import pack
from hashing.data.datasets import digest_of, load, read
from hashing.data.examples import FINDINGS, NO_FINDING, Example
from hashing.data.pictures import reduced
from hashing.evaluation.judgement import judge
from hashing.evaluation.protocol import GroundTruth, Ranker, by_chance, by_codes, reported_tasks


def small_nih(root: Path, large: int) -> None:
    """Three films of ChestX-ray14 as `nih14k` has them: of 64, 128 and `large` pixels a side."""
    (root / "chestxray14").mkdir(parents=True)
    noise = np.random.default_rng(0)
    lines = []
    for number, (name, side) in enumerate((("nih_cxr_64", 64), ("nih_cxr_128", 128), ("nih_cxr_256", large))):
        with zipfile.ZipFile(root / f"chestxray14/{name}.zip", "w") as archive:
            film, picture = f"{number:08d}_000.png", io.BytesIO()
            Image.fromarray(noise.integers(0, 256, (side, side), np.uint8)).save(picture, "png")
            archive.writestr(film, picture.getvalue())
            labels = {finding: str(int(finding == "Mass")) for finding in FINDINGS}
            lines.append({"image": film, "patient_id": number, "split_official": "train_val", **labels})
    with gzip.open(root / "chestxray14/labels.csv.gz", "wt", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def test_large_files_of_nih14k_are_reduced_to_the_size_of_the_others(tmp_path: Path) -> None:
    small_nih(tmp_path, large=256)

    found = load("nih14k", tmp_path, tmp_path / "cache")

    assert found.source_pixels is not None
    assert sorted(found.source_pixels.tolist()) == [64 * 64, 128 * 128, 128 * 128]
    sharpness = [np.abs(np.diff(image.astype(int), axis=1)).mean() for image in found.images]
    assert sharpness[2] < 1.1 * sharpness[1]  # noise of 256 pixels would be a fifth sharper
    assert found.sources is not None
    assert len(set(found.sources.tolist())) == 3


def test_a_reduced_picture_has_been_through_jpeg_and_a_small_one_is_left_alone() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 200), np.uint8))

    small = reduced(noise, 128)

    assert small.size == (100, 128)
    assert isinstance(small, JpegImageFile)
    assert reduced(noise, 256) is noise


def test_images_that_are_read_in_another_way_are_cached_anew() -> None:
    example = Example("a.zip", "1.png", (), "CT", "p", "train")

    digests = {
        digest_of([example]),
        digest_of([replace(example, max_side=128)]),
        digest_of([replace(example, member="2.png")]),
        digest_of([example, example]),
    }

    assert len(digests) == 4


@pytest.mark.shared
def test_the_published_order_makes_patient_like_blocks_for_intervals(shared_data: Path) -> None:
    tested = [example for example in read("dafh", shared_data) if example.split == "test"]

    brain = {example.block for example in tested if example.kind == "head MR"}
    ultrasound = {example.block for example in tested if example.kind == "breast US"}

    assert 30 <= len(brain) <= 45  # a sixth of 233 patients
    assert ultrasound == {""}  # no order is published: the group of near-identical images stands for the block


@pytest.mark.shared
def test_source_size_alone_is_at_chance_on_nih14k(shared_data: Path) -> None:
    examples = list(read("nih14k", shared_data))
    sides = sides_of(shared_data, {example.archive for example in examples})
    before = np.array([sides[example.archive, example.member] for example in examples])
    after = np.array([min(side, example.max_side) for side, example in zip(before, examples, strict=True)])
    names = (*FINDINGS, NO_FINDING)
    labels = np.array([[name in example.labels for name in names] for example in examples])
    groups, splits = (np.array([getattr(one, name) for one in examples]) for name in ("group", "split"))
    known = GroundTruth(labels, names, groups, splits, np.repeat("adult chest radiograph", len(examples)))
    for task in reported_tasks(known):
        by_chance_alone = judge(task, by_chance(len(examples)), codes=False)["MAP"]
        sizes = {name: judge(task, by_size(side), codes=False)["MAP"] for name, side in (("b", before), ("a", after))}
        gains = {name: np.nanmean(values) - np.nanmean(by_chance_alone) for name, values in sizes.items()}

        assert gains["a"] < 0.003 < 0.004 < gains["b"], task.name


def by_size(sides: NDArray[np.int64]) -> Ranker:
    codes = np.zeros((len(sides), 64), bool)
    codes[np.arange(len(sides)), np.unique(sides, return_inverse=True)[1]] = True
    return by_codes(pack(codes))


def sides_of(root: Path, archives: set[str]) -> dict[tuple[str, str], int]:
    """Longest side of each picture, read from its header alone."""
    sides = {}
    for name in archives:
        with zipfile.ZipFile(root / name) as archive:
            for member in archive.namelist():
                if not member.endswith("/"):
                    sides[name, member] = max(Image.open(io.BytesIO(archive.read(member))).size)
    return sides
