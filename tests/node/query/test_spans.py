"""The ranges of the index that a key is looked up in, against the key's own test, and searches against scans."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.dicom.hierarchy import REQUIRED
from node.query import catalog
from node.query.matching import read_key, read_keys
from node.query.spans import INDEX_OF, spans
from storage.database.database import Database
from storage.database.lookup import FORMS, Span
from storage.folding import stored_values
from storage.record import Level
from tests.support.storage.invented import item

TEXT = st.text(st.sampled_from('aAbB é*?^= ."'), max_size=6)
MOMENT = st.text(st.sampled_from("0129.-"), max_size=9)
KEYS = {"StudyDate": MOMENT, "Modality": TEXT, "PatientName": TEXT, "PatientID": TEXT, "AccessionNumber": TEXT}
CASES = st.sampled_from(sorted(KEYS)).flatmap(
    lambda keyword: st.tuples(
        st.just(keyword),
        st.lists(st.one_of(KEYS[keyword], st.just('""')), max_size=2).map("\\".join),
        st.lists(KEYS[keyword], max_size=2).map("\\".join),
    )
)


def lies_in(form: str, span: Span) -> bool:
    if span.piece not in form:
        return False
    if span.is_single:
        return form == span.first
    return form >= span.first and (not span.last or form[: len(span.last)] <= span.last)


@settings(deadline=None, max_examples=2000)
@given(case=CASES)
def test_whatever_a_key_matches_lies_in_its_ranges(case: tuple[str, str, str]) -> None:
    keyword, text, stored = case
    key = read_key(keyword, text)
    ranges = spans(key)

    if ranges is None:
        assert key.is_universal
    elif key.matches(stored) or (keyword in REQUIRED and not stored):
        forms = [form for value in stored_values(stored) for form in FORMS[INDEX_OF[keyword]](value)]
        assert any(lies_in(form, span) for form in forms for span in ranges)


@pytest.mark.parametrize(
    ("keyword", "text", "expected"),
    [
        ("PatientID", "A1", {Span("", is_single=True), Span("A1", is_single=True)}),
        ("AccessionNumber", "A1*", {Span("", is_single=True), Span("A1", "A1")}),
        ("PatientName", "Müll?r^*", {Span("", is_single=True), Span("mull", "mull")}),
        ("PatientName", "=山田", {Span("", is_single=True), Span("山田", is_single=True)}),
        ("StudyDate", "20200101-20200131", None),
        ("ModalitiesInStudy", "ct\\MR", {Span("CT", is_single=True), Span("MR", is_single=True)}),
    ],
)
def test_a_key_is_looked_up_by_what_stands_before_its_first_wild_card(
    keyword: str, text: str, expected: set[Span] | None
) -> None:
    ranges = set(spans(read_key(keyword, text)) or ())

    assert ranges == expected or (expected is None and Span("20200101", "20200131") in ranges)


def test_other_keys_and_those_that_match_everything_have_no_ranges() -> None:
    assert spans(read_key("StudyDescription", "CHEST")) is None
    assert spans(read_key("PatientName", "*")) is None


ATTRIBUTES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "patient": {"PatientID": ["A", "AB", ""], "PatientName": ["Doe^Jane", "Dôe", "Li=李", ""]},
    "study": {"StudyDate": ["20200101", "2020", "2020.06.15", ""], "AccessionNumber": ["A1", "A2", ""]},
    "series": {"Modality": ["CT", "mr", "CT\\MR", ""]},
}
CHANGES = st.fixed_dictionaries(
    {
        level: st.fixed_dictionaries({word: st.sampled_from(pool) for word, pool in pools.items()})
        for level, pools in ATTRIBUTES.items()
    }
)
QUERIES = st.fixed_dictionaries({}, optional={
    "PatientID": st.sampled_from(["A", "A*", "AB\\C"]),
    "PatientName": st.sampled_from(["doe*", "D?E^JANE", "李", "*"]),
    "StudyDate": st.sampled_from(["20200101-20200301", "2020", "20200615", "-20200102", "20200201-"]),
    "AccessionNumber": st.sampled_from(["A1", "A?", '""']),
    "ModalitiesInStudy": st.sampled_from(["CT", "MR\\US", "C*", "mr"]),
})  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(
    first=st.lists(CHANGES, min_size=1, max_size=12),
    corrections=st.lists(st.tuples(st.integers(0, 11), CHANGES), max_size=6),
    gone=st.sets(st.integers(0, 11), max_size=4),
    query=QUERIES,
    level=st.sampled_from([Level.STUDY, Level.SERIES]),
)
def test_after_corrections_and_removals_the_index_finds_what_a_scan_finds(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[dict[str, Any]],
    corrections: list[tuple[int, dict[str, Any]]],
    gone: set[int],
    query: dict[str, str],
    level: Level,
) -> None:
    with Database.create_or_open(tmp_path_factory.mktemp("database"), 64, "model", 1 << 26) as database:
        database.append([item(number, **changes) for number, changes in enumerate(first)])
        for step, (number, changes) in enumerate(corrections):
            later: dict[str, Any] = {"received_ns": (1 << 62) + step, "content_digest": f"correction {step}".encode()}
            database.append([item(number, **changes, **later)], replace=True)
        database.remove([f"2.25.2{number}" for number in gone])
        assert database.verify() == []

        with database.snapshot() as snapshot, pytest.MonkeyPatch.context() as patch:
            looked_up = {entity.uid for entity in catalog.find(snapshot, level, read_keys(query))}
            patch.setattr(catalog, "most_selective", lambda *_, **__: None)
            scanned = {entity.uid for entity in catalog.find(snapshot, level, read_keys(query))}

    assert looked_up == scanned


def test_the_most_selective_key_leads_to_the_candidates(tmp_path: Path) -> None:
    with Database.create_or_open(tmp_path, 64, "model", 1 << 26) as database:
        database.append([item(number, study={"AccessionNumber": str(number // 4)}) for number in range(64)])
        steps: list[None] = []

        with database.snapshot() as snapshot:
            keys = read_keys({"AccessionNumber": "7", "PatientName": "Test*", "StudyDate": "2020-2021"})
            [study] = catalog.find(snapshot, Level.STUDY, keys, check=lambda: steps.append(None))

    assert study.uid == "2.25.47"
    assert len(steps) < 8
