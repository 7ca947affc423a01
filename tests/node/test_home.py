"""A home folder that only its owner can read."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.home import exposed_paths, make_private, model_of, open_for_writing, open_spool
from node.settings import FILE_NAME, Settings


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    umask = os.umask(0)
    yield
    os.umask(umask)


def modes(folder: Path) -> dict[str, int]:
    return {str(path): stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}


def write_something(settings: Settings) -> None:
    with open_for_writing(settings):
        spool = open_spool(settings)
        spool.set_aside(spool.put([b"x"], "1.2"), "not-readable", "", {}, keep=True)
        spool.put([b"y"])


def test_everything_in_a_new_home_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "a" / "home", spool_free_bytes=0)

    make_private(settings)
    write_something(settings)

    found = modes(settings.home)
    assert len(found) > 9
    assert set(found.values()) == {0o700, 0o600}
    assert list(exposed_paths(settings)) == []


def test_folders_and_durable_files_are_private_even_under_an_open_umask(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", spool_free_bytes=0)

    write_something(settings)

    found = modes(settings.home)
    assert {path: mode for path, mode in found.items() if mode & 0o077 and "/spool/" not in path} == {}
    assert {path: mode for path, mode in found.items() if mode & 0o077 and Path(path).is_file()} == {}


def test_a_home_folder_that_others_could_read_is_closed(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", spool_free_bytes=0)
    write_something(settings)
    (settings.home / FILE_NAME).write_text("")
    (settings.home / "lost+found").mkdir()
    for path in (settings.home, *settings.home.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)

    exposed = set(exposed_paths(settings))
    make_private(settings)

    assert {settings.home, settings.database_path, settings.database_path / "data.mdb"} < exposed
    assert any(path.suffix == ".dcm" for path in exposed)
    assert list(exposed_paths(settings)) == []
    assert (settings.home / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert model_of(settings)


def test_a_folder_with_files_of_others_keeps_its_permissions_and_is_reported(tmp_path: Path) -> None:
    (tmp_path / "elses").mkdir()
    tmp_path.chmod(0o755)
    settings = Settings(home=tmp_path, spool_free_bytes=0)
    write_something(settings)
    settings.database_path.chmod(0o755)

    make_private(settings)

    assert list(exposed_paths(settings)) == [tmp_path]
    assert (tmp_path / "elses").stat().st_mode & 0o777 == 0o777


def test_a_link_out_of_the_home_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir(mode=0o755)
    settings = Settings(home=tmp_path / "home")
    make_private(settings)
    settings.run_path.chmod(0o755)
    (settings.run_path / "link").symlink_to(tmp_path / "other")

    make_private(settings)

    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o755
