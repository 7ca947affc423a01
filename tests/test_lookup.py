"""Entities by an attribute that is not their unique key, through all that happens to them."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.database.database import Database
from storage.database.lookup import KEYWORDS
from storage.record import Level
from tests.invented import item

MAP_SIZE = 1 << 26
VALUES = st.sampled_from(["", "A", "A ", "B", "A\\B", "a", "é" * 300, "é" * 300 + "x"])


def create(path: Path) -> Database:
    return Database.create_or_open(path, 64, "model", MAP_SIZE)


def found(database: Database, level: Level, value: str) -> list[str]:
    with database.snapshot() as snapshot:
        return [entity.uid for entity in snapshot.entities_by_value(level, value)]


@settings(deadline=None, max_examples=30)
@given(
    numbers=st.permutations(range(16)),
    values=st.lists(VALUES, min_size=16, max_size=16),
    gone=st.sets(st.integers(0, 15)),
)
def test_every_entity_is_found_by_each_of_its_values_as_long_as_it_is_there(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], values: list[str], gone: set[int]
) -> None:
    with create(tmp_path_factory.mktemp("database")) as database:
        for number in numbers:  # an empty value is filled in by a later image, and the first value stays
            patient, study = {"PatientID": values[number // 8]}, {"AccessionNumber": values[number]}
            database.append([item(number, patient=patient, study=study)])
        database.remove([f"2.25.2{number}" for number in gone])

        assert database.verify() == []
        with database.snapshot() as snapshot:
            for level, keyword in KEYWORDS.items():
                entities = list(snapshot.entities(level))
                for value in {part for text in values for part in text.split("\\")}:
                    expected = [
                        entity.uid
                        for entity in entities
                        if value.strip() in [part.strip() for part in entity.attributes.get(keyword, "").split("\\")]
                    ]
                    looked_up = [entity.uid for entity in snapshot.entities_by_value(level, value)]
                    assert looked_up == expected or (len(value) > 240 and set(looked_up) >= set(expected))


def test_a_study_that_gets_a_patient_is_found_by_its_patient_id(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        database.append([item(0, patient_key="\\\\2.25.40", patient={"PatientID": ""})])
        database.append([item(1, patient_key="A\\", patient={"PatientID": "A"})])

        assert found(database, Level.PATIENT, "A") == ["A\\"]
        assert found(database, Level.PATIENT, "") == []
        assert database.verify() == []
