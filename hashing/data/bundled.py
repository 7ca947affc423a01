"""Readers of the sets that Lookalike knows by name; most are an index beside a zip file."""

import csv
import gzip
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hashing.data.examples import (
    ABDOMEN_CT,
    ADULT_CHEST,
    BREAST_MR,
    BREAST_US,
    CHEST_CT,
    CHILD_CHEST,
    FINDINGS,
    HAND,
    HEAD_CT,
    HEAD_MR,
    NO_FINDING,
    Example,
)


@dataclass(frozen=True, slots=True)
class Table:
    """A folder or zip file of images with a CSV index.

    Attributes
    ----------
    index, archive
        Paths of the CSV file and of the folder or zip file, relative to the data folder.
    file, label, group
        Columns of the member name, the labels (joined by "|") and the patient or group. An empty `group` makes each
        image its own group.
    split
        Column with "train" and "test". An empty `split` makes all images "train".
    suffix
        Ending that is added to the value of `file`.
    kind
        Kind of all images.
    prefix
        Beginning that is put before each label, so that labels of different sets differ.
    """

    index: str
    archive: str
    file: str
    label: str
    kind: str
    group: str = ""
    split: str = ""
    suffix: str = ""
    prefix: str = ""


TABLES = {
    "paediatric": Table(
        "other_cxr/pediatric_pneumonia_index.csv", "other_cxr/pediatric_pneumonia_176.zip", "file", "class",
        CHILD_CHEST, "patient_group", "split", prefix="child_",
    ),
    "covid_normal": Table(
        "other_cxr/covid_normal_cxr_224_index.csv", "other_cxr/covid_normal_cxr_224.zip", "file", "class", ADULT_CHEST,
        "", "split", prefix="chest_",
    ),
    "hannover": Table(
        "other_cxr/hannover_index.csv", "other_cxr/hannover_covid19_cxr_320.zip", "image_id", "projection", ADULT_CHEST,
        "patient_id", suffix=".jpg", prefix="projection_",
    ),
    "tcia_ct": Table(
        "dicom/tcia_ct_index.csv", "dicom/tcia_ct.zip", "file", "plane", CHEST_CT, "patient_id", prefix="plane_",
    ),
    "nih_dx": Table(
        "dicom/nih_dx_1024_index.csv", "dicom/nih_dx_1024.zip", "file", "labels", ADULT_CHEST, "patient_id",
    ),
}  # fmt: skip
"""Sets by name whose index says everything."""


def read_table(root: Path, table: Table) -> Iterator[Example]:
    """The images of a CSV index."""
    for row in rows(root / table.index):
        labels = tuple(table.prefix + label for label in row[table.label].split("|"))
        group = row[table.group] if table.group else row[table.file]
        split = row[table.split] if table.split else "train"
        yield Example(table.archive, row[table.file] + table.suffix, labels, table.kind, group, split)


NIH_SIDE = 128
"""Side to which larger files of `nih14k` are reduced, pixels.

The files of 256 pixels were selected by class: a quarter of them shows pneumonia, and .4 % of the others. Read as they
are, they would let a model learn sharpness and call it pneumonia.
"""


def nih14k(root: Path) -> Iterator[Example]:
    """ChestX-ray14 images of the three packages, at `NIH_SIDE` at most, by the official patient-disjoint split."""
    members: dict[str, tuple[str, str]] = {}
    for archive in ("nih_cxr_64.zip", "nih_cxr_128.zip", "nih_cxr_256.zip"):
        path = f"chestxray14/{archive}"
        with zipfile.ZipFile(root / path) as file:
            members |= {Path(member).stem: (path, member) for member in file.namelist() if not member.endswith("/")}
    for row in label_rows(root):
        file_of_image = members.get(Path(row["image"]).stem)
        if file_of_image is not None:
            labels = tuple(finding for finding in FINDINGS if row[finding] == "1") or (NO_FINDING,)
            split = "test" if row["split_official"] == "test" else "train"
            yield Example(*file_of_image, labels, ADULT_CHEST, f"nih-{row['patient_id']}", split, max_side=NIH_SIDE)


