"""Codes and columns where they lie."""

from pathlib import Path

import numpy as np

from storage.database.database import Database
from tests.support.storage.databases import create
from tests.support.storage.invented import item


def test_rows_of_a_small_block_are_aligned_too(tmp_path: Path) -> None:
    with create(tmp_path, block_rows=64, tail_rows=64) as database:
        odd = 0
        for number in range(10):
            database.append([item(number)])
            with database.snapshot() as snapshot, lmdb_values(database) as addresses:
                odd += sum(address % 8 != 0 for address in addresses)
                for block in snapshot.blocks():
                    for array in (block.codes, block.column("pixel_digest"), block.column("patient")):
                        assert array.flags.aligned
                        assert not array.flags.writeable
    assert odd, "no value lay at an odd address: the test shows nothing"


def test_a_large_block_is_read_where_it_lies(tmp_path: Path) -> None:
    with create(tmp_path, block_rows=1024, tail_rows=1024) as database:
        database.append([item(number) for number in range(1024)])

        with database.snapshot() as snapshot, lmdb_values(database) as addresses:
            (block,) = snapshot.blocks()
            assert block.codes.ctypes.data in addresses


class lmdb_values:  # noqa: N801 -- used like a function
    """Addresses of all blocks of codes and columns."""

    def __init__(self, database: Database) -> None:
        self._transaction = database._environment.begin(buffers=True)
        cursor = self._transaction.cursor(db=database._handles["rows"])
        self._addresses = {np.frombuffer(value, np.uint8).ctypes.data for _, value in cursor}

    def __enter__(self) -> set[int]:
        return self._addresses

    def __exit__(self, *exc: object) -> None:
        self._transaction.abort()
