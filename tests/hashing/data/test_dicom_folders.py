"""Folders of DICOM files as labelled sets: sections, labels, parts, and a manifest that repeats them."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hashing.__main__ import app
from hashing.data.datasets import load, read
from hashing.data.dicom_folders import Section, capped
from hashing.images.pixels import network_input
from tests.support.hashing.images import image


def write(folder: Path, patient: str, series: str, number: int, **attributes: Any) -> Path:
    """One section of 16 x 16 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.arange(256, dtype=np.uint16).reshape(16, 16) * (number + 1)
    section = image(
        pixels, PatientID=patient, SeriesInstanceUID=series, SOPInstanceUID=f"{series}.{number}", InstanceNumber=number,
        **{"Modality": "CT", "BodyPartExamined": "CHEST"} | attributes,
    )  # fmt: skip
    section.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)
    return folder / f"{number:03d}.dcm"


def members(root: Path) -> list[str]:
    return [example.member for example in read("dicom:tcia", root)]


def test_sections_are_taken_evenly_along_the_body_not_by_number(tmp_path: Path) -> None:
    for number in range(25):
        place = 3.0 * ((number * 7) % 25)
        write(tmp_path / "tcia/LIDC", "P1", "1.2.1", number, ImagePositionPatient=[0, 0, place],
              ImageOrientationPatient=[1, 0, 0, 0, 1, 0])  # fmt: skip
    places = [(int(Path(member).stem) * 7) % 25 for member in members(tmp_path)]

    assert places == [0, 2, 5, 8, 10, 13, 16, 18, 21, 24]


def test_few_sections_are_all_taken() -> None:
    sections = [Section(Path("a") / str(n), "p", "1.2", f"1.2.{n}", "CT", float(n)) for n in range(7)]

    assert capped(sections) == sections
    assert capped(sections, 3) == [sections[0], sections[3], sections[6]]
    assert capped([]) == []


def test_the_label_map_speaks_for_series_then_patients_then_collections(tmp_path: Path) -> None:
    write(tmp_path / "tcia/LIDC/a", "P1", "1.2.1", 0)
    write(tmp_path / "tcia/LIDC/b", "P1", "1.2.2", 0)
    write(tmp_path / "tcia/LIDC/c", "P2", "1.2.3", 0)
    write(tmp_path / "tcia/OTHER", "P3", "1.2.4", 0)
    (tmp_path / "tcia/labels.csv").write_text(
        "collection,patient_id,series_uid,label\nLIDC,,,lung\nLIDC,P1,,malignant|lung\nLIDC,P1,1.2.2,benign\n"
    )

    labels = {example.member: example.labels for example in read("dicom:tcia", tmp_path)}

    assert labels == {  # the collection without a row is left out, not labelled by its name
        "LIDC/a/000.dcm": ("malignant", "lung"), "LIDC/b/000.dcm": ("benign",), "LIDC/c/000.dcm": ("lung",),
    }  # fmt: skip


@pytest.mark.parametrize("text", ["patient_id\nP1\n", "label\nlung\n", "patient_id,label\nP1,a\nP1,b\n"])
def test_a_label_map_that_is_incomplete_or_contradicts_itself_is_refused(text: str, tmp_path: Path) -> None:
    write(tmp_path / "tcia/LIDC", "P1", "1.2.1", 0)
    (tmp_path / "tcia/labels.csv").write_text(text)

    with pytest.raises(ValueError, match=r"labels.csv, line [23]"):
        members(tmp_path)


def test_all_images_of_a_patient_are_in_one_part_whatever_the_collection(tmp_path: Path) -> None:
    for patient in range(20):
        for collection in ("A", "B"):
            write(tmp_path / f"tcia/{collection}/{patient}", f"P{patient}", f"1.2.{patient}.{len(collection)}",
                  ord(collection))  # fmt: skip
    parts: dict[str, set[str]] = {}
    for example in read("dicom:tcia", tmp_path):
        parts.setdefault(example.group, set()).add(example.split)

    assert len(parts) == 20
    assert all(len(splits) == 1 for splits in parts.values())
    assert {"train", "test"} <= set.union(*parts.values())


def test_a_manifest_leaves_out_with_a_reason_and_repeats_the_set(tmp_path: Path) -> None:
    folder = tmp_path / "tcia"
    write(folder / "LIDC", "P1", "1.2.1", 0)
    write(folder / "LIDC", "P2", "1.2.2", 1)
    write(folder / "LIDC/again", "P1", "1.2.1", 0)
    write(folder / "LIDC/nobody", "", "1.2.3", 2)
    write(folder / "LIDC/cut", "P4", "1.2.4", 3, PixelData=b"\0\0")
    (folder / "LIDC/notes").write_text("no image")

    done = CliRunner().invoke(app, ["manifest", str(folder)])

    assert done.exit_code == 0, done.output
    assert "2 files: in the manifest" in done.output
    assert "1 files: the same instance again" in done.output
    assert "1 files: no patient, series or instance in the header" in done.output
    assert "1 files: no DICOM file" in done.output
    assert "1 files: pixels: " in done.output
    write(folder / "NEW", "P9", "1.2.9", 0)  # what comes later is not in the set
    assert members(tmp_path) == ["LIDC/000.dcm", "LIDC/001.dcm"]
    with (folder / "manifest.csv").open(newline="") as file:
        assert {len(row["sha256"]) for row in csv.DictReader(file)} == {64}


def test_a_file_that_changed_since_the_manifest_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "tcia/LIDC", "P1", "1.2.1", 0)
    CliRunner().invoke(app, ["manifest", str(tmp_path / "tcia")])
    assert members(tmp_path) == ["LIDC/000.dcm"]

    path = write(tmp_path / "tcia/LIDC", "P1", "1.2.1", 0, BodyPartExamined="HEAD")
    with pytest.raises(ValueError, match=r"not the file of manifest\.csv"):
        members(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match="is missing"):
        members(tmp_path)


def test_images_of_the_set_are_those_that_the_node_encodes(tmp_path: Path) -> None:
    from pydicom import dcmread

    path = write(tmp_path / "tcia/LIDC", "P1", "1.2.1", 0, RescaleIntercept=-100, RescaleSlope=1)

    dataset = load("dicom:tcia", tmp_path, tmp_path / "cache", names=(), kinds=())

    assert np.array_equal(dataset.images[0], network_input(dcmread(path)))
    assert dataset.names == ("LIDC",)
    assert dataset.kind_names == ("CT CHEST",)
