"""Ordinary matching over a database, against a plain filter over all records."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.dicom.hierarchy import LEVEL_OF, REQUIRED, UNIQUE
from node.query import catalog
from node.query.matching import read_key, read_keys
from storage.database.database import Database, Item, Snapshot
from storage.record import LEVELS, Level, Record
from storage.search.index import Filter
from storage.search.local import LocalIndex, LocalView
from tests.support.dicom.archive import CR, CT, instance, ladder, uid

STUDIES, SERIES, IMAGES = 3, 2, 2
POOLS: Mapping[str, Sequence[str]] = {
    "PatientID": ["A", "B", "AB", ""],
    "PatientName": ["Doe^Jane", "DOE^JOHN", ""],
    "PatientSex": ["F", "M", "f", ""],
    "AccessionNumber": ["A1", "A1 ", "A2\\A1", ""],
    "StudyDate": ["20200101", "20200615", "", "2020.06.15", "202001", "20200231", "20200101\\20200615"],
    "StudyDescription": ["CHEST", "CHEST AP", ""],
    "Modality": ["CT", "MR", "ct", " CT", ""],
    "BodyPartExamined": ["CHEST", "Head", "HEAD\\CHEST", ""],
    "Manufacturer": ["ACME", "Acme ", "Müller & Co", ""],
    "SeriesNumber": ["1", "2", ""],
    "InstanceNumber": ["1", "2", ""],
    "SOPClassUID": [CT, CR],
}
KEYS: Mapping[str, Sequence[str]] = {
    **POOLS,
    "PatientName": ["doe*", "DOE^J?NE", "*"],
    "StudyDate": [
        "20200101-20200131",
        "-20200615",
        "20200615-",
        "20200615",
        "20200615-20200101",
        "202006",
        "-",
        "2020-",
    ],
    "PatientSex": ["F", "M\\F", "f", "*"],
    "StudyDescription": ["CHEST", "CH*T", "chest", '""'],
    "PatientID": ["A", "B\\A", "A*", " AB ", '""'],
    "AccessionNumber": ["A1", "A2\\A3", "A?", '""'],
    "Modality": ["CT", "CT\\MR", "C*", "ct", "c?\\MR", " CT", '""'],
    "BodyPartExamined": ["CHEST", "HEAD\\CHEST", "?EAD", '""'],
    "Manufacturer": ["ACME", "Acme", "acme", "A*", "M?ller*\\ACME", "nobody", '""'],
    "StudyInstanceUID": [uid("1"), f"{uid('2')}\\{uid('1')}\\{uid('99')}", f"{uid('2')}\\"],
    "SeriesInstanceUID": [uid("1.1"), f"{uid('2.2')}\\{uid('1.1')}"],
    "SOPInstanceUID": [uid("1.1.1"), f"{uid('2.2.1')}\\{uid('1.1.2')}\\{uid('1.1.2')}", "1.2.3"],
    "ModalitiesInStudy": ["CT", "MR\\US", "C?"],
    "SOPClassesInStudy": [CT, CR],
    "NumberOfStudyRelatedInstances": ["1", "4"],
    "NumberOfSeriesRelatedInstances": ["2"],
    "NumberOfPatientRelatedStudies": ["1", "2"],
}


@st.composite
def archives(draw: st.DrawFn) -> list[Item]:
    """Instances of a few studies, each attribute the same for all that share the entity it belongs to."""
    places = [(a, b, c) for a in range(1, STUDIES + 1) for b in range(1, SERIES + 1) for c in range(1, IMAGES + 1)]
    chosen = draw(st.lists(st.sampled_from(places), min_size=1, unique=True))
    seen: dict[tuple[str, object], str] = {}
    items: list[Item] = []
    for place in chosen:
        owner: dict[Level, object] = {Level.STUDY: place[:1], Level.SERIES: place[:2], Level.IMAGE: place}
        patient = seen.setdefault(("PatientID", place[:1]), draw(st.sampled_from(POOLS["PatientID"])))
        owner[Level.PATIENT] = patient or place[:1]
        values = {"PatientID": patient}
        for keyword, pool in POOLS.items():
            values.setdefault(
                keyword, seen.setdefault((keyword, owner[LEVEL_OF[keyword]]), draw(st.sampled_from(pool)))
            )
        items.append(instance(".".join(map(str, place)), len(items), attributes=values))
    return items


KEY_SETS = st.lists(
    st.sampled_from(sorted(KEYS)).flatmap(lambda keyword: st.tuples(st.just(keyword), st.sampled_from(KEYS[keyword]))),
    max_size=3,
).map(dict)


@contextmanager
def viewed(items: list[Item]) -> Iterator[LocalView]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Database.create_or_open(Path(folder), 64, "model", 1 << 24) as database,
    ):
        appended = database.append(items)
        assert (appended.new, appended.conflicts) == (len(items), 0)
        with LocalIndex(database).view() as view:
            yield view


@contextmanager
def opened(items: list[Item]) -> Iterator[Snapshot]:
    with viewed(items) as view:
        yield view.snapshot.records


def value(records: list[Record], record: Record, keyword: str) -> str:
    """Value that an entity has, by looking at every record."""
    level = LEVEL_OF[keyword]
    inside = [one for one in records if one.uids[level] == record.uids[level]]
    if keyword in ("ModalitiesInStudy", "SOPClassesInStudy"):
        source = "Modality" if keyword == "ModalitiesInStudy" else "SOPClassUID"
        return "\\".join(sorted({one.attributes[LEVEL_OF[source]][source] for one in inside} - {""}))
    if "Related" in keyword:
        counted = {"Studies": Level.STUDY, "Series": Level.SERIES, "Instances": Level.IMAGE}
        return str(len({one.uids[counted[keyword.partition("Related")[2]]] for one in inside}))
    return record.attributes[level].get(keyword, "")


def satisfies(records: list[Record], record: Record, keys: Mapping[str, str]) -> bool:
    """Whether one record satisfies every key."""
    return all(
        (keyword in REQUIRED and value(records, record, keyword) == "")
        or read_key(keyword, key).matches(value(records, record, keyword))
        for keyword, key in keys.items()
    )


@settings(max_examples=60, deadline=None)
@given(items=archives(), keys=KEY_SETS, level=st.sampled_from(LEVELS))
def test_it_finds_what_a_plain_filter_over_all_records_finds(
    items: list[Item], keys: dict[str, str], level: Level
) -> None:
    keys = {keyword: key for keyword, key in keys.items() if LEVELS.index(LEVEL_OF[keyword]) <= LEVELS.index(level)}
    records = [item.record for item in items]

    with opened(items) as snapshot:
        found = [entity.uid for entity in catalog.find(snapshot, level, read_keys(keys))]

    assert sorted(found) == sorted({record.uids[level] for record in records if satisfies(records, record, keys)})


@settings(max_examples=150, deadline=None)
@given(items=archives(), keys=KEY_SETS)
def test_it_restricts_a_search_to_the_records_that_satisfy_every_key(items: list[Item], keys: dict[str, str]) -> None:
    records = [item.record for item in items]

    with viewed(items) as view:
        where = catalog.restrict(view.snapshot.records, read_keys(keys))
        answer = view.search(ladder(0), len(items), Level.IMAGE, where)

    expected = {record.sop_instance_uid for record in records if satisfies(records, record, keys)}
    assert {hit.uid for hit in answer.hits} == expected
    assert answer.candidates == len(expected)


@settings(max_examples=30, deadline=None)
@given(items=archives(), level=st.sampled_from(LEVELS))
def test_it_tells_every_value_of_an_entity_and_of_those_above(items: list[Item], level: Level) -> None:
    records = [item.record for item in items]
    keywords = [word for word in LEVEL_OF if LEVELS.index(LEVEL_OF[word]) <= LEVELS.index(level)]

    with opened(items) as snapshot:
        found = {entity.uid: catalog.values(snapshot, entity, keywords) for entity in snapshot.entities(level)}

    for record in records:
        assert found[record.uids[level]] == {word: value(records, record, word) for word in keywords}


@pytest.fixture
def snapshot() -> Iterator[Snapshot]:
    """Study 1 of a patient without ID: CT 1.1 of two images, MR 1.2 of one; study 2 of patient B: CT 2.1 of one."""
    items = [
        instance("1.1.1", 0, PatientID="", Modality="CT"),
        instance("2.1.1", 1, PatientID="B", Modality="CT"),
        instance("1.2.1", 2, PatientID="", Modality="MR"),
        instance("1.1.2", 3, PatientID="", Modality="CT"),
    ]
    with opened(items) as snapshot:
        yield snapshot


def test_without_keys_it_finds_everything_in_order_of_arrival(snapshot: Snapshot) -> None:
    found = {level: [entity.uid for entity in catalog.find(snapshot, level, {})] for level in LEVELS[1:]}

    assert found == {
        Level.STUDY: [uid("1"), uid("2")],
        Level.SERIES: [uid("1.1"), uid("2.1"), uid("1.2")],
        Level.IMAGE: [uid("1.1.1"), uid("2.1.1"), uid("1.2.1"), uid("1.1.2")],
    }


def test_entities_come_in_order_of_arrival_however_a_list_of_uids_is_written(snapshot: Snapshot) -> None:
    listed = "\\".join([uid("2"), uid("1"), " ", uid("2")])

    assert [entity.uid for entity in catalog.find(snapshot, Level.STUDY, read_keys({UNIQUE[Level.STUDY]: listed}))] == [
        uid("1"),
        uid("2"),
    ]


def test_a_patient_without_id_matches_any_id_for_it_may_be_that_one(snapshot: Snapshot) -> None:
    found = [entity.uid for entity in catalog.find(snapshot, Level.STUDY, read_keys({"PatientID": "C"}))]

    assert found == [uid("1")]


def test_counts_and_lists_are_those_of_the_entity_itself(snapshot: Snapshot) -> None:
    series = snapshot.entity(Level.SERIES, uid("1.1"))
    assert series is not None

    values = catalog.values(
        snapshot,
        series,
        ["ModalitiesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
         "NumberOfSeriesRelatedInstances", "NumberOfPatientRelatedStudies", "PatientID", "StudyDate"],
    )  # fmt: skip

    assert list(values.values()) == ["CT\\MR", "2", "3", "2", "1", "", ""]


def test_every_entity_looked_at_is_checked_before(snapshot: Snapshot) -> None:
    calls: list[None] = []

    for keys in ({"InstanceNumber": "9"}, {"StudyDescription": "x"}):
        with pytest.raises(InterruptedError):
            list(catalog.find(snapshot, Level.IMAGE, read_keys(keys), check=lambda: _interrupt_after(calls, 2)))
        assert len(calls) == 2
        calls.clear()


def _interrupt_after(calls: list[None], most: int) -> None:
    calls.append(None)
    if len(calls) == most:
        raise InterruptedError


def test_descendants_of_an_entity_are_those_below_it_or_itself(snapshot: Snapshot) -> None:
    below = {level: list(catalog.descendants(snapshot, Level.STUDY, uid("1"), level)) for level in LEVELS[1:]}

    assert below == {
        Level.STUDY: [uid("1")],
        Level.SERIES: [uid("1.1"), uid("1.2")],
        Level.IMAGE: [uid("1.1.1"), uid("1.1.2"), uid("1.2.1")],
    }


@pytest.mark.parametrize(
    ("level", "keys", "expected"),
    [
        (Level.PATIENT, {"PatientID": "B"}, 2),
        (Level.STUDY, {"PatientID": "B", "StudyDescription": "*x*"}, 0),
        (Level.STUDY, {"AccessionNumber": "none"}, 2),
        (Level.SERIES, {"AccessionNumber": "none\\other", "StudyID": "x", "StudyDescription": "*x*"}, 0),
        (Level.IMAGE, {"SOPInstanceUID": uid("1.1.1"), "StudyDescription": "*x*"}, 0),
    ],
)
def test_keys_with_a_table_of_their_own_are_answered_without_looking_at_all_entities(
    snapshot: Snapshot, level: Level, keys: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Snapshot, "entities")

    found = list(catalog.find(snapshot, level, read_keys(keys)))

    assert len(found) == expected


def test_keys_without_value_restrict_nothing(snapshot: Snapshot) -> None:
    where = catalog.restrict(snapshot, read_keys({"PatientName": "*", "Modality": "", "StudyDate": ""}))

    assert where == Filter()


def test_a_removed_study_without_date_does_not_disturb_a_search_by_date(tmp_path: Path) -> None:
    with Database.create_or_open(tmp_path, 64, "model", 1 << 24) as database:
        database.append([instance("1.1.1", 0, StudyDate=""), instance("2.1.1", 0, StudyDate="20200101")])
        database.remove([uid("1.1.1")])
        with LocalIndex(database).view() as view:
            where = catalog.restrict(view.snapshot.records, read_keys({"StudyDate": "20200101"}))

            assert [hit.uid for hit in view.search(ladder(0), 9, Level.STUDY, where).hits] == [uid("2")]
