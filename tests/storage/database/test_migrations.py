"""Databases of every past format."""

import json
import shutil
from pathlib import Path

import lmdb
import pytest

from storage.database.database import Database
from storage.database.header import FORMAT
from storage.errors import FormatError, ModelMismatch
from tests.formats import golden
from tests.support.storage.databases import MAP_SIZE, create
from tests.support.storage.invented import item


def test_another_format_is_refused(tmp_path: Path) -> None:
    create(tmp_path).close()
    with lmdb.open(str(tmp_path), max_dbs=20) as environment:
        meta = environment.open_db(b"meta")
        with environment.begin(write=True, db=meta) as transaction:
            header = json.loads(transaction.get(b"header") or b"")
            transaction.put(b"header", json.dumps(header | {"format": 99}).encode())

    for attempt in (Database.open, create):
        with pytest.raises(FormatError, match="format 99"):
            attempt(tmp_path)


@pytest.mark.parametrize("folder", sorted(Path(golden.__file__).parent.glob("v*")), ids=lambda path: path.name)
def test_a_database_of_every_past_format_tells_what_it_told(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    told = json.loads((folder / "expected.json").read_text())
    Database.create_or_open(copy, told["code_length"], told["model"], 2**24).close()

    with Database.open(copy, readonly=False) as database:
        tells = golden.tell(database)
        if folder.name != f"v{FORMAT}":
            del told["identifier"]  # it names the state that the upgrade ended
        assert {name: tells[name] for name in told} == told
        assert database.verify() == []
        database.append([item(100, told["code_length"])])
        assert database.verify() == []


def test_an_older_format_is_left_alone_by_readers_and_other_models_and_brought_up_by_its_writer(tmp_path: Path) -> None:
    copy = shutil.copytree(Path(golden.__file__).parent / "v1", tmp_path / "copy")

    with pytest.raises(FormatError, match=r"found format 1.*start the node once"):
        Database.open(copy)
    with pytest.raises(ModelMismatch):
        Database.create_or_open(copy, golden.CODE_LENGTH, "another", MAP_SIZE)
    with pytest.raises(FormatError, match="format 1"):
        Database.open(copy, readonly=False)
    with Database.create_or_open(copy, golden.CODE_LENGTH, "golden", MAP_SIZE) as writer, writer.snapshot() as snapshot:
        assert snapshot.outputs_of("2.25.20") is None
    with Database.open(copy) as reader:
        assert reader.header.format == FORMAT


def test_manufacturers_of_an_older_format_are_found_in_its_series(tmp_path: Path) -> None:
    items = [
        item(number, series={"Modality": "CT", "Manufacturer": ("ACME", "acme", "")[number % 6 // 2]})
        for number in range(40)
    ]
    with create(tmp_path) as database:
        database.append(items)
        database.remove(["2.25.25"])
    as_format_1(tmp_path)

    with create(tmp_path) as database:
        assert database.verify() == []
        with database.snapshot() as snapshot:
            assert snapshot.terms("manufacturer") == ["", "ACME", "acme"]
        assert database.append([item(50, series={"Manufacturer": "other"})]).new == 1
        assert database.verify() == []


def as_format_1(path: Path) -> None:
    """Take away what later formats have."""
    with lmdb.open(str(path), max_dbs=20, map_size=MAP_SIZE) as environment:
        meta, rows, outputs = (environment.open_db(name) for name in (b"meta", b"rows", b"outputs"))
        with environment.begin(write=True, buffers=True) as transaction:
            header = json.loads(bytes(transaction.get(b"header", db=meta) or b""))
            transaction.put(b"header", json.dumps(header | {"format": 1}).encode(), db=meta)
            transaction.delete(b"terms:manufacturer", db=meta)
            transaction.drop(outputs)
            for key in [
                bytes(key) for key, _ in transaction.cursor(db=rows) if bytes(key).startswith(b"manufacturer/")
            ]:
                transaction.delete(key, db=rows)


def test_every_format_is_kept(tmp_path: Path) -> None:
    golden.write(tmp_path)

    assert (Path(golden.__file__).parent / f"v{FORMAT}" / "data.mdb").is_file()
    newest = json.loads((Path(golden.__file__).parent / f"v{FORMAT}" / "expected.json").read_text())
    assert json.loads((tmp_path / "expected.json").read_text())["instances"] == newest["instances"]
