"""Codes to search in, uniform and clustered, and databases of them: the same for the same seed, on every machine."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hashing.codes import Codes, words
from storage.columns import COLUMNS, FIRST
from storage.database import Database
from storage.rows import CODES

BATCH: Final = 1 << 20
FLIPPED: Final = 0.1
"""Share of bits in which a clustered code differs from the centre of its cluster."""
PER_CLUSTER: Final = 1000
STUDY_ROWS, SERIES_ROWS, PATIENT_ROWS = 40, 10, 100
SEARCHED: Final = ("flags",)
"""Columns of a database that is only searched for rows."""

Source = Callable[[Generator, int, int], Codes]
"""(rows, words) codes of so many bits."""


def uniform(generator: Generator, rows: int, code_length: int) -> Codes:
    """Every bit by chance."""
    codes = generator.integers(0, 2**64, (rows, words(code_length)), np.uint64, endpoint=False)
    return _cut(codes, code_length)


def clustered(rows: int, seed: int) -> Source:
    """Codes around as many centres as `rows` has thousands, a tenth of their bits flipped."""

    def draw(generator: Generator, n: int, code_length: int) -> Codes:
        centres = uniform(np.random.default_rng(seed), max(1, rows // PER_CLUSTER), code_length)
        return _cut(centres[generator.integers(0, len(centres), n)] ^ flips(generator, n, code_length), code_length)

    return draw


def repeated(codes: Codes) -> Source:
    """Given codes again and again, with the same noise."""

    def draw(generator: Generator, n: int, code_length: int) -> Codes:
        return _cut(codes[generator.integers(0, len(codes), n)] ^ flips(generator, n, code_length), code_length)

    return draw


def flips(generator: Generator, rows: int, code_length: int, share: float = FLIPPED) -> Codes:
    """(rows, words) with each bit set by chance: the digits of `share`, last first, by AND and OR of random words."""
    found = np.zeros((rows, words(code_length)), np.uint64)
    for digit in range(8, 0, -1):
        chance = generator.integers(0, 2**64, found.shape, np.uint64, endpoint=False)
        found = found | chance if int(share * 2**digit) % 2 else found & chance
    return found


def database(folder: Path, name: str, source: Source, rows: int, code_length: int, *, whole: bool = True) -> Database:
    """Open a database of generated rows, made where it is not there yet.

    Parameters
    ----------
    whole
        With every column; else only those that finding rows takes.
    """
    path = folder / f"{name}-{code_length}-{rows}{'' if whole else '-rows'}"
    if not (path / "made").exists():
        shutil.rmtree(path, ignore_errors=True)
        _make(path, source, rows, code_length, COLUMNS if whole else SEARCHED)
        (path / "made").touch()
    return Database.open(path)


def queries(source: Source, n: int, code_length: int) -> Codes:
    """Codes like those kept."""
    return source(np.random.default_rng(1), n, code_length)


def all_codes(opened: Database) -> Codes:
    """(rows, words) copy of every code, for peers that want an array."""
    with opened.snapshot() as snapshot:
        return np.ascontiguousarray(np.concatenate([block.codes for block in snapshot.blocks()], axis=1).T)


def _make(path: Path, source: Source, rows: int, code_length: int, columns: Any) -> None:
    generator = np.random.default_rng(0)
    with Database.create_or_open(path, code_length, "benchmark", 1 << 38) as opened:
        for start in range(0, rows, BATCH):
            n = min(BATCH, rows - start)
            values = dict(_columns(generator, start, n))
            chosen: dict[str, NDArray[Any]] = {name: values[name] for name in columns}
            with opened._writing() as tables:  # rows alone: a million entities would take minutes
                tables.rows.append({CODES: source(generator, n, code_length).T, **chosen})
                tables.set_counter("rows", tables.rows.count)
                for level, each in (
                    ("PATIENT", PATIENT_ROWS), ("STUDY", STUDY_ROWS), ("SERIES", SERIES_ROWS), ("IMAGE", 1),
                ):  # fmt: skip
                    tables.set_counter(level, -(-tables.rows.count // each))


def _columns(generator: Generator, start: int, n: int) -> Iterator[tuple[str, NDArray[Any]]]:
    rows = np.arange(start, start + n)
    yield "modality", generator.integers(1, 5, n)
    yield "manufacturer", generator.integers(0, 10, n)
    yield "body_part", generator.integers(0, 20, n)
    yield "study_date", generator.integers(2010, 2026, n) * 10_000 + 101
    yield "sex", generator.integers(0, 3, n)
    yield "age_years", generator.integers(0, 100, n)
    yield from (("patient", rows // PATIENT_ROWS), ("study", rows // STUDY_ROWS), ("series", rows // SERIES_ROWS))
    yield from (("instance", rows), ("frame", np.zeros(n, np.int32)), ("flags", np.full(n, FIRST)))
    yield "pixel_digest", generator.integers(0, 2**63, n)


def _cut(codes: Codes, code_length: int) -> Codes:
    if code_length % 64:
        codes[:, -1] &= np.uint64(2 ** (code_length % 64) - 1)
    return codes
