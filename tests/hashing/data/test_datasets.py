"""Readers of published sets, on small trees with the names and lists of the real ones."""

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashing.bench.features import joined
from hashing.data.datasets import load, read
from hashing.data.examples import FINDINGS, NO_FINDING
from tests.support.hashing.images import image
from tests.support.hashing.standin import Film, chest_xray14

FILMS = [
    Film("00000001_000.png", 1, "train", ("Effusion",)),
    Film("00000001_001.png", 1, "train", ()),
    Film("00000002_000.png", 2, "train", ("Mass", "Nodule")),
    Film("00000003_000.png", 3, "test", ("Hernia",)),
]


def test_the_whole_of_chest_xray14_is_read_as_published(tmp_path: Path) -> None:
    chest_xray14(tmp_path / "nih", FILMS)

    found = load("chestxray14:nih", tmp_path, tmp_path / "cache", names=(), kinds=())

    assert found.names == ("Effusion", "Mass", "Nodule", "Hernia", NO_FINDING)
    assert found.groups.tolist() == ["nih-1", "nih-1", "nih-2", "nih-3"]
    assert set(found.splits[:3]) <= {"train", "validation"}
    assert found.splits[3] == "test"
    assert found.labels[2].tolist() == [False, True, True, False, False]
    assert found.images.shape == (4, 224, 224)


def test_missing_images_are_an_error_that_says_where_to_get_them(tmp_path: Path) -> None:
    chest_xray14(tmp_path / "nih", FILMS)
    next((tmp_path / "nih").glob("images_001/images/*_001.png")).unlink()

    with pytest.raises(FileNotFoundError, match=r"00000001_001.png.*nihcc\.app\.box\.com"):
        load("chestxray14:nih", tmp_path, tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match="download"):
        load("chestxray14:nowhere", tmp_path, tmp_path / "cache")
    with pytest.raises(ValueError, match="choose of nih14k"):
        load("nih15k", tmp_path, tmp_path / "cache")


def test_the_chexnet_split_has_its_own_validation_part(tmp_path: Path) -> None:
    chest_xray14(tmp_path / "nih", FILMS)
    lists = {"train": FILMS[:2], "val": FILMS[2:3], "test": FILMS[3:]}
    (tmp_path / "nih/chexnet").mkdir()
    for part, films in lists.items():
        text = "\n".join(f"{film.name} " + " ".join(["0"] * 14) for film in films)
        (tmp_path / f"nih/chexnet/{part}_list.txt").write_text(text)

    assert [one.split for one in read("chexnet:nih", tmp_path)] == ["train", "train", "validation", "test"]


def test_a_patient_on_both_sides_of_a_split_is_named(tmp_path: Path) -> None:
    chest_xray14(tmp_path / "nih", [*FILMS, Film("00000003_001.png", 3, "train", ())])

    with pytest.raises(ValueError, match="nih-3"):
        load("chestxray14:nih", tmp_path, tmp_path / "cache")


def test_medmnist_files_are_read_image_by_image(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {f"{part}_images": rng.integers(0, 256, (3, 28, 28), np.uint8) for part in ("train", "val", "test")}
    labels = {f"{part}_labels": np.eye(14, dtype=np.uint8)[:3] * (part != "val") for part in ("train", "val", "test")}
    np.savez(tmp_path / "chestmnist.npz", allow_pickle=False, **arrays, **labels)

    found = load("medmnist:chestmnist.npz", tmp_path, tmp_path / "cache", names=(), kinds=())

    assert found.names == (*FINDINGS[:3], NO_FINDING)
    assert found.splits.tolist() == ["train"] * 3 + ["validation"] * 3 + ["test"] * 3
    assert len(set(found.groups.tolist())) == 9
    assert found.images[4].mean() == pytest.approx(arrays["val_images"][1].mean(), rel=0.02)  # enlarged, not changed


def test_a_folder_with_a_table_needs_a_description_only(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        Image.fromarray(np.full((8, 8), 80 * number, np.uint8)).save(tmp_path / f"pictures/{number}.png")
    with (tmp_path / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["name", "what", "who"], ["0", "a|b", "x"], ["1", "a", "y"], ["2", "b", "y"]])
    (tmp_path / "mine.toml").write_text(
        'index = "index.csv"\narchive = "pictures"\nfile = "name"\nlabel = "what"\ngroup = "who"\n'
        'suffix = ".png"\nkind = "toy"\n'
    )

    found = load("table:mine.toml", tmp_path, tmp_path / "cache", names=(), kinds=())

    assert found.names == ("a", "b")
    assert found.labels.tolist() == [[True, True], [True, False], [False, True]]
    assert found.groups.tolist() == ["x", "y", "y"]
    assert [int(one.max()) for one in found.images] == [0, 80, 160]


def write_series(folder: Path, patient: str, series: str, n: int, **attributes: str) -> None:
    folder.mkdir(parents=True)
    for number in range(n):
        section = image(
            np.full((16, 16), number, np.uint16), PatientID=patient, SeriesInstanceUID=series, InstanceNumber=number,
            SOPInstanceUID=f"{series}.{number}",
            **attributes,
        )  # fmt: skip
        section.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)


