"""Labelled images for training and evaluation, read once through the serving preprocessing and kept in memory maps.

Each set lies in a folder with the layout of its public package: a CSV index beside zip files of JPEG or PNG images.
"""

import csv
import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from hashing.pixels import network_input, preprocess
from hashing.progress import progress

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
NO_FINDING = "No Finding"
LABELS = (
    *FINDINGS, NO_FINDING,
    "child_normal", "child_bacterial_pneumonia", "child_viral_pneumonia",
    "brain_glioma", "brain_meningioma", "brain_pituitary",
    "lung_malignant", "lung_benign", "lung_normal",
    "breast_malignant", "breast_benign", "breast_normal",
)  # fmt: skip
KINDS = ("adult chest radiograph", "child chest radiograph", "head MR", "chest CT", "breast US")


@dataclass(frozen=True, slots=True)
class Example:
    """One image before reading: where it is, what it shows, and to which part it belongs."""

    archive: str
    member: str
    labels: tuple[str, ...]
    kind: str
    group: str
    split: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """Images with their labels.

    Attributes
    ----------
    images : (n, 224, 224) uint8, memory-mapped
    labels : (n, len(LABELS)) bool
    kinds : (n,) int
        Index into `KINDS`.
    groups : (n,) str
        Patient where known, else the group of near-identical images.
    splits : (n,) str
        "train", "validation" (carved from train by group) or "test".
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.bool_]
    kinds: NDArray[np.int64]
    groups: NDArray[np.str_]
    splits: NDArray[np.str_]

    def part(self, *splits: str) -> NDArray[np.int64]:
        """Row numbers of the named parts, ascending."""
        return np.flatnonzero(np.isin(self.splits, splits))


def load(name: str, root: Path, cache: Path) -> Dataset:
    """A set by name: "nih14k", "paediatric", "dafh" (without radiographs whose terms forbid shipping), "phantoms".

    Parameters
    ----------
    root
        Folder that holds `chestxray14/`, `other_cxr/` and `multimodality/`.
    cache
        Folder for the preprocessed images, made on the first call.

    Raises
    ------
    FileNotFoundError
        The set is not under `root`.
    ValueError
        A group stands on both sides of the test split.
    """
    examples = [_with_validation(example) for example in READERS[name](root)]
    _check_disjoint(name, examples)
    return Dataset(
        images=_cached_images(name, root, cache, examples),
        labels=np.array([[label in example.labels for label in LABELS] for example in examples]),
        kinds=np.array([KINDS.index(example.kind) for example in examples]),
        groups=np.array([example.group for example in examples]),
        splits=np.array([example.split for example in examples]),
    )


def _nih14k(root: Path) -> Iterator[Example]:
    """ChestX-ray14 images of the three packages, each at its largest size, by the official patient-disjoint split."""
    where: dict[str, tuple[str, str]] = {}
    for archive in ("nih_cxr_64.zip", "nih_cxr_128.zip", "nih_cxr_256.zip"):
        path = f"chestxray14/{archive}"
        with zipfile.ZipFile(root / path) as file:
            where |= {Path(member).stem: (path, member) for member in file.namelist() if not member.endswith("/")}
    with gzip.open(root / "chestxray14/labels.csv.gz", "rt", newline="") as table:
        for row in csv.DictReader(table):
            place = where.get(Path(row["image"]).stem)
            if place is None:
                continue
            labels = tuple(finding for finding in FINDINGS if row[finding] == "1") or (NO_FINDING,)
            split = "test" if row["split_official"] == "test" else "train"
            yield Example(*place, labels, KINDS[0], f"nih-{row['patient_id']}", split)


def _paediatric(root: Path) -> Iterator[Example]:
    """Chest X-rays of children (Kermany et al., Cell 2018)."""
    for row in _rows(root / "other_cxr/pediatric_pneumonia_index.csv"):
        archive = "other_cxr/pediatric_pneumonia_176.zip"
        yield Example(archive, row["file"], (f"child_{row['class']}",), KINDS[1], row["patient_group"], row["split"])


def _dafh(root: Path) -> Iterator[Example]:
    """Brain MR, lung CT and breast US of the fusion-hashing sets.

    Three groups of near-identical images stand on both sides of the published split; their training side is left out.
    """
    kinds = {"MR": KINDS[2], "CT": KINDS[3], "US": KINDS[4]}
    rows = [row for row in _rows(root / "multimodality/dafh_index.csv") if row["modality"] in kinds]
    tested = {(row["zip_file"], row["group"]) for row in rows if row["split"] == "test"}
    for row in rows:
        if row["split"] == "test" or (row["zip_file"], row["group"]) not in tested:
            group = f"{row['organ']}-{row['group']}"
            yield Example(row["zip_file"], row["file"], (row["label"],), kinds[row["modality"]], group, row["split"])


PHANTOM_FINDINGS = {"enlarged heart": "Cardiomegaly", "effusion": "Effusion", "nodule": "Nodule", "mass": "Mass"}


def _phantoms(root: Path) -> Iterator[Example]:
    """Computed cases, as `lookalike sample phantoms` writes them; sections have a kind and no labels."""
    kinds = {"CR": KINDS[0], "DX": KINDS[0], "CT": KINDS[3], "MR": KINDS[2]}
    for row in _rows(root / "phantoms/truth.csv"):
        kind = kinds[row["modality"]]
        found = tuple(PHANTOM_FINDINGS[one] for one in row["findings"].split("|") if one in PHANTOM_FINDINGS)
        labels = (found or (NO_FINDING,)) if kind == KINDS[0] else ()
        yield Example("phantoms", row["path"], labels, kind, f"phantom-{row['patient']}", "train")


READERS: dict[str, Callable[[Path], Iterable[Example]]] = {
    "nih14k": _nih14k,
    "paediatric": _paediatric,
    "dafh": _dafh,
    "phantoms": _phantoms,
}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as table:
        return list(csv.DictReader(table))


def _with_validation(example: Example) -> Example:
    """A tenth of the training groups, drawn by a checksum of their names, becomes the validation part."""
    held_back = example.split == "train" and zlib.crc32(example.group.encode()) % 10 == 0
    return replace(example, split="validation") if held_back else example


def _check_disjoint(name: str, examples: Sequence[Example]) -> None:
    test = {example.group for example in examples if example.split == "test"}
    shared = sorted({example.group for example in examples if example.split != "test"} & test)
    if shared:
        raise ValueError(f"{name}: on both sides of the test split: {', '.join(shared[:10])}")


def _cached_images(name: str, root: Path, cache: Path, examples: Sequence[Example]) -> NDArray[np.uint8]:
    path = cache / f"{name}-{len(examples)}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        images = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=(len(examples), 224, 224))
        for row, image in enumerate(progress(_images(root, examples), f"reading {name}", len(examples))):
            images[row] = image
        images.flush()
        partial.rename(path)
    cached: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return cached


def _images(root: Path, examples: Sequence[Example]) -> Iterator[NDArray[np.uint8]]:
    names = {example.archive for example in examples if example.archive.endswith(".zip")}
    archives = {archive: zipfile.ZipFile(root / archive) for archive in names}
    for example in examples:
        if example.archive not in archives:
            yield network_input(dcmread(root / example.archive / example.member))
            continue
        with Image.open(io.BytesIO(archives[example.archive].read(example.member))) as image:
            yield preprocess(sitk.GetImageFromArray(np.asarray(image.convert("L"))))
