"""The index of attributes that are no unique keys, through all that happens to the entities."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.database import lookup
from storage.database.database import Database
from storage.database.lookup import FORMS, KEYWORDS, LEVEL_OF_KEYWORD, Span
from storage.folding import stored_values
from storage.record import LEVELS, Level
from storage.vault import CLEAR, Vault
from tests.support.storage.invented import item

MAP_SIZE = 1 << 26
VALUES = {
    "PatientID": ["", "A", "A ", "B", "A\\B", "a", "é" * 300, "é" * 300 + "x"],
    "PatientName": ["", "Müller^Jörg", "MULLER", "Yamada^Tarou=山田^太郎", "^^", "Mu"],
    "AccessionNumber": ["", "A", "A ", "B", "A\\B", "AB", "é" * 300],
    "StudyDate": ["", "20200101", "2020.01.01", "2020", "20200615\\20210101", "x"],
    "Modality": ["", "CT", "ct ", "MR", "CT\\MR"],
}
TEXTS = sorted(
    {form for word, values in VALUES.items() for v in values for p in stored_values(v) for form in FORMS[word](p)}
)
SPANS = st.builds(Span, st.sampled_from(TEXTS), st.sampled_from(TEXTS), st.booleans())


def create(path: Path, vault: Vault = CLEAR) -> Database:
    return Database.create_or_open(path, 64, "model", MAP_SIZE, vault=vault)


def found(database: Database, level: Level, keyword: str, *spans: Span) -> list[str]:
    with database.snapshot() as snapshot:
        return [snapshot.entity_at(level, found).uid for found in snapshot.ordinals_within(level, keyword, spans)]


def lies_in(form: str, span: Span) -> bool:
    if span.is_single:
        return form == span.first
    return form >= span.first and (not span.last or form[: len(span.last)] <= span.last)


def attributes(level: Level, number: int, chosen: list[dict[str, str]]) -> dict[str, str]:
    """Of the entity that instance `number` belongs to; eight images are a patient, four a study, two a series."""
    owner = number // {Level.PATIENT: 8, Level.STUDY: 4, Level.SERIES: 2}[level]
    return {keyword: chosen[owner][keyword] for keyword in KEYWORDS[level]}


@settings(deadline=None, max_examples=30)
@given(
    numbers=st.permutations(range(16)),
    chosen=st.lists(
        st.fixed_dictionaries({word: st.sampled_from(values) for word, values in VALUES.items()}),
        min_size=8,
        max_size=8,
    ),
    gone=st.sets(st.integers(0, 15)),
    spans=st.lists(SPANS, min_size=1, max_size=2),
    vault=st.sampled_from([CLEAR, Vault(bytes(32))]),
)
def test_every_entity_is_found_by_each_of_its_values_as_long_as_it_is_there(
    tmp_path_factory: pytest.TempPathFactory,
    numbers: list[int],
    chosen: list[dict[str, str]],
    gone: set[int],
    spans: list[Span],
    vault: Vault,
) -> None:
    with create(tmp_path_factory.mktemp("database"), vault) as database:
        for number in numbers:
            patient, study, series = (attributes(level, number, chosen) for level in LEVELS[:3])
            database.append([item(number, patient=patient, study=study, series=series)])
        database.remove([f"2.25.2{number}" for number in gone])

        assert database.verify() == []
        with database.snapshot() as snapshot:
            for keyword, level in LEVEL_OF_KEYWORD.items():
                expected = [
                    entity.uid
                    for entity in snapshot.entities(level)
                    for forms in [_forms(keyword, entity.attributes.get(keyword, ""))]
                    if any(lies_in(form, span) for form in forms for span in spans)
                ]
                looked_up = [
                    snapshot.entity_at(level, found).uid for found in snapshot.ordinals_within(level, keyword, spans)
                ]
                is_cut = any(len(span.first) > 240 or len(span.last) > 240 for span in spans)
                assert looked_up == expected or (is_cut and set(looked_up) >= set(expected))
                count = snapshot.count_within(keyword, spans, 1000)
                assert count >= len(looked_up)
                assert snapshot.count_within(keyword, spans, 0) == 0 or count > 0


def _forms(keyword: str, stored: str) -> set[str]:
    return {form for value in stored_values(stored) for form in FORMS[keyword](value)}


def test_a_study_that_gets_a_patient_is_found_by_its_patient_id(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        database.append([item(0, patient_key="\\\\2.25.40", patient={"PatientID": ""})])
        database.append([item(1, patient_key="A\\", patient={"PatientID": "A"})])

        assert found(database, Level.PATIENT, "PatientID", Span("A", is_single=True)) == ["A\\"]
        assert found(database, Level.PATIENT, "PatientID", Span("", is_single=True)) == []
        assert database.verify() == []


def test_a_study_is_found_by_the_modality_of_any_of_its_series(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        database.append([item(number) for number in range(8)])

        assert found(database, Level.STUDY, "Modality", Span("MR", "MR")) == ["2.25.40", "2.25.41"]
        assert found(database, Level.SERIES, "Modality", Span("MR", "MR")) == ["2.25.31", "2.25.33"]


def test_a_corrected_name_and_date_replace_the_old_ones(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        database.append([item(0, patient={"PatientName": "Wrong"}, study={"StudyDate": "20200101"})])
        later: dict[str, Any] = {"received_ns": 1 << 62, "content_digest": b"corrected"}
        right: dict[str, Any] = {"patient": {"PatientName": "Right"}, "study": {"StudyDate": "20210101"}}
        database.append([item(0, **right, **later)], replace=True)

        assert found(database, Level.PATIENT, "PatientName", Span("wrong", "wrong")) == []
        assert found(database, Level.PATIENT, "PatientName", Span("right", "right")) == ["P0\\HOSPITAL"]
        assert found(database, Level.STUDY, "StudyDate", Span("2020", "2020")) == []
        assert found(database, Level.STUDY, "StudyDate", Span("2021", "2021")) == ["2.25.40"]
        assert database.verify() == []


@pytest.mark.parametrize("at_once", [1, 3, 256])
def test_a_piece_is_found_in_every_name_that_has_it_and_in_nothing_else(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "KEYS_AT_ONCE", at_once)
    names = [f"{'NEEDLE' if number in (0, 7, 39) else 'hay'}{number:02}^x" for number in range(39)]
    names += ["aNeedle", "n" * 600 + "needle", "need", "zzz^NEEDLE"]
    with create(tmp_path) as database:
        patients = [{"PatientName": name, "PatientID": "needle"} for name in names]
        database.append([item(8 * number, patient=patient) for number, patient in enumerate(patients)])
        checks: list[int] = []

        with database.snapshot() as snapshot:
            spans = [Span("", piece="needle")]
            ordinals = snapshot.ordinals_within(Level.PATIENT, "PatientName", spans, lambda: checks.append(1))
            count = snapshot.count_within("PatientName", spans, 1000)
            has = {snapshot.entity_at(Level.PATIENT, found).attributes["PatientName"] for found in ordinals}

    assert has == {name for name in names if "needle" in name.lower()}
    assert count == len(ordinals)
    assert len(checks) >= len(names) // at_once
