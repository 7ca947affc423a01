"""A study that comes again under other UIDs moves there whole, with its codes, and leaves nothing behind."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.database.database import Database, Item
from storage.record import Level, patient_key
from tests.support.storage.databases import create
from tests.support.storage.invented import item, record

LATER_NS = 1_800_000_000_000_000_000
NEW_STUDY, NEW_SERIES = "2.25.4777", "2.25.3777"
NEW_PATIENT = {"patient_key": patient_key("P9", "HOSPITAL", ""), "patient": {"PatientID": "P9"}}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with create(tmp_path / "database") as database:
        yield database


def again(number: int, **changes: Any) -> Item:
    """Instance `number` as it is sent again, with other UIDs above it."""
    return item(number, content_digest=f"again {number}".encode(), received_ns=LATER_NS + number, **changes)


def places(database: Database) -> dict[str, tuple[str, str, str]]:
    """Patient, study and series of every instance."""
    with database.snapshot() as snapshot:
        found = {entity.uid: entity.uids for entity in snapshot.entities(Level.IMAGE)}
    return {uid: (uids[Level.PATIENT], uids[Level.STUDY], uids[Level.SERIES]) for uid, uids in found.items()}


def codes(database: Database) -> dict[str, list[list[int]]]:
    with database.snapshot() as snapshot:
        return {entity.uid: snapshot.codes_of(entity.uid).tolist() for entity in snapshot.entities(Level.IMAGE)}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
@pytest.mark.parametrize("keeps_series", [True, False])
def test_a_study_moves_whole_in_whatever_order_it_comes(
    database: Database, order: tuple[int, ...], together: bool, keeps_series: bool
) -> None:
    database.append([item(number) for number in range(8)])  # two studies of one patient
    before, others = codes(database), {uid: p for uid, p in places(database).items() if uid >= "2.25.24"}
    moved = [
        again(n, study_instance_uid=NEW_STUDY, **NEW_PATIENT)
        if keeps_series
        else again(n, study_instance_uid=NEW_STUDY, series_instance_uid=f"{NEW_SERIES}{n // 2}", **NEW_PATIENT)
        for n in order
    ]

    for _ in range(2):  # the second time changes nothing
        for batch in [moved] if together else [[one] for one in moved]:
            assert database.append(batch, replace=True).clashing == ()

    key = NEW_PATIENT["patient_key"]
    series = {n: record(n).series_instance_uid if keeps_series else f"{NEW_SERIES}{n // 2}" for n in range(4)}
    assert places(database) == others | {f"2.25.2{n}": (key, NEW_STUDY, series[n]) for n in range(4)}
    assert codes(database) == before
    with database.snapshot() as snapshot:
        assert snapshot.ordinal(Level.STUDY, record(0).study_instance_uid) is None
    assert database.verify() == []


@pytest.mark.parametrize("difference", ["picture", "older", "policy", "new object"])
def test_what_is_no_correction_moves_nothing(database: Database, difference: str) -> None:
    database.append([item(number) for number in range(4)])
    before = places(database)
    later = again(0, study_instance_uid=NEW_STUDY)
    if difference == "picture":
        later = replace(later, pixel_digest=99)
    elif difference == "older":
        later = replace(later, record=replace(later.record, received_ns=1))
    elif difference == "new object":
        later = again(9, study_instance_uid=NEW_STUDY, series_instance_uid=record(0).series_instance_uid)

    clashing = database.append([later], replace=difference != "policy").clashing

    assert len(clashing) == 1
    assert places(database) == before
    assert database.verify() == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=12))
def test_every_order_of_moves_leaves_a_sound_database_and_loses_no_instance(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[int, int, int, bool]]
) -> None:
    with create(tmp_path_factory.mktemp("moves")) as database:
        database.append([item(number) for number in range(8)])
        before = codes(database)
        batch = [
            item(
                number,
                study_instance_uid=f"2.25.4{study}",
                series_instance_uid=f"2.25.3{series}",
                content_digest=f"{step}".encode(),
                received_ns=LATER_NS + step,
            )
            for step, (number, study, series, _) in enumerate(moves)
        ]
        start = 0
        for end in [*(step + 1 for step, move in enumerate(moves) if move[3]), len(moves)]:
            database.append(batch[start:end], replace=True)
            start = end

        assert codes(database) == before
        assert database.verify() == []
