"""UIDs that come again with something else: nothing is lost, whatever the policy."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node.ingest.conflicts import DROPPED, QUARANTINED, Policy, clash_outcome
from node.ingest.outcome import Unusable
from storage.database.database import Database, Item
from storage.record import Level, patient_key
from tests.support.storage.invented import item

FIRST = item(0)
UID = FIRST.record.sop_instance_uid


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.create_or_open(tmp_path / "database", 64, "model", 1 << 24) as database:
        database.append([FIRST, item(1)])
        yield database


def other(**changes: Any) -> Item:
    return item(0, content_digest=b"other content", **changes)


def outcome(database: Database, later: Item, policy: Policy) -> Unusable | None:
    """Why an item is set aside, None if it is stored."""
    clashing = database.append([later], replace=policy is Policy.REPLACE).clashing
    return clash_outcome(database, clashing[0], policy) if clashing else None


def stored_digest(database: Database) -> bytes:
    with database.snapshot() as snapshot:
        record = snapshot.record(UID)
    assert record is not None
    return record.content_digest


def test_the_first_stays_and_the_later_is_kept_beside_it(database: Database) -> None:
    why = outcome(database, other(), Policy.QUARANTINE)

    assert why is not None
    assert (why.reason, why.keeps_bytes, why.uids["SOPInstanceUID"]) == (QUARANTINED, True, UID)
    assert stored_digest(database) == FIRST.record.content_digest


def test_the_later_is_dropped_only_where_that_is_the_policy(database: Database) -> None:
    why = outcome(database, other(), Policy.KEEP_FIRST)

    assert why is not None
    assert (why.reason, why.keeps_bytes) == (DROPPED, False)
    assert stored_digest(database) == FIRST.record.content_digest


def test_a_later_one_replaces_the_first_where_that_is_the_policy(database: Database) -> None:
    assert outcome(database, other(), Policy.REPLACE) is None

    assert stored_digest(database) == b"other content"
    assert database.verify() == []
    with database.snapshot() as snapshot:
        assert snapshot.count(Level.IMAGE) == 2


def test_one_that_arrived_before_the_stored_one_does_not_replace_it_and_is_kept(database: Database) -> None:
    why = outcome(database, other(received_ns=1), Policy.REPLACE)

    assert why is not None
    assert (why.reason, why.keeps_bytes) == (QUARANTINED, True)
    assert "arrived later" in why.detail
    assert stored_digest(database) == FIRST.record.content_digest


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize(
    "place",
    [
        {"series_instance_uid": "2.25.77"},
        {"study_instance_uid": "2.25.78"},
        {"series_instance_uid": "2.25.77", "study_instance_uid": "2.25.78"},
        {"series_instance_uid": item(2).record.series_instance_uid},
    ],
)
def test_another_picture_of_the_same_uid_elsewhere_is_kept_beside_it_whatever_the_policy(
    database: Database, policy: Policy, place: dict[str, str]
) -> None:
    later = replace(other(patient_key=patient_key("P77", "", ""), **place), pixel_digest=99)

    why = outcome(database, later, policy)

    assert why is not None
    assert (why.reason, why.keeps_bytes) == (QUARANTINED, True)
    assert "another series or study" in why.detail
    assert stored_digest(database) == FIRST.record.content_digest
    assert database.verify() == []


@pytest.mark.parametrize("policy", Policy)
def test_a_series_under_another_study_is_kept_beside_it_whatever_the_policy(database: Database, policy: Policy) -> None:
    later = item(9, series_instance_uid=FIRST.record.series_instance_uid)

    why = outcome(database, later, policy)

    assert why is not None
    assert (why.reason, why.keeps_bytes) == (QUARANTINED, True)
    with database.snapshot() as snapshot:
        assert snapshot.record(later.record.sop_instance_uid) is None
