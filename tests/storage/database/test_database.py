"""A database and the processes that have it open."""

import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
from numpy.typing import NDArray

from hashing.codes import CodeLengthError
from storage.database.database import Database
from storage.errors import DatabaseFull, FormatError, ModelMismatch, NoDatabase, SnapshotError
from storage.record import Level
from tests.support.storage.databases import appended, create, expected, stored
from tests.support.storage.invented import codes, item


def test_it_is_the_same_after_reopening(tmp_path: Path) -> None:
    items = [item(number) for number in range(30)]
    with create(tmp_path) as database:
        database.append(items)
        with database.snapshot() as snapshot:
            identifier = snapshot.identifier

    with Database.open(tmp_path) as reader:
        assert stored(reader) == expected(items)
        assert (reader.header.code_length, reader.header.model) == (64, "model")
        with reader.snapshot() as snapshot:
            assert (snapshot.identifier, snapshot.rows) == (identifier, 30)
    with create(tmp_path) as writer:
        assert stored(writer) == expected(items)


def test_other_models_and_lengths_are_refused(tmp_path: Path) -> None:
    create(tmp_path).close()

    with pytest.raises(ModelMismatch) as mismatch:
        create(tmp_path, model="other")
    assert (mismatch.value.found, mismatch.value.expected) == ("model", "other")
    with pytest.raises(CodeLengthError):
        create(tmp_path, code_length=128)
    with pytest.raises(CodeLengthError):
        create(tmp_path / "new", code_length=8)
    with create(tmp_path) as database:
        with pytest.raises(CodeLengthError):
            database.append([item(1, frame_codes=codes(1, 128))])
        with pytest.raises(ValueError, match="not packed"):
            database.append([item(1, frame_codes=codes(1).astype(np.uint32))])
        with pytest.raises(ValueError, match="2 codes"):
            item(1, frame_codes=codes(2))
        with pytest.raises(ValueError, match="2 class_scores came for 1 frames"):
            replace(item(1), class_scores=np.zeros((2, 5), np.uint8))
        with pytest.raises(ValueError, match="without outputs"):
            replace(item(1), outputs=None)
        odd_scores: tuple[NDArray[Any], ...] = (np.zeros((1, 5), np.int8), np.zeros(1, np.uint8))
        for odd in odd_scores:
            with pytest.raises(ValueError, match="not uint8"):
                database.append([replace(item(1), class_scores=odd)])
    with create(tmp_path / "short", code_length=48) as database, pytest.raises(ValueError, match="not packed"):
        database.append([item(1, frame_codes=codes(1, 64))])


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoDatabase, match="ever started"):
        Database.open(tmp_path)
    (tmp_path / "data.mdb").write_bytes(b"something else" * 1000)
    with pytest.raises(FormatError):
        Database.open(tmp_path)


def test_a_full_database_keeps_nothing_of_the_batch(tmp_path: Path) -> None:
    with Database.create_or_open(tmp_path, 64, "model", 2**19, block_rows=16, tail_rows=4) as database:
        database.append([item(0)])

        with pytest.raises(DatabaseFull) as full:
            database.append([item(number) for number in range(1, 2000)])

        assert full.value.map_size == 2**19
        assert stored(database) == expected([item(0)])
        assert database.verify() == []
    with create(tmp_path) as larger:
        assert larger.append([item(number) for number in range(2000)]) == appended(new=1999, known=1)


APPENDER = """
import sys
from pathlib import Path
from storage.database.database import Database
from tests.formats import golden
from tests.support.storage.invented import item
with Database.create_or_open(Path(sys.argv[1]), 64, "model", 2**28, block_rows=64, tail_rows=8) as database:
    with database.snapshot() as snapshot:
        start = snapshot.rows
    for number in range(start, 100_000, 5):
        database.append([item(n) for n in range(number, number + 5)])
        if number % 20 == 15:
            database.append([item(n, content_digest=b"again") for n in range(number, number + 5)])
        print(number + 5, flush=True)
"""


def appender(path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", APPENDER, str(path)], stdout=subprocess.PIPE, text=True)


def test_every_acknowledged_batch_survives_a_kill(tmp_path: Path) -> None:
    acknowledged = 0
    for seed in range(3):
        process = appender(tmp_path)
        assert process.stdout
        acknowledged = int(process.stdout.readline())
        time.sleep(random.Random(seed).random() / 10)
        process.send_signal(signal.SIGKILL)
        lines = process.communicate()[0].splitlines(keepends=True)
        acknowledged = max([acknowledged, *(int(line) for line in lines if "\n" in line)])

        with Database.open(tmp_path) as database:
            assert database.verify() == []
            with database.snapshot() as snapshot:
                assert snapshot.rows % 5 == 0
                assert acknowledged <= snapshot.rows <= acknowledged + 5
                assert snapshot.count(Level.IMAGE) == snapshot.rows


def test_a_reader_sees_whole_batches_while_another_process_writes(tmp_path: Path) -> None:
    create(tmp_path, block_rows=64, tail_rows=8).close()
    process = appender(tmp_path)
    assert process.stdout
    seen = set()
    with Database.open(tmp_path) as database:
        for _ in range(40):
            process.stdout.readline()
            with database.snapshot() as snapshot:
                seen.add(snapshot.rows)
                assert snapshot.rows % 5 == 0
                assert snapshot.count(Level.IMAGE) == snapshot.rows
                assert sum(block.rows for block in snapshot.blocks()) == snapshot.rows
                assert snapshot.record(f"2.25.2{snapshot.rows - 1}")
    process.kill()
    process.communicate()
    assert len(seen) > 20


def test_a_killed_reader_does_not_keep_old_pages(tmp_path: Path) -> None:
    create(tmp_path).close()
    script = f"""
from pathlib import Path
from storage.database.database import Database
with Database.open(Path({str(tmp_path)!r})).snapshot():
    print(flush=True)
    input()
"""
    reader = subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1, text=True)
    assert reader.stdout
    reader.stdout.readline()
    with lmdb.open(str(tmp_path), readonly=True) as other:  # while any process has it open, its readers are kept
        reader.kill()
        reader.communicate()
        assert str(reader.pid) in other.readers()

        subprocess.run([sys.executable, "-c", script], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        assert str(reader.pid) not in other.readers()


def test_a_reader_says_what_to_do_when_the_writer_got_more_room(tmp_path: Path) -> None:
    Database.create_or_open(tmp_path, 64, "model", 2**18).close()
    with Database.open(tmp_path) as reader:
        writing = f"""
from pathlib import Path
from storage.database.database import Database
from tests.formats import golden
from tests.support.storage.invented import item
with Database.create_or_open(Path({str(tmp_path)!r}), 64, "model", 2**28) as database:
    database.append([item(number) for number in range(800)])
"""
        subprocess.run([sys.executable, "-c", writing], check=True)

        with pytest.raises(SnapshotError, match="restart"), reader.snapshot():
            pass
