"""The key of a home folder: where it comes from, how it is changed, and what is refused without it."""

import base64
import os
from pathlib import Path

import pytest

from node.access.data_key import FILE, _opened, vault_of
from node.cli.desk.backup import make_backup, restore
from node.cli.desk.encrypting import EncryptionError, encrypt_home
from node.configuration import load_settings
from node.errors import SettingsError
from node.home import open_database, open_for_writing, open_objects, open_spool
from node.settings import Settings
from storage.sealed_file import MARK
from storage.spool.queue import Entry
from tests.support.dicom.answering import ITEMS

KEY, OTHER = os.urandom(32), os.urandom(32)


@pytest.fixture(autouse=True)
def _ask_each_time() -> None:
    _opened.cache_clear()


def key_file(folder: Path, *keys: bytes) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "key").write_text("\n".join(base64.b64encode(key).decode() for key in keys))
    _opened.cache_clear()
    return f"file:{folder / 'key'}"


def settings_of(tmp_path: Path, source: str) -> Settings:
    return load_settings(home=tmp_path / "home", spool_free_bytes=0, encryption_key=source)


def filled(settings: Settings) -> None:
    """A home folder with a database, an object that waits, one set aside, and one that is kept."""
    with open_for_writing(settings) as database:
        database.append(ITEMS)
    spool, objects = open_spool(settings), open_objects(settings)
    aside = spool.put([b"set aside", bytes(200_000)], "2.25.2")
    spool.set_aside(aside, "undecodable", "of no use", {"SOPInstanceUID": "2.25.2"}, keep=True)
    waiting = spool.put([b"waiting"], "2.25.1")
    objects.keep({"2.25.3": waiting.path})


def contents(settings: Settings) -> list[bytes]:
    """What lies in the files of objects, opened."""
    spool, objects = open_spool(settings), open_objects(settings)
    notes = [note.path for note in spool.set_aside_records() if note.path is not None]
    read = []
    for path in (*(entry.path for entry in spool), *notes, objects.file("2.25.3")):
        with spool.vault.open(path) as file:
            read.append(file.read())
    return read


def raw_files(settings: Settings) -> list[Path]:
    return list(settings.home.rglob("*.dcm"))


@pytest.mark.parametrize("kind", ["file", "env", "command"])
def test_the_key_comes_from_a_file_the_environment_or_a_command(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = key_file(tmp_path / "keys", KEY)
    monkeypatch.setenv("A_KEY", KEY.hex())
    settings = settings_of(tmp_path, {"file": source, "env": "env:A_KEY", "command": f"command:cat {source[5:]}"}[kind])

    filled(settings)

    assert contents(settings) == [b"waiting", b"set aside" + bytes(200_000), b"waiting"]
    assert len(raw_files(settings)) == 3
    assert all(path.read_bytes().startswith(MARK) for path in raw_files(settings))
    assert (settings.home / FILE).stat().st_mode & 0o777 == 0o600
    _opened.cache_clear()
    with open_database(settings_of(tmp_path, source)) as database:
        assert database.header.sealed


@pytest.mark.parametrize("text", ["", "short", base64.b64encode(bytes(31)).decode(), "~" * 44, "zz" * 32])
def test_what_is_no_key_is_refused_and_not_printed(tmp_path: Path, text: str) -> None:
    source = key_file(tmp_path / "keys")
    Path(source[5:]).write_text(text)

    with pytest.raises(SettingsError, match="gives no key of 32 bytes") as error:
        filled(settings_of(tmp_path, source))
    assert not text or text not in str(error.value)


@pytest.mark.parametrize(
    "source", ["file:/nowhere/key", "command:false", "command:/nowhere/program", "env:NOT_SET_AT_ALL"]
)
def test_a_source_that_gives_nothing_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(SettingsError, match="encryption_key"):
        filled(settings_of(tmp_path, source))
    assert not (tmp_path / "home" / FILE).exists()


def test_a_new_first_key_takes_over_and_the_old_one_may_go(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, key_file(tmp_path / "keys", KEY))
    filled(settings)
    before = contents(settings)

    for keys in ((OTHER, KEY), (OTHER,)):
        key_file(tmp_path / "keys", *keys)
        assert contents(settings) == before

    key_file(tmp_path / "keys", KEY)
    with pytest.raises(SettingsError, match=r"none of its 1 keys opens"):
        open_spool(settings)


def test_an_encrypted_home_is_not_opened_without_a_key_nor_one_in_clear_with_one(tmp_path: Path) -> None:
    source, clear = key_file(tmp_path / "keys", KEY), settings_of(tmp_path, "")
    filled(clear)

    for opens in (open_spool, open_objects, open_for_writing, open_database):
        with pytest.raises(SettingsError, match="is not encrypted: stop the node and run `lookalike encrypt`"):
            opens(settings_of(tmp_path, source))
    encrypt_home(settings_of(tmp_path, source))
    for opens in (open_spool, open_objects, open_for_writing, open_database):
        with pytest.raises(SettingsError, match="is encrypted: set encryption_key"):
            opens(clear)


def test_what_lay_in_clear_is_encrypted_once_and_tells_the_same(tmp_path: Path) -> None:
    clear, settings = settings_of(tmp_path, ""), settings_of(tmp_path, key_file(tmp_path / "keys", KEY))
    filled(clear)
    before = contents(clear)
    with pytest.raises(EncryptionError, match="encryption_key is not set"):
        encrypt_home(clear)

    done = encrypt_home(settings)

    assert (done.files, done.values > len(ITEMS)) == (3, True)
    assert contents(settings) == before
    assert all(path.read_bytes().startswith(MARK) for path in raw_files(settings))
    assert open_objects(settings).usage().size_bytes == open_objects(settings).file("2.25.3").stat().st_size
    with open_database(settings) as database:
        assert database.verify() == []
    assert encrypt_home(settings) == type(done)(0, 0)


def test_a_backup_of_an_encrypted_home_is_encrypted_and_restored_with_its_key(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, key_file(tmp_path / "keys", KEY))
    filled(settings)
    made = make_backup(settings, tmp_path / "backup")

    elsewhere = load_settings(home=tmp_path / "other", spool_free_bytes=0, encryption_key=settings.encryption_key)
    assert restore(elsewhere, tmp_path / "backup") == made
    with open_database(elsewhere) as database:
        assert database.verify() == []
    _opened.cache_clear()
    with pytest.raises(SettingsError, match="is encrypted"):
        vault_of(load_settings(home=tmp_path / "other"))


def test_a_changed_object_is_not_taken_for_one(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, key_file(tmp_path / "keys", KEY))
    filled(settings)
    [entry] = open_spool(settings)
    octets = entry.path.read_bytes()
    entry.path.write_bytes(octets[:-1] + bytes([octets[-1] ^ 1]))

    with open_spool(settings).vault.open(Entry(entry.path).path) as file, pytest.raises(OSError, match="was changed"):
        file.read()


def test_an_index_that_no_key_seals_is_refused_beside_a_key(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home", encryption_key=key_file(tmp_path / "keys", KEY), index="milvus")

    with pytest.raises(SettingsError, match="readable"):
        open_for_writing(settings)
