"""Codes to search in, uniform and clustered, and databases of them: the same for the same seed, on every machine."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hashing.codes import Codes, words
from storage.database.blocks import CODES
from storage.database.columns import COLUMNS, FIRST
from storage.database.database import Database
from storage.database.tree import ORDINAL, key_bytes
from storage.search.index import Filter

BATCH: Final = 1 << 20
FLIPPED: Final = 0.1
"""Share of bits in which a clustered code differs from the centre of its cluster."""
STUDY_ROWS, SERIES_ROWS, PATIENT_ROWS = 40, 10, 80
DAYS: Final = 5844
"""From 2010 to 2025."""
NAMED: Final = 1000
"""Patients and studies that have a key."""
SEARCHED: Final = ("flags",)
"""Columns of a database that is only searched for rows."""

FILTERS: Final = {
    "date, 94 %": Filter(study_dates=(20110101, None)),
    "sex, 33 %": Filter(sexes=frozenset("M")),
    "age, 10 %": Filter(ages=(40, 49)),
    "age and date, 1 %": Filter(ages=(40, 49), study_dates=(20150101, 20161231)),
    "age, sex and date, 0.04 %": Filter(ages=(40, 40), sexes=frozenset("M"), study_dates=(20150101, 20161231)),
    "manufacturer, 10 %": Filter(manufacturers=frozenset({"3"})),
    "100 studies of their own": Filter(studies=frozenset(map(str, range(10, 710, 7)))),
    "without one patient": Filter(excluded_patients=frozenset({"7"})),
    "without 32 duplicates": Filter(excluded_digests=frozenset(number * 2**57 for number in range(32))),
}
"""Conditions of about so many of the rows."""

Source = Callable[[Generator, int, int], Codes]
"""(rows, words) codes of so many bits."""


def uniform(generator: Generator, rows: int, code_length: int) -> Codes:
    """Every bit by chance."""
    codes = generator.integers(0, 2**64, (rows, words(code_length)), np.uint64, endpoint=False)
    return _cut(codes, code_length)


def clustered(centres: int, seed: int) -> Source:
    """Codes around so many centres, a tenth of their bits flipped."""

    def draw(generator: Generator, n: int, code_length: int) -> Codes:
        middles = uniform(np.random.default_rng(seed), centres, code_length)
        return _cut(middles[generator.integers(0, centres, n)] ^ flips(generator, n, code_length), code_length)

    return draw


def flips(generator: Generator, rows: int, code_length: int, share: float = FLIPPED) -> Codes:
    """(rows, words) with each bit set by chance: the digits of `share`, last first, by AND and OR of random words."""
    found = np.zeros((rows, words(code_length)), np.uint64)
    for digit in range(8, 0, -1):
        chance = generator.integers(0, 2**64, found.shape, np.uint64, endpoint=False)
        found = found | chance if int(share * 2**digit) % 2 else found & chance
    return found


def database(
    folder: Path, name: str, source: Source, rows: int, code_length: int, *, whole: bool = True, scattered: bool = False
) -> Database:
    """Open a database of generated rows, made where it is not there yet.

    Parameters
    ----------
    whole
        With every column; else only those that finding rows takes.
    scattered
        As in `_columns`.
    """
    path = folder / f"{name}-{code_length}-{rows}{'' if whole else '-rows'}{'-scattered' if scattered else ''}"
    if not (path / "made").exists():
        shutil.rmtree(path, ignore_errors=True)
        _make(path, source, rows, code_length, COLUMNS if whole else SEARCHED, scattered=scattered)
        (path / "made").touch()
    return Database.open(path)


def queries(source: Source, n: int, code_length: int) -> Codes:
    """Codes like those kept."""
    return source(np.random.default_rng(1), n, code_length)


def all_codes(opened: Database) -> Codes:
    """(rows, words) copy of every code, for peers that want an array."""
    with opened.snapshot() as snapshot:
        return np.ascontiguousarray(np.concatenate([block.codes for block in snapshot.blocks()], axis=1).T)


def _make(path: Path, source: Source, rows: int, code_length: int, columns: Any, *, scattered: bool) -> None:
    generator = np.random.default_rng(0)
    with Database.create_or_open(path, code_length, "benchmark", 1 << 38) as opened:
        for start in range(0, rows, BATCH):
            n = min(BATCH, rows - start)
            values = dict(_columns(start, n, rows, scattered=scattered))
            chosen: dict[str, NDArray[Any]] = {name: values[name] for name in columns}
            with opened.writing() as tables:  # rows alone: a million entities would take minutes
                tables.rows.append({CODES: source(generator, n, code_length).T, **chosen})
                tables.set_counter("rows", tables.rows.count)
                tables.set_terms("manufacturer", ["", *map(str, range(1, 10))])
                for level, each in (
                    ("PATIENT", PATIENT_ROWS), ("STUDY", STUDY_ROWS), ("SERIES", SERIES_ROWS), ("IMAGE", 1),
                ):  # fmt: skip
                    tables.set_counter(level, -(-tables.rows.count // each))
        with opened.writing() as tables:  # the keys that filters name: entities are named by their ordinal
            for level in ("PATIENT", "STUDY"):
                for ordinal in range(min(NAMED, tables.counter(level))):
                    tables._put(f"{level}:keys", key_bytes(str(ordinal)), ORDINAL.pack(ordinal))


def _columns(start: int, n: int, rows: int, *, scattered: bool) -> Iterator[tuple[str, NDArray[Any]]]:
    """Columns of some of all rows, as a hospital has them: in order of arrival, and equal within what they belong to.

    `scattered` draws what is filtered by for each row by itself: no hospital has it so, and nothing is dearer to test.
    """
    here = np.arange(start, start + n)
    patient, study, series = here // PATIENT_ROWS, here // STUDY_ROWS, here // SERIES_ROWS
    a, b, c = (here, here, here) if scattered else (patient, study, series)
    yield "modality", 1 + _drawn(c, 4, 1)
    yield "body_part", _drawn(c, 20, 2)
    yield "manufacturer", _drawn(c, 10, 3)
    days = _drawn(b, DAYS, 4) if scattered else np.minimum(DAYS - 1, b * STUDY_ROWS * DAYS // rows + _drawn(b, 3, 4))
    yield "study_date", _calendar(days)
    yield "sex", _drawn(a, 3, 5)
    yield "age_years", _drawn(a, 100, 6)
    yield from (("patient", patient), ("study", study), ("series", series))
    yield from (("instance", here), ("frame", np.zeros(n, np.int32)), ("flags", np.full(n, FIRST)))
    yield "pixel_digest", _drawn(here, 2**63, 7)


def _drawn(entities: NDArray[np.int64], most: int, salt: int) -> NDArray[np.uint64]:
    """A number below `most` for each entity, the same whenever it is asked for: SplitMix64."""
    mixed = (entities.astype(np.uint64) + np.uint64(salt << 40)) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return (mixed ^ (mixed >> np.uint64(31))) % np.uint64(most)


def _calendar(days: NDArray[Any]) -> NDArray[np.int64]:
    """Days since the first of 2010 as yyyymmdd."""
    dates = np.datetime64("2010-01-01") + days.astype(np.int64)
    months = dates.astype("datetime64[M]")
    year, month = months.astype("datetime64[Y]").astype(np.int64) + 1970, months.astype(np.int64) % 12 + 1
    found: NDArray[np.int64] = year * 10_000 + month * 100 + (dates - months).astype(np.int64) + 1
    return found


def _cut(codes: Codes, code_length: int) -> Codes:
    if code_length % 64:
        codes[:, -1] &= np.uint64(2 ** (code_length % 64) - 1)
    return codes