def test_dicom_folders_take_the_patient_from_the_header_and_few_sections_a_series(tmp_path: Path) -> None:
    write_series(tmp_path / "tcia/LIDC/p1", "P1", "1.2.1", 25, Modality="CT", BodyPartExamined="CHEST")
    write_series(tmp_path / "tcia/LUNG/p2", "P2", "1.2.2", 4, Modality="CT", BodyPartExamined="CHEST")
    (tmp_path / "tcia/LIDC/notes.txt").write_text("no image")

    examples = list(read("dicom:tcia", tmp_path))

    assert [one.group for one in examples] == ["P1"] * 10 + ["P2"] * 4
    assert {one.labels for one in examples} == {("LIDC",), ("LUNG",)}
    assert {one.kind for one in examples} == {"CT CHEST"}
    assert [one.member for one in examples][:2] == ["LIDC/p1/000.dcm", "LIDC/p1/002.dcm"]
    (tmp_path / "tcia/labels.csv").write_text("patient_id,label\nP1,benign\nP2,malignant\n")
    assert {one.labels for one in read("dicom:tcia", tmp_path)} == {("benign",), ("malignant",)}


def test_dicom_files_may_lie_in_a_zip(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    image(np.arange(256, dtype=np.uint16).reshape(16, 16)).save_as(buffer, enforce_file_format=True)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("one.dcm", buffer.getvalue())
    (tmp_path / "index.csv").write_text("name,what\none.dcm,a\n")
    (tmp_path / "mine.toml").write_text(
        'index = "index.csv"\narchive = "all.zip"\nfile = "name"\nlabel = "what"\nkind = "toy"\n'
    )

    assert load("table:mine.toml", tmp_path, tmp_path / "cache", names=(), kinds=()).images.max() > 200


def test_an_image_of_a_kind_unknown_to_the_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("name,what\none,a\n")
    (tmp_path / "mine.toml").write_text('index="index.csv"\narchive="x"\nfile="name"\nlabel="what"\nkind="foot MR"\n')

    with pytest.raises(ValueError, match="foot MR"):
        load("table:mine.toml", tmp_path, tmp_path / "cache")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "images", "parts"),
    [
        ("nih14k", 14122, {"test": 2176}),
        ("paediatric", 4666, {"test": 804}),
        ("dafh", 3767, {"test": 688}),
        ("covid_normal", 1778, {"test": 374}),
        ("mednist", 1800, {"test": 300}),
        ("hannover", 135, {"test": 0}),
        ("tcia_ct", 44, {"test": 0}),
        ("nih_dx", 15, {"test": 0}),
    ],
)
def test_sets_in_shared_data_are_read_by_name(name: str, images: int, parts: dict[str, int], shared_data: Path) -> None:
    examples = list(read(name, shared_data))

    assert len(examples) == images
    for part, number in parts.items():
        assert sum(one.split == part for one in examples) == number
    held = {part: {one.group for one in examples if one.split == part} for part in ("train", "validation", "test")}
    assert not held["train"] & held["test"]
    assert not held["train"] & held["validation"]


def test_sets_are_joined_with_the_labels_of_all(tmp_path: Path) -> None:
    from hashing.bench.experiment import Experiment
    from hashing.training.loop import Schedule

    chest_xray14(tmp_path / "one", FILMS)
    chest_xray14(tmp_path / "two", [Film("00000009_000.png", 9, "train", ("Edema",))])
    schedule = Schedule(1, 1e-3, 0.0, 0.0, 0)
    experiment = Experiment(
        "x", "x", ("chestxray14:one", "chestxray14:two"), "imagenet", (), (16,), (0,), schedule, 4, "uniform"
    )

    both = joined(experiment, tmp_path, tmp_path / "out")

    assert both.names == ("Effusion", "Mass", "Nodule", "Hernia", NO_FINDING, "Edema")
    assert both.labels.sum(axis=1).tolist() == [1, 1, 2, 1, 1]
    assert both.labels[4, 5]
