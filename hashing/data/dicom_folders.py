"""Folders of DICOM files, as those of TCIA, as labelled sets: patients, few sections a series, a manifest with hashes.

Pixels are read where those of all sets are, by `hashing.images`, as the node does for an instance it receives.
"""

import csv
import hashlib
import logging
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from hashing.data.examples import Example
from hashing.images.pixels import PixelError, network_input
from hashing.progress import progress

logger = logging.getLogger(__name__)
LABEL_MAP, MANIFEST = "labels.csv", "manifest.csv"
SECTIONS_PER_SERIES = 10
TEST_SHARE = 5
"""One patient of so many is for tests."""
ATTRIBUTES = (
    "SOPInstanceUID", "SeriesInstanceUID", "InstanceNumber", "PatientID", "Modality", "BodyPartExamined", "Rows",
    "ImagePositionPatient", "ImageOrientationPatient",
)  # fmt: skip
COLUMNS = ("file", "sha256", "collection", "patient_id", "series_uid", "kind", "labels", "split")


@dataclass(frozen=True, slots=True)
class Section:
    """One DICOM file that holds an image.

    Attributes
    ----------
    file
        Path relative to the folder, whose first part is the collection.
    kind
        Modality and body part.
    position_mm
        Position along the normal of the image plane, mm; Instance Number where a file does not tell its plane.
    """

    file: Path
    patient_id: str
    series_uid: str
    sop_instance_uid: str
    kind: str
    position_mm: float

    @property
    def collection(self) -> str:
        """The first folder of the path, which for TCIA is the collection."""
        return self.file.parts[0]

    @property
    def split(self) -> str:
        """Part of the set, drawn by a checksum of the patient: "test" for a fifth of the patients, else "train"."""
        return "test" if zlib.crc32(f"test {self.patient_id}".encode()) % TEST_SHARE == 0 else "train"


def dicom(root: Path, path: str) -> Iterator[Example]:
    """A folder of DICOM files. Where it holds a manifest, the set is exactly that of the manifest.

    Patients and kinds come from the headers. Labels come from `labels.csv` in the folder (see `LabelMap`), or are the
    collections where there is no such file. At most 10 sections of a series are taken, evenly spaced along it, so that
    a few large series do not dominate. A fifth of the patients, drawn by a checksum, is for tests. Of a file with
    several frames the first is read.

    Raises
    ------
    ValueError
        A file is missing or is not the one of the manifest.
    """
    folder = root / path
    if (folder / MANIFEST).exists():
        yield from _of_manifest(folder, path)
        return
    labelled, left_out = labelled_sections(folder)
    for reason, count in sorted(left_out.items()):
        logger.warning("%s: %d files are left out: %s", path, count, reason)
    for section, labels in labelled:
        yield Example(
            path, str(section.file), labels, section.kind, section.patient_id, section.split, source=section.collection
        )


def write_manifest(folder: Path) -> Counter[str]:
    """Write `manifest.csv`: the files of the set with their SHA-256, patients, labels and parts.

    Each file is decoded as for training, and files whose pixels cannot be shown are left out. An old manifest is
    replaced.

    Returns
    -------
    Number of files by what became of them: "in the manifest", or the reason why they are not.
    """
    labelled, outcomes = labelled_sections(folder)
    partial = folder / f"{MANIFEST}.partial"
    with partial.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for section, labels in progress(labelled, f"decoding {folder.name}", len(labelled)):
            try:
                network_input(dcmread(folder / section.file))
            except PixelError as error:
                outcomes[f"pixels: {error.reason}"] += 1
                continue
            outcomes["in the manifest"] += 1
            table.writerow(
                [section.file, _sha256(folder / section.file), section.collection, section.patient_id,
                 section.series_uid, section.kind, "|".join(labels), section.split]
            )  # fmt: skip
    partial.rename(folder / MANIFEST)
    return outcomes