def label_rows(root: Path) -> list[dict[str, str]]:
    """Labels, patients and splits of all 112,120 images of ChestX-ray14."""
    with gzip.open(root / "chestxray14/labels.csv.gz", "rt", newline="") as table:
        return list(csv.DictReader(table))


ORDERED = ("multimodality/brain_tumour_mr_224_index.csv", "multimodality/lung_ct_iqothnccd_256_index.csv")
"""Indexes with the published order of the images, which seems to run patient by patient."""
BLOCKS = {
    "brain_glioma": 108, "brain_meningioma": 54, "brain_pituitary": 71,
    "lung_malignant": 40, "lung_benign": 15, "lung_normal": 55,
}  # fmt: skip
"""Patient-like blocks of the published order of a class.

The brain images have no patients: 3,064 images of 233 patients make 13 images a block. The lung classes have as many
blocks as the source has cases.
"""


def dafh(root: Path) -> Iterator[Example]:
    """Brain MR, lung CT and breast US of the fusion-hashing sets.

    Three groups of near-identical images are on both sides of the published split; their training side is left out.
    """
    order = {row["file"]: float(row["order"]) for index in ORDERED for row in rows(root / index)}
    kinds = {"MR": HEAD_MR, "CT": CHEST_CT, "US": BREAST_US}
    images = [row for row in rows(root / "multimodality/dafh_index.csv") if row["modality"] in kinds]
    tested = {(row["zip_file"], row["group"]) for row in images if row["split"] == "test"}
    for row in images:
        if row["split"] == "test" or (row["zip_file"], row["group"]) not in tested:
            group, label = f"{row['organ']}-{row['group']}", row["label"]
            block = f"{label}-{int(order[row['file']] * BLOCKS[label])}" if label in BLOCKS else ""
            kind = kinds[row["modality"]]
            yield Example(row["zip_file"], row["file"], (label,), kind, group, row["split"], block=block)


MEDNIST_KINDS = {
    "AbdomenCT": ABDOMEN_CT, "BreastMRI": BREAST_MR, "ChestCT": CHEST_CT, "CXR": ADULT_CHEST, "Hand": HAND,
    "HeadCT": HEAD_CT,
}  # fmt: skip


def mednist(root: Path) -> Iterator[Example]:
    """Six kinds of image at 64 pixels; without patient numbers, each image is its own group."""
    for row in rows(root / "multimodality/mednist_index.csv"):
        kind, label = MEDNIST_KINDS[row["class"]], f"mednist_{row['class']}"
        yield Example("multimodality/mednist_64.zip", row["file"], (label,), kind, row["file"], row["split"])


BELOW_LUNGS = 0.8  # level of phantom CT sections from which the liver fills them
PHANTOM_FINDINGS = {"enlarged heart": "Cardiomegaly", "effusion": "Effusion", "nodule": "Nodule", "mass": "Mass"}


def phantoms(root: Path) -> Iterator[Example]:
    """Computed cases, as `lookalike sample phantoms` writes them; sections have a kind and no labels."""
    kinds = {"CR": ADULT_CHEST, "DX": ADULT_CHEST, "CT": CHEST_CT, "MR": HEAD_MR}
    for row in rows(root / "phantoms/truth.csv"):
        kind = kinds[row["modality"]]
        if kind == CHEST_CT and float(row["level"]) > BELOW_LUNGS:
            kind = ABDOMEN_CT
        findings = tuple(PHANTOM_FINDINGS[name] for name in row["findings"].split("|") if name in PHANTOM_FINDINGS)
        labels = (findings or (NO_FINDING,)) if kind == ADULT_CHEST else ()
        level = float(row["level"] or "nan")
        yield Example("phantoms", row["path"], labels, kind, f"phantom-{row['patient']}", "train", level=level)


READERS: dict[str, Callable[[Path], Iterable[Example]]] = {
    "nih14k": nih14k, "dafh": dafh, "mednist": mednist, "phantoms": phantoms,
}  # fmt: skip
"""Sets by name that need more than a table."""


def rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file with a header line."""
    with path.open(newline="") as table:
        return list(csv.DictReader(table))
