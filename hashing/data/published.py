"""Readers of sets that anyone can download, in the form in which they are published, by "FORMAT:PATH"."""

import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from hashing.data.bundled import Table, read_table, rows
from hashing.data.dicom_folders import dicom
from hashing.data.examples import ADULT_CHEST, FINDINGS, NO_FINDING, Example

WHERE = {
    "chestxray14": "ChestX-ray14: download images_*.tar.gz, Data_Entry_2017_v2020.csv, train_val_list.txt and "
    "test_list.txt from https://nihcc.app.box.com/v/ChestXray-NIHCC and unpack them into this folder",
    "chexnet": "ChestX-ray14 with the split of the CheXNet re-implementations: besides NIH's files, put "
    "train_list.txt, val_list.txt and test_list.txt of https://github.com/arnoweng/CheXNet into chexnet/",
    "medmnist": "MedMNIST: download the .npz file from https://zenodo.org/records/10519652",
    "table": "a TOML file with the fields of hashing.data.bundled.Table (index, archive, file, label, kind ...)",
    "dicom": "a folder of DICOM files, as the NBIA Data Retriever of https://www.cancerimagingarchive.net leaves it",
}


def chest_xray14(root: Path, path: str) -> Iterator[Example]:
    """The whole of ChestX-ray14 as NIH publishes it, by the official split.

    PNG files may lie in `images/` or in `images_001/images/` and so on; the table is Data_Entry_2017_v2020.csv or the
    older Data_Entry_2017.csv.
    """
    folder = root / path
    test = set((folder / "test_list.txt").read_text().split())
    train = set((folder / "train_val_list.txt").read_text().split())
    splits = dict.fromkeys(train, "train") | dict.fromkeys(test, "test")
    return _chest_xray14(folder, path, splits)


def chexnet(root: Path, path: str) -> Iterator[Example]:
    """The whole of ChestX-ray14 by the 70/10/20 split of the CheXNet re-implementations."""
    folder = root / path
    parts = {"train": "train_list.txt", "validation": "val_list.txt", "test": "test_list.txt"}
    splits = {
        line.split()[0]: split
        for split, name in parts.items()
        for line in (folder / "chexnet" / name).read_text().splitlines()
        if line.strip()
    }
    return _chest_xray14(folder, path, splits)


def _chest_xray14(folder: Path, path: str, splits: dict[str, str]) -> Iterator[Example]:
    tables = sorted(folder.glob("Data_Entry_2017*.csv"))
    if not tables:
        raise FileNotFoundError(f"no Data_Entry_2017*.csv in {folder}. {WHERE['chestxray14']}")
    files = {file.name: file for file in folder.glob("images*/**/*.png")}
    missing = [row["Image Index"] for row in rows(tables[-1]) if row["Image Index"] not in files]
    if missing:
        raise FileNotFoundError(f"{len(missing):,} images are missing, first {missing[0]}. {WHERE['chestxray14']}")
    for row in rows(tables[-1]):
        name, named = row["Image Index"], set(row["Finding Labels"].split("|"))
        labels = tuple(finding for finding in FINDINGS if finding in named) or (NO_FINDING,)
        member = str(files[name].relative_to(folder))
        yield Example(path, member, labels, ADULT_CHEST, f"nih-{row['Patient ID']}", splits[name])


def medmnist(root: Path, path: str) -> Iterator[Example]:
    """A MedMNIST .npz file; it has no patients, so every image is a group, and intervals are per image.

    Of ChestMNIST the 14 columns are the findings, in NIH's order.
    """
    with np.load(root / path) as file:
        labels = {part: file[f"{part}_labels"] for part in ("train", "val", "test")}
    for part, table in labels.items():
        for number, row in enumerate(table):
            split = "validation" if part == "val" else part
            yield Example(path, f"{part}_images/{number}", _medmnist_labels(row), path, f"{part}-{number}", split)


def _medmnist_labels(row: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> tuple[str, ...]:
    if len(row) == len(FINDINGS):
        return tuple(name for name, present in zip(FINDINGS, row, strict=True) if present) or (NO_FINDING,)
    return (f"class_{row[0]}",) if len(row) == 1 else tuple(f"class_{column}" for column in np.flatnonzero(row))


def described(root: Path, path: str) -> Iterator[Example]:
    """A folder or zip file with a CSV index, described in a TOML file."""
    return read_table(root, Table(**tomllib.loads((root / path).read_text())))


FORMATS: dict[str, Callable[[Path, str], Iterable[Example]]] = {
    "chestxray14": chest_xray14,
    "chexnet": chexnet,
    "medmnist": medmnist,
    "table": described,
    "dicom": dicom,
}