def labelled_sections(
    folder: Path, per_series: int = SECTIONS_PER_SERIES
) -> tuple[list[tuple[Section, tuple[str, ...]]], Counter[str]]:
    """The files of the set with their labels, by series and position; and the number of files left out, by reason.

    Parameters
    ----------
    per_series
        Number of sections of a series that are taken at most; 0 takes all.
    """
    labels, left_out = LabelMap.read(folder / LABEL_MAP), Counter[str]()
    sections: dict[str, Section] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in ("", ".dcm")):
        found = _section(folder, path)
        if isinstance(found, str):
            left_out[found] += 1
        elif found.sop_instance_uid in sections:
            left_out["the same instance again"] += 1
        elif not labels.of(found):
            left_out["no label in the label map"] += 1
        else:
            sections[found.sop_instance_uid] = found
    ordered = sorted(sections.values(), key=lambda section: (section.series_uid, section.position_mm, section.file))
    chosen = [
        section
        for _, series in groupby(ordered, key=lambda section: section.series_uid)
        for section in capped(list(series), per_series)
    ]
    if len(chosen) < len(ordered):
        left_out["more sections of a series than are taken"] = len(ordered) - len(chosen)
    return [(section, labels.of(section)) for section in chosen], left_out


def capped(series: Sequence[Section], number: int = SECTIONS_PER_SERIES) -> list[Section]:
    """At most `number` sections of a series, evenly spaced, the first and the last among them; all where it is 0."""
    chosen = np.unique(np.linspace(0, len(series) - 1, min(len(series), number or len(series))).astype(int))
    return [series[index] for index in chosen]


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Labels of series, patients or collections.

    Attributes
    ----------
    rows
        By column ("series_uid", "patient_id" or "collection") and value: the labels. None where a folder has no map:
        the label is the collection then.
    """

    rows: dict[tuple[str, str], tuple[str, ...]] | None

    @classmethod
    def read(cls, path: Path) -> "LabelMap":
        """The map of a CSV file: `label` (several joined by "|") and one or more of the columns of `rows`.

        A row with several of them speaks for the first that it gives: a series, else a patient, else a collection.

        Raises
        ------
        ValueError
            The file lacks a column, or labels a thing twice.
        """
        if not path.exists():
            return cls(None)
        rows: dict[tuple[str, str], tuple[str, ...]] = {}
        with path.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                keys = [(name, row[name]) for name in ("series_uid", "patient_id", "collection") if row.get(name)]
                labels = tuple(label for label in (row.get("label") or "").split("|") if label)
                if not keys or not labels:
                    raise ValueError(f"{path.name}, line {number}: give a label, and a series, patient or collection")
                if keys[0] in rows:
                    raise ValueError(f"{path.name}, line {number}: this {keys[0][0]} is labelled already")
                rows[keys[0]] = labels
        return cls(rows)

    def of(self, section: Section) -> tuple[str, ...]:
        """Labels of a section: those of its series, else of its patient, else of its collection; () for none."""
        if self.rows is None:
            return (section.collection,)
        keys = (
            ("series_uid", section.series_uid),
            ("patient_id", section.patient_id),
            ("collection", section.collection),
        )
        return next((self.rows[key] for key in keys if key in self.rows), ())


def _section(folder: Path, path: Path) -> Section | str:
    """A DICOM file's section, or why it has none."""
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=list(ATTRIBUTES))
        if "Rows" not in header:
            return "no pixels"
        if not header.get("PatientID") or not header.get("SeriesInstanceUID") or not header.get("SOPInstanceUID"):
            return "no patient, series or instance in the header"
        return Section(
            path.relative_to(folder),
            str(header.PatientID),
            str(header.SeriesInstanceUID),
            str(header.SOPInstanceUID),
            f"{header.get('Modality') or ''} {header.get('BodyPartExamined') or ''}".strip(),
            _position_mm(header),
        )
    except InvalidDicomError:
        return "no DICOM file"
    except (ValueError, TypeError, EOFError):
        return "a header that cannot be read"


def _position_mm(header: Dataset) -> float:
    position, orientation = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
    if position and orientation and len(position) == 3 and len(orientation) == 6:
        row, column = np.reshape(np.array(orientation, float), (2, 3))
        return float(np.cross(row, column) @ np.array(position, float))
    return float(header.get("InstanceNumber") or 0)


def _of_manifest(folder: Path, path: str) -> Iterator[Example]:
    with (folder / MANIFEST).open(newline="") as file:
        for row in csv.DictReader(file):
            member = folder / row["file"]
            if not member.exists() or _sha256(member) != row["sha256"]:
                raise ValueError(
                    f"{member} is missing or not the file of {MANIFEST}: restore it, or write the manifest anew with "
                    "python -m hashing manifest"
                )
            labels = tuple(row["labels"].split("|"))
            yield Example(
                path, row["file"], labels, row["kind"], row["patient_id"], row["split"], source=row["collection"]
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
