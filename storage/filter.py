"""Which rows a search considers: conditions on columns, before the nearest are selected."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.columns import COLUMNS, FIRST, SEXES
from storage.record import Level
from storage.rows import Block
from storage.scan import live
from storage.snapshot import Snapshot

Ordinals = NDArray[np.uint32]
Range = tuple[int | None, int | None]
Test = Callable[[NDArray[Any]], NDArray[np.bool_]]

TERM_BOUND = int(np.iinfo(COLUMNS["modality"]).max) + 1


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions that must all hold; None asks nothing.

    Attributes
    ----------
    modalities, body_parts, sexes
        Values as in DICOM, in upper case; "" stands for none given.
    study_dates
        yyyymmdd, both ends included, None for open; an image without date is in no range.
    ages
        Whole years, likewise.
    patients, studies, series, instances
        Ordinals to stay among; `excluded_...` those to leave out.
    excluded_digests
        Pixel digests to leave out.
    """

    modalities: frozenset[str] | None = None
    body_parts: frozenset[str] | None = None
    study_dates: Range | None = None
    sexes: frozenset[str] | None = None
    ages: Range | None = None
    patients: Ordinals | None = None
    studies: Ordinals | None = None
    series: Ordinals | None = None
    instances: Ordinals | None = None
    excluded_patients: Ordinals | None = None
    excluded_studies: Ordinals | None = None
    excluded_series: Ordinals | None = None
    excluded_instances: Ordinals | None = None
    excluded_digests: NDArray[np.uint64] | None = None


class Candidates:
    """Rows of one snapshot that pass a filter; call it with each block once.

    Attributes
    ----------
    instances
        How many instances passed so far.
    """

    def __init__(self, where: Filter, snapshot: Snapshot) -> None:
        self._tests = [*_value_tests(where, snapshot), *_ordinal_tests(where, snapshot)]
        self.instances = 0

    def __call__(self, block: Block) -> NDArray[np.bool_] | None:
        """(rows,) True where a row passes, None when all do."""
        mask = live(block)
        for column, test in self._tests:
            passed = test(block.column(column))
            mask = passed if mask is None else mask & passed
        first = (block.column("flags") & FIRST) != 0  # every condition holds for a whole instance or not at all
        self.instances += int(np.count_nonzero(first if mask is None else first & mask))
        return mask


def _value_tests(where: Filter, snapshot: Snapshot) -> Iterator[tuple[str, Test]]:
    if where.modalities is not None:
        yield "modality", _among(snapshot.term_numbers("modality", where.modalities), TERM_BOUND)
    if where.body_parts is not None:
        yield "body_part", _among(snapshot.term_numbers("body_part", where.body_parts), TERM_BOUND)
    if where.sexes is not None:
        yield "sex", _among([SEXES.index(sex) for sex in where.sexes if sex in SEXES], len(SEXES))
    if where.study_dates is not None:
        yield "study_date", _between(where.study_dates, least=1)
    if where.ages is not None:
        yield "age_years", _between(where.ages, least=0)
    if where.excluded_digests is not None:
        digests = where.excluded_digests
        yield "pixel_digest", lambda column: ~np.isin(column, digests)


def _ordinal_tests(where: Filter, snapshot: Snapshot) -> Iterator[tuple[str, Test]]:
    for level, column, kept, excluded in (
        (Level.PATIENT, "patient", where.patients, where.excluded_patients),
        (Level.STUDY, "study", where.studies, where.excluded_studies),
        (Level.SERIES, "series", where.series, where.excluded_series),
        (Level.IMAGE, "instance", where.instances, where.excluded_instances),
    ):
        bound = snapshot.ordinal_bound(level)
        if kept is not None:
            yield column, _among(kept, bound)
        if excluded is not None:
            yield column, _among(excluded, bound, listed=False)


def _between(ends: Range, least: int) -> Test:
    low, high = ends
    low = least if low is None else max(low, least)
    if high is None:
        return lambda column: column >= low
    return lambda column: (column >= low) & (column <= high)


def _among(numbers: NDArray[np.uint32] | list[int], bound: int, *, listed: bool = True) -> Test:
    """Test by one table for all blocks: a set may hold millions."""
    wanted = np.asarray(numbers, np.uint32)
    if wanted.size == 1:
        only = wanted[0]
        return (lambda column: column == only) if listed else (lambda column: column != only)
    table = np.full(bound, not listed)
    table[wanted[wanted < bound]] = listed
    return lambda column: table[column]
