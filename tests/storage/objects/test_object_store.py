"""Kept objects are durable, counted, replaced in one step, and gone once they are erased."""

import errno
from pathlib import Path

import pytest

from storage.objects.object_store import ObjectCheck, ObjectStore
from storage.objects.size_table import ObjectUsage


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "home" / "objects")


def source(folder: Path, text: str) -> Path:
    path = folder / text
    path.write_text(text)
    return path


@pytest.fixture(params=["linked", "copied"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep by links, or as between two file systems."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    if request.param == "copied":
        monkeypatch.setattr(Path, "hardlink_to", refuse)


@pytest.mark.usefixtures("_way")
def test_an_object_stays_when_its_source_goes(store: ObjectStore, tmp_path: Path) -> None:
    path = source(tmp_path, "content")

    store.keep({"1.2": path, "1.3": source(tmp_path, "more content")})
    path.unlink()

    assert store.file("1.2").read_text() == "content"
    assert store.kept(["1.1", "1.2", "1.3"]) == {"1.2", "1.3"}
    assert store.usage() == ObjectStore(store.path).usage() == ObjectUsage(2, 7 + 12)
    assert list((store.path / "tmp").iterdir()) == []
    assert all(path.stat().st_mode & 0o077 == 0 for path in (store.path, store.file("1.2").parent))


@pytest.mark.usefixtures("_way")
def test_the_same_object_again_changes_nothing_and_another_takes_its_place(store: ObjectStore, tmp_path: Path) -> None:
    first = source(tmp_path, "first")
    store.keep({"1.2": first})
    store.keep({"1.2": first})
    assert (store.file("1.2").read_text(), store.usage()) == ("first", ObjectUsage(1, 5))

    store.keep({"1.2": source(tmp_path, "the second")})

    assert (store.file("1.2").read_text(), store.usage()) == ("the second", ObjectUsage(1, 10))
    assert list((store.path / "tmp").iterdir()) == []


def test_an_erased_object_is_gone_with_its_uid(store: ObjectStore, tmp_path: Path) -> None:
    store.keep({f"1.{number}": source(tmp_path, str(number)) for number in range(5)})

    assert store.erase(["1.1", "1.2", "9.9"]) == 2

    assert store.usage() == ObjectUsage(3, 3)
    assert not store.file("1.1").exists()
    assert store.erase(["1.1", "1.2"]) == 0
    assert b"1.2" not in (store.path / "sizes.sqlite").read_bytes()


def test_nothing_is_kept_where_nothing_was(store: ObjectStore) -> None:
    assert store.kept(["1.2"]) == frozenset()
    assert store.usage() == ObjectUsage(0, 0)
    assert store.erase(["1.2"]) == 0
    assert store.repair() == ObjectCheck(0, 0)
    assert store.is_counted
    assert not store.path.exists()


def test_a_lost_table_is_made_again_from_the_files(store: ObjectStore, tmp_path: Path) -> None:
    store.keep({"1.1": source(tmp_path, "one"), "1.2": source(tmp_path, "two!")})
    (store.path / "sizes.sqlite").unlink()
    assert not store.is_counted

    assert store.repair() == ObjectCheck(2, 0)

    assert (store.is_counted, store.usage()) == (True, ObjectUsage(2, 7))
    store.file("1.1").unlink()
    assert store.repair() == ObjectCheck(0, 1)
    assert store.usage() == ObjectUsage(1, 4)
