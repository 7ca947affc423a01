"""Backups: taken while the database is written, verified, restored as they were, and without what was forgotten."""

import multiprocessing
import shutil
from pathlib import Path

import pytest

from node.cli.desk.backup import BackupError, make_backup, restore
from node.home import open_for_writing
from node.locks import InUseError
from node.processes import node_lock
from node.settings import Settings
from storage.corrections.erasing import ErasureTarget, erase
from storage.database.database import Database
from storage.record import Level
from tests.support.dicom.answering import ITEMS, MANY
from tests.support.running import wait_until


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "home")
    with open_for_writing(settings) as database:
        database.append(ITEMS)
    return settings


def contents(settings: Settings) -> set[str]:
    with Database.open(settings.database_path) as database, database.snapshot() as snapshot:
        return {entity.uid for entity in snapshot.entities(Level.IMAGE)}


def test_what_was_backed_up_is_restored_as_it_was(settings: Settings, tmp_path: Path) -> None:
    made = make_backup(settings, tmp_path / "backup")
    other = Settings(home=tmp_path / "other")

    restored = restore(other, tmp_path / "backup")

    assert restored == made
    assert contents(other) == contents(settings)
    assert (made.studies, made.instances) == (3, 5)
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "backup").rglob("data.mdb")}
    assert modes == {0}


def write(home: Path) -> None:
    """Write to a database until this process is ended; LMDB lets a process open it once."""
    with open_for_writing(Settings(home=home)) as database:
        for item in MANY:
            database.append([item])


def test_a_backup_is_of_one_moment_while_the_database_is_written(settings: Settings, tmp_path: Path) -> None:
    writing = multiprocessing.get_context("spawn").Process(target=write, args=[settings.home])
    writing.start()
    try:
        wait_until(lambda: len(contents(settings)) > len(ITEMS), "the first new instance", 100)
        made = [make_backup(settings, tmp_path / str(number)) for number in range(2)]  # each verifies its copy
        assert writing.is_alive()
    finally:
        writing.kill()
        writing.join()

    assert len(ITEMS) < made[0].instances < made[1].instances


def test_what_was_forgotten_is_in_no_later_backup(settings: Settings, tmp_path: Path) -> None:
    make_backup(settings, tmp_path / "before")
    with open_for_writing(settings) as database:
        erase(database, ErasureTarget("", "A", None))

    make_backup(settings, tmp_path / "after")

    assert b"Doe^Jane" in (tmp_path / "before" / "database" / "data.mdb").read_bytes()
    assert b"Doe^Jane" not in (tmp_path / "after" / "database" / "data.mdb").read_bytes()


def test_a_damaged_backup_is_not_restored(settings: Settings, tmp_path: Path) -> None:
    make_backup(settings, tmp_path / "backup")
    other, data = Settings(home=tmp_path / "other"), tmp_path / "backup" / "database" / "data.mdb"
    octets = bytearray(data.read_bytes())
    octets[len(octets) // 2] ^= 1
    data.write_bytes(octets)

    with pytest.raises(BackupError, match="is damaged"):
        restore(other, tmp_path / "backup")

    assert not (other.database_path / "data.mdb").exists()


def test_a_backup_overwrites_nothing(settings: Settings, tmp_path: Path) -> None:
    make_backup(settings, tmp_path / "backup")

    with pytest.raises(BackupError, match="has a database"):
        restore(settings, tmp_path / "backup")
    with pytest.raises(BackupError, match="is there already"):
        make_backup(settings, tmp_path / "backup")
    with node_lock(settings), pytest.raises(InUseError):
        restore(settings, tmp_path / "backup")


def test_a_backup_that_cannot_be_finished_leaves_nothing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    (settings.home / "settings.toml").write_text("port = 104\n")

    with pytest.raises(OSError, match="No space"):
        make_backup(settings, tmp_path / "backup")

    assert not (tmp_path / "backup").exists()
