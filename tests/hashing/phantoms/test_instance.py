"""Instances: transfer syntax, level, and validity."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from hashing.phantoms.body.chest import chest
from hashing.phantoms.body.head import head
from hashing.phantoms.body.person import person
from hashing.phantoms.instance import instance
from hashing.phantoms.schedule import Series, schedule
from tests.support.running import program

EVERY_SYNTAX = {s.transfer_syntax: (n, s) for n in range(12) for s in schedule(n)}


def make(number: int, series: Series, index: int = 0) -> tuple:  # type: ignore[type-arg]
    who = person(number, 0)
    return instance(who, series, index, head(who) if series.modality == "MR" else chest(who, series.visit))


@pytest.mark.parametrize("syntax", EVERY_SYNTAX)
def test_compression_loses_nothing_but_size(syntax: str) -> None:
    number, series = EVERY_SYNTAX[syntax]  # type: ignore[index]
    plain = Series(**{**{n: getattr(series, n) for n in Series.__slots__}, "transfer_syntax": ExplicitVRLittleEndian})

    packed, unpacked = make(number, series)[0], make(number, plain)[0]

    assert packed.file_meta.TransferSyntaxUID == syntax
    assert packed.SOPInstanceUID == unpacked.SOPInstanceUID
    assert np.array_equal(packed.pixel_array, unpacked.pixel_array)


def test_series_of_one_patient_cut_nearly_the_same_levels() -> None:
    first, second = (s for s in schedule(0) if s.modality == "CT")

    assert make(0, first)[1] == pytest.approx(make(0, second)[1], abs=0.06)
    assert make(0, schedule(0)[0])[1] is None


@pytest.mark.peers
def test_dciodvfy_finds_no_error(tmp_path: Path) -> None:
    verifier = program("dciodvfy")
    for number in range(5):
        for series in schedule(number):
            path = tmp_path / f"{number}-{series.number}.dcm"
            make(number, series)[0].save_as(path, enforce_file_format=True)
            dataset = dcmread(path)
            if series.transfer_syntax == DeflatedExplicitVRLittleEndian:  # which dciodvfy may be built without
                dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
                dataset.save_as(path, enforce_file_format=True)

            report = subprocess.run([verifier, str(path)], capture_output=True, text=True, check=False)

            assert [line for line in report.stderr.splitlines() if line.startswith(("Error", "Warning"))] == []
