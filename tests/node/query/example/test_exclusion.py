"""The same patient is never shown as a look-alike, whatever issuer a sender leaves out."""

from pathlib import Path
from typing import Any

import pytest

from node.query.question import Exclusion, Question
from node.query.retriever import Retriever
from storage.database.database import Database
from storage.record import Level
from storage.search.index import Filter
from storage.search.local import LocalIndex
from storage.spool.queue import Spool
from tests.support.dicom.archive import instance, uid

STUDIES: dict[str, dict[str, Any]] = {
    "1.1.1": {"PatientID": "I", "IssuerOfPatientID": "HERE"},
    "2.1.1": {"PatientID": "I"},
    "3.1.1": {"PatientID": "I", "IssuerOfPatientID": "THERE"},
    "4.1.1": {"PatientID": "II"},
    "5.1.1": {"PatientID": "I", "IssuerOfPatientID": ""},
}


@pytest.mark.parametrize(
    ("example", "expected"),
    [("1.1.1", {"3", "4"}), ("2.1.1", {"4"}), ("3.1.1", {"1", "4"}), ("4.1.1", {"1", "2", "3", "5"}), ("5.1.1", {"4"})],
)
def test_a_missing_issuer_makes_no_other_patient_to_exclude(tmp_path: Path, example: str, expected: set[str]) -> None:
    spool = Spool(tmp_path / "spool", capacity=9, free_bytes=0)
    question = Question((uid(example),), exclusions=frozenset({Exclusion.SELF, Exclusion.PATIENT}))

    with Database.create_or_open(tmp_path / "database", 64, "model", 1 << 24) as database:
        stored = [instance(place, number, attributes=who) for number, (place, who) in enumerate(STUDIES.items())]
        database.append(stored)
        retriever = Retriever(spool, LocalIndex(database).view, "model")
        with database.snapshot() as snapshot:
            answer = retriever.similar(snapshot, question, Level.STUDY, Filter())

    assert {match.entity.uid.removeprefix("2.25.") for match in answer.matches} == expected
