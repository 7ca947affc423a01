"""Databases with segments, as the tests of the index need them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from hashing.codes import Codes, pack, unpack
from storage.database.database import Database, Item
from storage.search import planner as indexed
from storage.search.local import LocalIndex
from storage.segments import builder
from tests.support.storage.invented import codes, item

MAP_SIZE = 2**28
BLOCK_ROWS = 16


@contextmanager
def empty_database(code_length: int = 64) -> Iterator[Database]:
    with (
        tempfile.TemporaryDirectory() as path,
        Database.create_or_open(Path(path), code_length, "model", MAP_SIZE, block_rows=BLOCK_ROWS, tail_rows=4) as made,
    ):
        yield made


def create(path: Path, code_length: int = 64) -> Database:
    return Database.create_or_open(path, code_length, "model", MAP_SIZE, block_rows=BLOCK_ROWS, tail_rows=4)


def items(stored: Codes, code_length: int = 64) -> list[Item]:
    return [item(number, code_length, frame_codes=code[None]) for number, code in enumerate(stored)]


def checked(index: LocalIndex) -> int:
    """How many segments serve the present state, once all are checked."""
    with index.snapshot() as snapshot:
        _ = snapshot.segments
        index.segments.wait()
        return len(snapshot.segments)


@contextmanager
def always_indexed() -> Iterator[None]:
    """Make every scan seem endless, so that small databases are searched by their segments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexed, "scan_ns", lambda *_: 1e12)
        patch.setattr(builder, "SEAL_ROWS", BLOCK_ROWS)
        yield


def invented(kind: str, n: int, code_length: int, seed: int) -> Codes:
    """Codes that are uniform, clustered, or such as an index likes least: few different ones, or with idle bits."""
    generator = np.random.default_rng(seed)
    if kind == "uniform":
        return codes(n, code_length, seed)
    if kind == "equal":
        return codes(3, code_length, seed)[generator.integers(0, 3, n)]
    if kind == "idle":
        bits = generator.random((n, code_length)) < 0.5
        bits[:, code_length // 4 :] = False
        return pack(bits)
    centres = unpack(codes(4, code_length, seed), code_length)[generator.integers(0, 4, n)]
    return pack(centres ^ (generator.random((n, code_length)) < 0.1))


KINDS = ("uniform", "clustered", "equal", "idle")
