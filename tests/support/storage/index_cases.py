"""Rows and filters for tests of an index: few different codes, studies and dates, so that ties and conditions meet."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from hashing.codes import Codes
from storage.record import LEVELS
from storage.search.index import Filter, IndexRow
from tests.support.storage.invented import codes


def instance_uid(number: int) -> str:
    return f"2.25.2{number}"


def uids(number: int) -> list[str]:
    """Unique keys of what an instance belongs to, patient first."""
    return [f"P{number // 8}\\HOSPITAL", f"2.25.4{number // 4}", f"2.25.3{number // 2}", instance_uid(number)]


def rows(number: int, frame_codes: Codes, frames: tuple[int, ...] = (0,), **changes: Any) -> list[IndexRow]:
    """Rows of an instance: of two a series, four a study, and eight a patient."""
    patient, study, series, instance = uids(number)
    columns: dict[str, Any] = {
        "series_instance_uid": series,
        "study_instance_uid": study,
        "patient_key": patient,
        "modality": ("CT", "MR")[number // 2 % 2],
        "body_part": "CHEST",
        "manufacturer": ("ACME", "Acme", "")[number // 2 % 3],
        "study_date": (20200115, 20200701, 0)[number // 4 % 3],
        "sex": ("M", "F", "")[number // 8 % 3],
        "age_years": (40, -1)[number // 16 % 2],
        "pixel_digest": number,
    } | changes
    return [IndexRow(instance, frame, code, **columns) for frame, code in zip(frames, frame_codes, strict=True)]


@dataclass(frozen=True)
class Case:
    """What an index is given, and which instances are removed again."""

    code_length: int
    rows: list[IndexRow]
    removed: list[str]

    @property
    def remaining(self) -> list[IndexRow]:
        return [row for row in self.rows if row.sop_instance_uid not in self.removed]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    code_length, n = draw(st.sampled_from([16, 32, 48, 64, 128, 256])), draw(st.sampled_from([30, 40, 20, 50, 1, 0]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pool = codes(draw(st.sampled_from([1, 3, 500])), code_length, seed=draw(st.integers(0, 99)))
    frames_of: list[tuple[int, ...]] = [(0,), (0,), (0,), (2, 5, 7)]
    given: list[IndexRow] = []
    for number in generator.permutation(60)[:n].tolist():
        frames = frames_of[generator.integers(len(frames_of))]
        given += rows(number, pool[generator.integers(0, len(pool), len(frames))], frames)
    instances = sorted({row.sop_instance_uid for row in given})
    removed = generator.permutation(instances)[: draw(st.sampled_from([0, n // 4]))].tolist()
    return Case(code_length, given, removed)


def _keys(tier: int, chosen: set[int]) -> frozenset[str]:
    return frozenset(uids(number)[tier] for number in chosen)


days = st.none() | st.sampled_from([20200114, 20200115, 20200116, 20200630, 20200701, 20200702])
years = st.none() | st.integers(38, 41)
half = st.integers(0, 99).map(lambda seed: set(np.random.default_rng(seed).permutation(60)[:30].tolist()))
numbers = half | st.integers(0, 70).map(lambda number: {number})
CONDITIONS: dict[str, st.SearchStrategy[Any]] = {
    "modalities": st.frozensets(st.sampled_from(["CT", "MR", "US"]), min_size=1),
    "body_parts": st.frozensets(st.sampled_from(["CHEST", "", "HEAD"])),
    "manufacturers": st.frozensets(st.sampled_from(["ACME", "Acme", "", "other"])),
    "sexes": st.frozensets(st.sampled_from(["M", "F", "", "X"]), min_size=1),
    "study_dates": st.tuples(days, days),
    "ages": st.tuples(years, years),
    "excluded_digests": numbers.map(frozenset),
}
for tier, name in enumerate(("patients", "studies", "series", "instances")):
    keys = numbers.map(partial(_keys, tier))
    CONDITIONS |= {name: keys, f"excluded_{name}": keys}


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    """One or two conditions, for more let nothing pass."""
    names = draw(st.lists(st.sampled_from(sorted(CONDITIONS)), unique=True, min_size=1, max_size=2))
    return Filter(**{name: draw(CONDITIONS[name]) for name in names}, undated=draw(st.booleans()))


levels = st.sampled_from(LEVELS)
ks = st.sampled_from([1, 2, 5, 40, 1000])
