"""What the settings let go is deleted by the role that writes, and every deletion is logged, audited and counted."""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Lock
from typing import Any

import pytest

from node.access.audit_trail import AuditTrail
from node.cli.status import read_status, status_table
from node.configuration import load_settings
from node.corrections.expiry import DAY_NS, Expirer
from node.dicom.sop_classes import Service, offered_services
from node.home import open_for_writing, open_objects
from node.settings import Settings
from storage.database.database import Database
from storage.objects.object_store import ObjectStore
from tests.node.access.test_audit import messages
from tests.support.storage.invented import item, record

DAYS = (40, 20, 1)
"""Ages of three instances, of a study each."""


def settings_of(home: Path, **chosen: Any) -> Settings:
    return load_settings(home=home, spool_free_bytes=0, retain="all", **chosen)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_for_writing(settings_of(tmp_path)) as database:
        now_ns = time.time_ns()
        aged = [item(4 * number, received_ns=now_ns - age * DAY_NS) for number, age in enumerate(DAYS)]
        database.append(aged)
        yield database


@pytest.fixture
def objects(tmp_path: Path, database: Database) -> ObjectStore:
    objects, source = open_objects(settings_of(tmp_path)), tmp_path / "source"
    source.write_bytes(b"object")
    objects.keep({record(4 * number).sop_instance_uid: source for number in range(len(DAYS))})
    return objects


def expire(database: Database, objects: ObjectStore, home: Path, **chosen: Any) -> Settings:
    settings = settings_of(home, **chosen)
    trail = AuditTrail(settings, "index")
    Expirer(settings, database, objects, Lock(), trail.expired).expire(Event())
    trail.close()
    return settings


def left(database: Database, objects: ObjectStore) -> tuple[list[bool], list[bool]]:
    """Whether preview and object of each instance are there."""
    uids = [record(4 * number).sop_instance_uid for number in range(len(DAYS))]
    with database.snapshot() as snapshot:
        previews = [snapshot.preview(uid, 0) is not None for uid in uids]
    return previews, [uid in objects.kept(uids) for uid in uids]


def test_nothing_is_deleted_unless_it_is_set(database: Database, objects: ObjectStore, tmp_path: Path) -> None:
    settings = expire(database, objects, tmp_path)

    assert left(database, objects) == ([True] * 3, [True] * 3)
    assert messages(settings) == []


def test_each_deletion_is_logged_audited_and_counted(
    database: Database, objects: ObjectStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = expire(database, objects, tmp_path, preview_days=30, object_days=10)

    assert left(database, objects) == ([False, True, True], [False, False, True])
    assert [one.getMessage() for one in caplog.records] == [
        "previews of 1 instances deleted: beyond preview_days",
        "objects of 2 instances deleted: beyond object_days",
    ]
    found = messages(settings)
    assert [one.event for one in found] == ["DICOM Instances Accessed"] * 3
    assert [one.objects[0] for one in found] == [record(number).study_instance_uid for number in (0, 0, 4)]
    database.close()
    status = read_status(settings)
    assert status.expired == (1, 2)
    assert any("deleted for age or size" in str(cell) for cell in status_table(status).columns[0].cells)


def test_room_is_made_oldest_first(database: Database, objects: ObjectStore, tmp_path: Path) -> None:
    expire(database, objects, tmp_path, object_bytes=len(b"object") * 2)

    assert left(database, objects) == ([True] * 3, [False, True, True])


def test_who_deletes_objects_does_not_commit_itself_to_keep_them(tmp_path: Path) -> None:
    assert Service.COMMITMENT in offered_services(settings_of(tmp_path))

    for limit in ({"object_days": 1}, {"object_bytes": 1}):
        assert Service.COMMITMENT not in offered_services(settings_of(tmp_path, **limit))
    assert Service.COMMITMENT in offered_services(settings_of(tmp_path, preview_days=1))


def test_a_full_disk_is_tried_again(database: Database, objects: ObjectStore, tmp_path: Path) -> None:
    stop, tries = Event(), []

    def fail(*_: object) -> None:
        tries.append(1)
        stop.set()
        raise OSError(28, "No space left on device")

    Expirer(settings_of(tmp_path, preview_days=30), database, objects, Lock(), fail).run(stop)

    assert tries == [1]
    assert left(database, objects)[0] == [False, True, True]
