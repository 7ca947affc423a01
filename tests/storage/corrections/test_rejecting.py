"""Rejection notes and restorations, in the database itself."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.corrections.rejecting import RejectionNote, Restored, reject, restore
from storage.database.database import Appended, Database
from storage.database.rejections import Title
from storage.item import Item
from storage.record import Level
from tests.support.storage.databases import create, stored
from tests.support.storage.invented import item, record

LATER_NS = 1_800_000_000_000_000_000
HIDING = (Title.QUALITY, Title.PATIENT_SAFETY, Title.UNAVAILABLE)
REMOVING = (Title.WORKLIST_ENTRY, Title.RETENTION_EXPIRED)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with create(tmp_path / "database") as database:
        yield database


def note(title: Title, *numbers: int, uid: str = "2.25.9", received_ns: int = LATER_NS) -> RejectionNote:
    records = [record(number) for number in numbers]
    references = {one.sop_instance_uid: one.study_instance_uid for one in records}
    return RejectionNote(uid, title, references, received_ns)


def names(database: Database) -> list[str]:
    with database.snapshot() as snapshot:
        return [entity.uid for entity in snapshot.entities(Level.IMAGE)]


@pytest.mark.parametrize("title", Title)
def test_a_rejected_instance_is_in_no_table_and_the_others_stay(database: Database, title: Title) -> None:
    database.append([item(number) for number in range(6)])

    assert reject(database, note(title, 0, 1, 4)) == 3

    assert names(database) == [record(number).sop_instance_uid for number in (2, 3, 5)]
    with database.snapshot() as snapshot:
        assert snapshot.ordinal(Level.SERIES, record(0).series_instance_uid) is None  # it would be empty
        assert snapshot.ordinal(Level.SERIES, record(4).series_instance_uid) is not None
        assert snapshot.rejections.count() == (3, 3 if title in HIDING else 0)
    assert database.verify() == []


@pytest.mark.parametrize("title", HIDING)
def test_a_hidden_instance_comes_back_as_it_was(database: Database, title: Title) -> None:
    database.append([item(0), item(1, frames=(0, 3, 6)), item(2, frames=())])
    before = stored(database)

    reject(database, note(title, 0, 1, 2))
    assert stored(database) == {}
    assert restore(database, "2.25.9") == Restored(3, 3)

    assert stored(database) == before
    assert database.verify() == []


@pytest.mark.parametrize("title", REMOVING)
def test_a_removed_instance_does_not_come_back_by_itself(database: Database, title: Title) -> None:
    database.append([item(0)])
    reject(database, note(title, 0))

    assert restore(database, record(0).study_instance_uid) == Restored(0, 1)

    assert names(database) == []
    assert database.append([item(0, received_ns=LATER_NS + 1)]).new == 1
    assert database.verify() == []


@pytest.mark.parametrize("title", Title)
def test_a_note_that_comes_first_rejects_what_was_sent_before_it(database: Database, title: Title) -> None:
    assert reject(database, note(title, 0)) == 0

    assert database.append([item(0), item(1)]) == Appended(1, 0, 0, (), 0, rejected=1)

    assert names(database) == [record(1).sop_instance_uid]
    assert restore(database, "2.25.9").instances == (title in HIDING)
    assert database.verify() == []


@pytest.mark.parametrize("title", Title)
def test_only_what_was_not_retained_or_available_may_come_again(database: Database, title: Title) -> None:
    database.append([item(0)])
    reject(database, note(title, 0))

    appended = database.append([item(0, received_ns=LATER_NS + 1)])
    reject(database, note(title, 0))  # the note comes again, as senders do: it is known

    assert (appended.new, appended.rejected) == ((0, 1) if title.rejects_later_copies else (1, 0))
    assert len(names(database)) == appended.new
    assert database.verify() == []


def test_the_same_note_again_changes_nothing(database: Database) -> None:
    database.append([item(number) for number in range(4)])
    first = reject(database, note(Title.QUALITY, 0, 1))

    assert (first, reject(database, note(Title.QUALITY, 0, 1, received_ns=LATER_NS + 9))) == (2, 0)

    assert restore(database, "2.25.9") == Restored(2, 2)


def test_what_two_notes_reject_comes_back_once_both_are_lifted(database: Database) -> None:
    database.append([item(0)])
    reject(database, note(Title.QUALITY, 0, uid="2.25.91"))
    reject(database, note(Title.PATIENT_SAFETY, 0, uid="2.25.92"))

    assert [restore(database, uid).instances for uid in ("2.25.91", "2.25.92")] == [0, 1]

    assert database.verify() == []


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(0, 3), st.booleans(), st.integers(0, 9))
def test_an_item_is_the_same_after_it_was_packed(number: int, frames: int, has_outputs: bool, digest: int) -> None:
    whole = item(number, frames=tuple(range(frames)), patient={"PatientName": "M\udce4^J\u00f6"})
    kept = whole if has_outputs else Item(whole.record, whole.codes, None, digest)

    found = Item.from_bytes(kept.to_bytes())

    assert (found.record, found.pixel_digest) == (kept.record, kept.pixel_digest)
    for name in ("codes", "previews", "outputs", "class_scores"):
        expected, value = getattr(kept, name), getattr(found, name)
        assert (value is None) == (expected is None)
        assert expected is None or (value.dtype == expected.dtype and np.array_equal(value, expected))
