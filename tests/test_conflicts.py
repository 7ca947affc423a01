"""UIDs that come again with something else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.ingest.conflicts import DROPPED, QUARANTINED, Policy, settle
from storage.database.database import Database, Item
from storage.record import Level
from tests.invented import item

FIRST = item(0)
UID = FIRST.record.sop_instance_uid


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.create_or_open(tmp_path / "database", 64, "model", 1 << 24) as database:
        database.append([FIRST, item(1)])
        yield database


def other(**changes: Any) -> Item:
    return item(0, content_digest=b"other content", **changes)


def clash(database: Database, later: Item) -> Level:
    [found] = database.append([later]).clashing
    return found.level


def kept_digest(database: Database) -> bytes:
    with database.snapshot() as snapshot:
        record = snapshot.record(UID)
    assert record is not None
    return record.content_digest


@pytest.mark.parametrize(("policy", "reason"), [(Policy.QUARANTINE, QUARANTINED), (Policy.KEEP_FIRST, DROPPED)])
def test_the_first_stays_unless_it_is_to_be_replaced(database: Database, policy: Policy, reason: str) -> None:
    later = other()

    why = settle(database, later, clash(database, later), policy)

    assert why is not None
    assert (why.reason, why.uids["SOPInstanceUID"]) == (reason, UID)
    assert kept_digest(database) == FIRST.record.content_digest


def test_a_later_one_takes_the_place_of_the_first_where_that_is_the_policy(database: Database) -> None:
    later = other()

    assert settle(database, later, clash(database, later), Policy.REPLACE) is None

    assert kept_digest(database) == b"other content"
    assert database.verify() == []
    with database.snapshot() as snapshot:
        assert snapshot.count(Level.IMAGE) == 2


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("place", [{"series_instance_uid": "2.25.77"}, {"study_instance_uid": "2.25.78"}])
def test_the_same_uid_elsewhere_is_kept_apart_whatever_the_policy(
    database: Database, policy: Policy, place: dict[str, str]
) -> None:
    later = other(**place)

    why = settle(database, later, clash(database, later), policy)

    assert why is not None
    assert why.reason == QUARANTINED
    assert "another series or study" in why.detail
    assert kept_digest(database) == FIRST.record.content_digest


def test_a_series_under_another_study_is_kept_apart(database: Database) -> None:
    later = item(9, series_instance_uid=FIRST.record.series_instance_uid)

    why = settle(database, later, clash(database, later), Policy.REPLACE)

    assert why is not None
    assert why.reason == QUARANTINED
    with database.snapshot() as snapshot:
        assert snapshot.record(later.record.sop_instance_uid) is None
