"""The phantom hospital as a whole: stable, independent, readable, and true to its own table."""

import csv
from collections import Counter
from hashlib import sha256
from itertools import islice
from pathlib import Path

import pytest
from pydicom import dcmread

from hashing.phantoms.hospital import Sample, count, patient_samples, samples, write_samples


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("hospital")
    assert len(list(write_samples(directory, 2))) == count(2)
    return directory


@pytest.fixture(scope="module")
def patient() -> list[Sample]:
    return list(patient_samples(1))


def digests(directory: Path) -> dict[str, str]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_writes_the_same_bytes_whatever_the_number_of_patients(hospital: Path, tmp_path: Path) -> None:
    list(write_samples(tmp_path, 1))

    first = {path: digest for path, digest in digests(hospital).items() if path.startswith("PHANTOM-0000/")}
    assert len(first) == count(1)
    assert first == {path: digest for path, digest in digests(tmp_path).items() if path != "truth.csv"}


@pytest.mark.slow
def test_two_processes_write_the_same_bytes_as_one(hospital: Path, tmp_path: Path) -> None:
    list(write_samples(tmp_path, 2, workers=2))

    assert digests(tmp_path) == digests(hospital)


def test_another_seed_gives_other_people_under_other_identifiers() -> None:
    one, other = next(samples(1, seed=0)), next(samples(1, seed=1))

    assert one.dataset.PatientID != other.dataset.PatientID
    assert one.dataset.SOPInstanceUID != other.dataset.SOPInstanceUID
    assert one.dataset.PixelData != other.dataset.PixelData


def test_twelve_patients_have_about_three_hundred_instances() -> None:
    assert 290 <= count(12) <= 310


def test_samples_are_made_only_when_asked_for() -> None:
    assert len(list(islice(samples(1_000_000), 2))) == 2


def test_stopping_early_leaves_the_patients_not_reached_unwritten(tmp_path: Path) -> None:
    paths = write_samples(tmp_path, 1_000_000)

    next(paths)
    paths.close()  # type: ignore[attr-defined]

    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["PHANTOM-0000"]


def test_every_file_reads_back_with_its_pixels(hospital: Path) -> None:
    for path in hospital.rglob("*.dcm"):
        dataset = dcmread(path)

        assert dataset.pixel_array.shape == (dataset.Rows, dataset.Columns)
        assert dataset.pixel_array.std() > 0
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID


def test_uids_are_valid_and_instances_have_their_own(patient: list[Sample]) -> None:
    datasets = [sample.dataset for sample in patient]
    for dataset in datasets:
        for uid in (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID):
            assert uid.is_valid

    assert len({dataset.SOPInstanceUID for dataset in datasets}) == len(datasets)


def test_two_visits_share_the_patient_but_no_study(patient: list[Sample]) -> None:
    first, second = ([s.dataset for s in patient if s.truth.visit == visit] for visit in (0, 1))

    assert {d.PatientID for d in first} == {d.PatientID for d in second}
    assert not {d.StudyInstanceUID for d in first} & {d.StudyInstanceUID for d in second}
    assert max(d.StudyDate for d in first) < min(d.StudyDate for d in second)


def test_a_study_has_one_date_and_a_series_one_modality(patient: list[Sample]) -> None:
    studies = {(s.dataset.StudyInstanceUID, s.dataset.StudyDate, s.dataset.AccessionNumber) for s in patient}
    series = {(s.dataset.SeriesInstanceUID, s.dataset.Modality, s.dataset.SeriesNumber) for s in patient}

    assert len(studies) == len({uid for uid, *_ in studies}) == 5
    assert len(series) == len({uid for uid, *_ in series})


def test_the_table_tells_each_file_and_what_it_shows(hospital: Path) -> None:
    with (hospital / "truth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    shown = {s.dataset.SOPInstanceUID: s.truth for s in samples(2)}
    assert len(rows) == count(2)
    for row in rows:
        truth = shown[row["sop_instance_uid"]]
        assert dcmread(hospital / row["path"], stop_before_pixels=True).SOPInstanceUID == row["sop_instance_uid"]
        assert row["findings"] == "|".join(truth.findings)
        assert row["level"] == ("" if truth.level is None else f"{truth.level:.4f}")


def test_sections_descend_and_radiographs_have_no_level(patient: list[Sample]) -> None:
    levels: dict[str, list[tuple[float, float]]] = {}
    for sample in patient:
        if sample.truth.level is None:
            assert sample.truth.modality in ("CR", "DX")
        else:
            position = float(sample.dataset.ImagePositionPatient[2])
            levels.setdefault(sample.dataset.SeriesInstanceUID, []).append((sample.truth.level, -position))

    for series in levels.values():
        assert series == sorted(series)
        assert 0 <= series[0][0] < series[-1][0] <= 1.2


def test_transfer_syntaxes_and_modalities_vary(hospital: Path) -> None:
    metas = [dcmread(path, stop_before_pixels=True) for path in hospital.rglob("*.dcm")]

    assert len({meta.file_meta.TransferSyntaxUID for meta in metas}) >= 5
    assert set(Counter(meta.Modality for meta in metas)) == {"CT", "CR", "DX", "MR"}
