"""The candidate rows of a search: conditions on columns, tested before the nearest are selected."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from storage.database.columns import COLUMNS, FIRST, LEVEL_COLUMN, SEXES
from storage.record import Level
from storage.search.index import Filter, Range
from storage.search.kernels.bitset import Bits, Condition, every, keep
from storage.search.kernels.select import Listing, keep_listed
from storage.search.local_snapshot import Chunk, LocalSnapshot
from storage.search.threads import share, thread_count

MAX_TABLE: Final = 1 << 22
"""Entries of a table of values at most: it stays in the caches."""
MAX_RUNS: Final = 6
"""Runs of values that a column is compared with one by one."""
NO_TABLE: Final = np.empty(0, np.bool_)
CHUNK_ROWS: Final = 1 << 20


class Candidates:
    """The rows of one snapshot that pass a filter.

    Attributes
    ----------
    tests
        Column and condition of each test, those of the narrowest columns first.
    columns
        Columns that are read.
    """

    def __init__(self, where: Filter, snapshot: LocalSnapshot) -> None:
        self.tests = [*_value_tests(where, snapshot), *_ordinal_tests(where, snapshot)]
        self.tests.sort(key=lambda test: np.dtype(COLUMNS[test[0]]).itemsize)
        self.columns = [column for column, _ in self.tests]

    def __bool__(self) -> bool:
        """True if any row can fail."""
        return bool(self.tests)

    def refine(self, chunk: Chunk, bits: Bits) -> None:
        """Clear the bits of rows that do not pass."""
        for column, condition in self.tests:
            keep(chunk.counts, chunk.addresses[column], condition, bits)

    def refine_listed(self, chunk: Chunk, listing: Listing, size: int) -> int:
        """Keep the rows of a list that pass; return how many."""
        for column, condition in self.tests:
            size = keep_listed(listing, size, chunk.addresses[column], condition)
        return size


def count_instances(snapshot: LocalSnapshot, candidates: Candidates, threads: int | None = None) -> int:
    """Number of instances with a candidate row: their first rows are counted, as instances pass whole or not at all."""
    first = one_of([FIRST], COLUMNS["flags"])  # and not deleted
    counters: list[list[int]] = [[] for _ in range(thread_count(snapshot.rows, threads))]

    def count(counts: list[int], chunk: Chunk) -> None:
        """Append the number of candidate instances that begin in a chunk."""
        bits = every(chunk.counts)
        keep(chunk.counts, chunk.addresses["flags"], first, bits)
        candidates.refine(chunk, bits)
        counts.append(int(np.bitwise_count(bits).sum()))

    share(snapshot.cut(CHUNK_ROWS, candidates.columns), counters, count)
    return sum(map(sum, counters))


def _value_tests(where: Filter, snapshot: LocalSnapshot) -> Iterator[tuple[str, Condition]]:
    """Yield the column and condition of each test of attributes and pixel digests."""
    for column, texts in (
        ("modality", where.modalities),
        ("body_part", where.body_parts),
        ("manufacturer", where.manufacturers),
    ):
        if texts is not None:
            yield column, one_of(snapshot.records.term_numbers(column, texts), COLUMNS[column])
    if where.sexes is not None:
        yield "sex", one_of([SEXES.index(sex) for sex in where.sexes if sex in SEXES], COLUMNS["sex"])
    if where.study_dates is not None:
        yield "study_date", _ranges(where.study_dates, 1, "study_date", others=where.undated)
    if where.ages is not None:
        yield "age_years", _ranges(where.ages, 0, "age_years")
    if where.excluded_digests is not None:
        yield "pixel_digest", one_of(sorted(where.excluded_digests), COLUMNS["pixel_digest"], wanted=False)


def _ordinal_tests(where: Filter, snapshot: LocalSnapshot) -> Iterator[tuple[str, Condition]]:
    """Yield the column and condition of each test of patients, studies, series and instances."""
    for level, included, excluded in (
        (Level.PATIENT, where.patients, where.excluded_patients),
        (Level.STUDY, where.studies, where.excluded_studies),
        (Level.SERIES, where.series, where.excluded_series),
        (Level.IMAGE, where.instances, where.excluded_instances),
    ):
        column = LEVEL_COLUMN[level]
        if included is not None:
            yield column, one_of(snapshot.records.ordinals(level, included), COLUMNS[column])
        if excluded:
            yield column, one_of(snapshot.records.ordinals(level, excluded), COLUMNS[column], wanted=False)


def _ranges(ends: Range, least: int, column: str, *, others: bool = False) -> Condition:
    """Condition that a value of at least `least` lies between two ends; with `others`, lesser values pass too."""
    bounds = np.iinfo(np.dtype(COLUMNS[column]))
    low = least if ends[0] is None else min(max(ends[0], least), bounds.max)
    high = bounds.max if ends[1] is None else min(max(ends[1], least - 1), bounds.max)
    runs = [bounds.min, least - 1] * others + [low, high] * (low <= high)
    return Condition(np.array(runs, bounds.dtype), NO_TABLE, np.empty(0, bounds.dtype), True)


def one_of(values: NDArray[Any] | list[int], dtype: DTypeLike, *, wanted: bool = True) -> Condition:
    """Condition that a value is one of `values`; without `wanted`, that it is none of them."""
    among = np.unique(np.asarray(values, dtype))
    if not among.size:
        return Condition(among, NO_TABLE, among, wanted)
    gaps = np.flatnonzero(among[1:] - among[:-1] > 1)
    if gaps.size < MAX_RUNS:
        ends = np.concatenate([among[:1], np.stack([among[gaps], among[gaps + 1]], axis=1).ravel(), among[-1:]])
        return Condition(ends, NO_TABLE, among[:0], wanted)
    span = int(among[-1]) - int(among[0]) + 1
    exact = span <= MAX_TABLE
    size = 1 << (span - 1).bit_length() if exact else max(4096, 1 << min(among.size * 8, MAX_TABLE).bit_length())
    table = np.zeros(size, np.bool_)
    table[(among - among[0]) & among.dtype.type(size - 1)] = True
    return Condition(among[[0, -1]], table, among[:0] if exact else among, wanted)
