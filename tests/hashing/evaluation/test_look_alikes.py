"""Are the nearest cases of the same kind? On phantoms everywhere, on real images where they are."""

import csv
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from hashing.codes import hamming_distance
from hashing.images.pixels import PixelError, network_input
from hashing.model.encoder import Encoder
from hashing.model.modality import family_of
from hashing.phantoms.hospital import samples

ENOUGH = 0.95
ENOUGH_OF_REAL = 0.75
"""Real files are few: four patients with a head MR, seven with a chest CT."""
ASKED = ("X-ray", "chest CT", "head MR")


@dataclass(frozen=True, slots=True)
class Gallery:
    """Codes with what is known of each image."""

    codes: NDArray[np.uint64]
    families: list[int]
    kinds: list[str]
    patients: list[str]
    findings: list[frozenset[str]]
    levels: list[float | None]

    def nearest(self) -> NDArray[np.int64]:
        """Nearest image of another patient, for each image, its family of modalities first; the first of equal ones."""
        patients, families = np.array(self.patients), np.array(self.families)
        chosen = np.empty(len(self.codes), np.int64)
        for row, code in enumerate(self.codes):
            distances = hamming_distance(code, self.codes).astype(np.int64)
            distances[families != families[row]] += 64
            distances[patients == patients[row]] = np.iinfo(np.int64).max
            chosen[row] = distances.argmin()
        return chosen


