"""Previews and objects go oldest first, for their age or for the room that they take; all else stays."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.corrections.expiring import (
    MAX_BATCH,
    StayLimit,
    expire_objects,
    expire_previews,
    expired,
    objects_due,
)
from storage.database.database import Database
from storage.objects.object_store import ObjectStore
from storage.record import Record
from tests.support.storage.databases import create, stored
from tests.support.storage.invented import item, record

N = 12
SIZE_BYTES = 10


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with create(tmp_path / "database") as database:
        database.append([item(number, frames=(0, 3) if number == 1 else (0,)) for number in range(N)])
        yield database


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    """Objects of every instance but the first."""
    objects, source = ObjectStore(tmp_path / "objects"), tmp_path / "source"
    source.write_bytes(bytes(SIZE_BYTES))
    objects.keep({record(number).sop_instance_uid: source for number in range(1, N)})
    return objects


def since(number: int) -> int:
    """Time of arrival of an instance."""
    return record(number).received_ns


def numbers(records: list[Record]) -> list[int]:
    return [int(one.instance["InstanceNumber"]) for one in records]


def kept_previews(database: Database) -> list[int]:
    return [
        int(uid.removeprefix("2.25.2")) for uid, (_, _, previews, _) in stored(database).items() if None not in previews
    ]


def expire_all(database: Database, objects: ObjectStore, limit: StayLimit) -> list[int]:
    """Numbers of the instances whose objects went."""
    found = []
    for batch in objects_due(database, objects, limit):
        expire_objects(database, objects, batch)
        found += numbers(batch)
    return found


def test_previews_of_what_arrived_before_a_time_go_and_nothing_else_of_it(database: Database) -> None:
    before = stored(database)

    gone = expire_previews(database, StayLimit(since(5)))

    assert numbers(gone) == [0, 1, 2, 3, 4]
    assert kept_previews(database) == [5, 6, 7, 8, 9, 10, 11]
    assert expire_previews(database, StayLimit(since(5))) == []
    assert expired(database) == (6, 0)
    assert database.verify() == []
    for uid, (kept, codes, _, outputs) in stored(database).items():
        assert (kept, codes, outputs) == (before[uid][0], before[uid][1], before[uid][3])


def test_beyond_a_size_the_oldest_previews_go(database: Database) -> None:
    size_bytes = database.size_bytes()["previews"]

    gone = expire_previews(database, StayLimit(0, size_bytes // 2))

    assert numbers(gone) == list(range(len(gone)))
    assert 4 <= len(gone) <= 8
    assert expire_previews(database, StayLimit(0, size_bytes)) == []


def test_nothing_goes_that_may_stay(database: Database, objects: ObjectStore) -> None:
    assert expire_previews(database, StayLimit(0)) == []
    assert list(objects_due(database, objects, StayLimit(0))) == []
    assert list(objects_due(database, objects, StayLimit(0, SIZE_BYTES * N))) == []


def test_objects_go_for_their_age(database: Database, objects: ObjectStore) -> None:
    assert expire_all(database, objects, StayLimit(since(4))) == [1, 2, 3]

    assert objects.usage().objects == N - 4
    assert not objects.file(record(3).sop_instance_uid).exists()
    assert expire_all(database, objects, StayLimit(since(4))) == []
    assert expired(database) == (0, 3)


def test_objects_go_for_their_room_oldest_first(database: Database, objects: ObjectStore) -> None:
    assert expire_all(database, objects, StayLimit(0, 5 * SIZE_BYTES + 1)) == [1, 2, 3, 4, 5, 6]

    assert objects.usage().size_bytes == 5 * SIZE_BYTES


def test_more_than_a_batch_goes_batch_by_batch(tmp_path: Path) -> None:
    count = MAX_BATCH + 3
    with create(tmp_path / "database") as database:
        database.append([item(number) for number in range(count)])

        sizes = [len(expire_previews(database, StayLimit(since(count)))) for _ in range(3)]

    assert sizes == [MAX_BATCH, 3, 0]
