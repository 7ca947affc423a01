"""The check of every invariant."""

from pathlib import Path

from storage.database.database import Database
from storage.database.tables import FRAME_OF
from tests.support.storage.databases import create
from tests.support.storage.invented import item


def test_verification_finds_damage(tmp_path: Path) -> None:
    def damage(database: Database, table: str, key: bytes, value: bytes) -> list[str]:
        with database._environment.begin(write=True, db=database._handles[table]) as transaction:
            kept = transaction.get(key)
            transaction.put(key, value)
        found = database.verify()
        with database._environment.begin(write=True, db=database._handles[table]) as transaction:
            transaction.put(key, kept) if kept else transaction.delete(key)
        return found

    with create(tmp_path) as database:
        database.append([item(number) for number in range(9)])
        assert damage(database, "rows", b"codes/00000000", bytes(8))
        assert damage(database, "rows", b"flags/00000000", bytes(8))
        assert damage(database, "rows", b"study/00000000", bytes(32))
        assert damage(database, "rows", b"junk", b"")
        assert damage(database, "IMAGE:keys", b"2.25.23", (1).to_bytes(4, "big"))
        assert damage(database, "SERIES", (9).to_bytes(4, "big"), b'"2.25.9"\n[77,{}]')
        assert damage(database, "previews", bytes(8), b"") == []
        assert damage(database, "previews", bytes([9] * 8), b"")
        outputs = item(1).outputs
        assert outputs is not None
        assert damage(database, "outputs", FRAME_OF.pack(1, 0), outputs.tobytes()) == []
        assert damage(database, "outputs", FRAME_OF.pack(1, 0), bytes(64)) == []
        assert damage(database, "outputs", FRAME_OF.pack(1, 0), bytes(63)) == ["IMAGE 1: its outputs are cut short"]
        (other,) = damage(database, "outputs", FRAME_OF.pack(1, 0), (-outputs).tobytes())
        assert other == "IMAGE 1: its codes are not the signs of its outputs"
        assert database.verify() == []