def gallery(images: Iterable[tuple[Dataset, str, str, Iterable[str], float | None]]) -> Gallery:
    """Encode images, each with kind, patient, findings and level."""
    inputs, modalities, kinds, patients, findings, levels = [], [], [], [], [], []
    for dataset, kind, patient, found, level in images:
        try:
            inputs.append(network_input(dataset))
        except PixelError:
            continue
        modalities.append(str(dataset.get("Modality") or ""))
        kinds.append(kind)
        patients.append(patient)
        findings.append(frozenset(found))
        levels.append(level)
    encoder = Encoder.load()
    batches = np.array_split(np.arange(len(inputs)), len(inputs) // 16 + 1)
    encodings = [encoder.encode(np.stack([inputs[i] for i in one]), [modalities[i] for i in one]) for one in batches]
    codes, families = np.concatenate([one.codes for one in encodings]), [family_of(one) for one in modalities]
    return Gallery(codes, families, kinds, patients, findings, levels)


def share_of_same_kind(known: Gallery, nearest: NDArray[np.int64], kinds: Iterable[str]) -> Mapping[str, float]:
    """How often the nearest case is of the image's own kind, for each kind asked; it may be a narrower kind of it.

    Each patient counts once: some of the real files are one image in fourteen encodings.
    """
    shares = {}
    for one in kinds:
        of_patients: dict[str, list[bool]] = {}
        for row in np.flatnonzero(np.array(known.kinds) == one):
            of_patients.setdefault(known.patients[row], []).append(known.kinds[nearest[row]].startswith(one))
        shares[one] = float(np.mean([np.mean(hits) for hits in of_patients.values()]))
    return shares


def test_the_nearest_phantom_is_of_the_same_kind(capsys: pytest.CaptureFixture[str]) -> None:
    known = gallery(
        (
            sample.dataset,
            {"CR": "X-ray", "DX": "X-ray", "CT": "chest CT", "MR": "head MR"}[sample.truth.modality],
            str(sample.truth.patient),
            sample.truth.findings,
            sample.truth.level,
        )
        for sample in samples(patients=6, seed=3)
    )

    nearest = known.nearest()
    shares = share_of_same_kind(known, nearest, sorted(set(known.kinds)))

    with capsys.disabled():
        print(f"\nphantoms, nearest is of the same kind: {shares}")
        print(finding_report(known, nearest))
        print(level_report(known, nearest))
    assert min(shares.values()) >= ENOUGH


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_the_nearest_real_image_is_of_the_same_kind(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = gallery(real_images(shared_data / "dicom"))

    nearest = known.nearest()
    shares = share_of_same_kind(known, nearest, ASKED)
    together = np.average([shares[kind] for kind in ASKED], weights=[known.kinds.count(kind) for kind in ASKED])

    with capsys.disabled():
        print(f"\nreal files ({dict(Counter(known.kinds))}), nearest is of the same kind:")
        print(f"{shares}, together {together:.3f}")
    assert together >= ENOUGH_OF_REAL


def real_images(folder: Path) -> Iterable[tuple[Dataset, str, str, Iterable[str], float | None]]:
    """All real files; those whose kind is known from their index are asked about, the others are distractors."""
    for archive in ("tcia_ct", "nih_dx_1024", "dicom_conformance"):
        with (
            (folder / f"{archive}_index.csv").open(newline="") as table,
            zipfile.ZipFile(folder / f"{archive}.zip") as file,
        ):
            for row in csv.DictReader(table):
                if row.get("pixel_status", "decodes") == "decodes":
                    dataset = dcmread(BytesIO(file.read(row["file"])), force=True)
                    yield dataset, real_kind(archive, row), real_patient(archive, row, dataset), (), None


CHEST_PATIENTS = ("A002304", "A046441", "A056642", "A072894")  # the others' axial sections lie in the abdomen
ABDOMEN_PATIENTS = ("A058062",)  # all sections begin below the heart
CHEST_IN_OTHER_PLANES = "chest CT, coronal or sagittal"  # an answer to an axial chest CT, but not asked about
CHEST_CT = (
    "cswil/",
    "dcmqi/segmentations/ct-3slice/",
    "WG04/J2KI/CT1",
    "WG04/JLSN/CT1",
    "WG04/RLE/CT1",
    "WG04/JP",
    "WG04/JLSL/CT1",
)
HEAD_MR = ("dcm_qa_ts/", "fodicom/bench_mr")
HEAD_MR_NAMES = ("MR1_", "MR4_")  # seen: skull base angiography, axial brain


def real_kind(archive: str, row: Mapping[str, str]) -> str:
    """What an image is, by its index and by looking at it; "other" for the distractors."""
    name = row["file"]
    if archive == "nih_dx_1024" or row.get("modality") in {"CR", "DX", "RG", "MG"}:
        return "X-ray"
    if archive == "tcia_ct":
        if row["plane"] == "axial":
            return "chest CT" if row["patient"] in CHEST_PATIENTS else "other"
        return "other" if row["patient"] in ABDOMEN_PATIENTS else CHEST_IN_OTHER_PLANES
    if row["modality"] == "CT" and name.startswith(CHEST_CT):
        return "chest CT"
    if row["modality"] == "MR" and (name.startswith(HEAD_MR) or name.split("/")[-1].startswith(HEAD_MR_NAMES)):
        return "head MR"
    return "other"


def real_patient(archive: str, row: Mapping[str, str], dataset: Dataset) -> str:
    """Patient ID; files without one are each a patient of their own, but re-encodings of one file share theirs."""
    return f"{archive} {dataset.get('PatientID') or row['file']}"


def finding_report(known: Gallery, nearest: NDArray[np.int64]) -> str:
    """How often the nearest radiograph shares a finding, against chance."""
    sick = [row for row, found in enumerate(known.findings) if found and known.kinds[row] == "X-ray"]
    shared = np.mean([bool(known.findings[row] & known.findings[nearest[row]]) for row in sick])
    others = [
        [
            other
            for other in range(len(known.codes))
            if known.kinds[other] == "X-ray" and known.patients[other] != known.patients[row]
        ]
        for row in sick
    ]
    chance = np.mean(
        [
            np.mean([bool(known.findings[row] & known.findings[other]) for other in some])
            for row, some in zip(sick, others, strict=True)
        ]
    )
    return f"X-rays with a finding ({len(sick)}): the nearest shares one in {shared:.0%}, by chance {chance:.0%}"


def level_report(known: Gallery, nearest: NDArray[np.int64], tolerance: float = 0.1) -> str:
    """How often the nearest CT section lies at about the same level, against chance."""
    sections = [row for row, level in enumerate(known.levels) if level is not None and known.kinds[row] == "chest CT"]
    close = np.mean([same_level(known, row, int(nearest[row]), tolerance) for row in sections])
    chance = np.mean(
        [
            same_level(known, row, other, tolerance)
            for row in sections
            for other in sections
            if known.patients[row] != known.patients[other]
        ]
    )
    within = f"the nearest lies within {tolerance} of the level"
    return f"CT sections ({len(sections)}): {within} in {close:.0%}, by chance {chance:.0%}"


def same_level(known: Gallery, one: int, other: int, tolerance: float) -> bool:
    """Whether two sections of one kind lie at about the same level."""
    here, there = known.levels[one], known.levels[other]
    return (
        here is not None
        and there is not None
        and known.kinds[one] == known.kinds[other]
        and abs(here - there) <= tolerance
    )
