"""The phantom hospital: any number of computed patients as DICOM, with known answers."""

import csv
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from pydicom.dataset import Dataset

from hashing.phantoms.body.anatomy import Anatomy
from hashing.phantoms.body.chest import chest
from hashing.phantoms.body.head import head
from hashing.phantoms.body.person import Person, person
from hashing.phantoms.instance import instance
from hashing.phantoms.schedule import schedule


@dataclass(frozen=True, slots=True)
class Truth:
    """What an instance shows. It is known because the instance was computed.

    Attributes
    ----------
    patient
        Number of the patient, from 0.
    modality, body_part
        As in Modality and Body Part Examined.
    findings
        The findings of ``FINDINGS`` that this image shows.
    level
        Level of a section, from 0 at the head end to about 1; None for a projection.
    visit
        0 for the patient's first date, 1 for the second.
    """

    patient: int
    modality: str
    body_part: str
    findings: tuple[str, ...]
    level: float | None
    visit: int


@dataclass(frozen=True, slots=True)
class Sample:
    """An instance, ready to save with ``enforce_file_format=True``, and what it shows."""

    dataset: Dataset
    truth: Truth


def count(patients: int) -> int:
    """Number of instances of the patients 0 to ``patients - 1``."""
    return sum(series.images for patient in range(patients) for series in schedule(patient))


def samples(patients: int, seed: int = 0) -> Iterator[Sample]:
    """Instances of patients 0 to ``patients - 1`` in a fixed order, each made when it is taken.

    A patient is the same however many others there are; the same seed gives the same bytes.
    """
    for number in range(patients):
        yield from patient_samples(number, seed)


def patient_samples(number: int, seed: int = 0) -> Iterator[Sample]:
    """Instances of the patient with a number, in a fixed order, each made when it is taken."""
    who = person(number, seed)
    anatomies: dict[tuple[str, int], Anatomy] = {}
    for series in schedule(number):
        key = (series.body_part, series.visit)
        if key not in anatomies:
            anatomies[key] = _anatomy(who, *key)
        anatomy = anatomies[key]
        for index in range(series.images):
            dataset, level = instance(who, series, index, anatomy)
            truth = Truth(number, series.modality, series.body_part, anatomy.findings_at(level), level, series.visit)
            yield Sample(dataset, truth)


def _anatomy(who: Person, body_part: str, visit: int) -> Anatomy:
    return head(who) if body_part == "HEAD" else chest(who, visit)


def write_samples(directory: Path, patients: int, seed: int = 0, *, workers: int = 1) -> Iterator[Path]:
    """Write instances as PATIENT/STUDY/SERIES/nnnn.dcm, and their truths as `truth.csv`; yield each path when written.

    Parameters
    ----------
    directory
        The folder to write into; it is made if it does not exist.
    workers
        Processes, each writing one patient at a time; the files and their order do not depend on it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (
        (directory / "truth.csv").open("w", newline="") as file,
        closing(_rows(directory, patients, seed, workers)) as rows,
    ):
        table = csv.writer(file)
        table.writerow(["path", "sop_instance_uid", "patient", "visit", "modality", "body_part", "findings", "level"])
        for row in rows:
            table.writerow(row)
            yield directory / row[0]


def _rows(directory: Path, patients: int, seed: int, workers: int) -> Generator[list[str]]:
    """Rows of the table. A row comes when its file has been written."""
    write = partial(_write_patient, directory, seed)
    if workers == 1:
        for number in range(patients):
            yield from write(number)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        for rows in pool.map(write, range(patients)):
            yield from rows
    finally:
        pool.shutdown(cancel_futures=True)


def _write_patient(directory: Path, seed: int, number: int) -> list[list[str]]:
    rows = []
    for sample in patient_samples(number, seed):
        path = _path(sample)
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        sample.dataset.save_as(directory / path, enforce_file_format=True)
        rows.append(_row(path, sample))
    return rows


def _path(sample: Sample) -> Path:
    dataset = sample.dataset
    study = f"{dataset.StudyDate}-{dataset.StudyID.rsplit('.', 1)[-1]}"
    series = f"{dataset.SeriesNumber:02d}-{dataset.SeriesDescription.replace(' ', '-')}"
    return Path(dataset.PatientID, study, series, f"{dataset.InstanceNumber:04d}.dcm")


def _row(path: Path, sample: Sample) -> list[str]:
    truth = sample.truth
    level = "" if truth.level is None else f"{truth.level:.4f}"
    names = [path.as_posix(), str(sample.dataset.SOPInstanceUID), str(truth.patient), str(truth.visit)]
    return [*names, truth.modality, truth.body_part, "|".join(truth.findings), level]
