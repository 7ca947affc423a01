"""Searches against a plain twin."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import storage.search.local
from hashing.codes import CodeLengthError, Codes, hamming_distance
from storage.database.columns import SEXES, age_years, body_part, modality, sex, study_date
from storage.database.database import Database, Item
from storage.database.snapshot import Snapshot
from storage.record import LEVELS, Level
from storage.search.filter import Filter
from storage.search.local import Aggregation, Answer, CodeIndex, search
from tests.invented import codes, item

MODEL, MAP_SIZE = "model", 2**28
BLOCKS = ((8, 4), (16, 16), (1024, 256))


@dataclass(frozen=True)
class Case:
    """What a database holds, and what of it was removed again."""

    code_length: int
    items: list[Item]
    removed: list[str]
    blocks: tuple[int, int]

    @property
    def kept(self) -> list[Item]:
        return [item for item in self.items if item.record.sop_instance_uid not in self.removed]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Few different codes, studies and dates, so that ties, groups and filters meet."""
    code_length, n = draw(st.sampled_from([16, 32, 48, 64, 128, 256])), draw(st.sampled_from([30, 40, 20, 50, 1, 0]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pool = codes(draw(st.sampled_from([1, 3, 500])), code_length, seed=draw(st.integers(0, 99)))
    frames_of: list[tuple[int, ...]] = [(0,), (0,), (0,), (2, 5, 7), ()]
    items = []
    for number in generator.permutation(60)[:n].tolist():
        frames = frames_of[generator.integers(5)]
        chosen = pool[generator.integers(0, len(pool), len(frames))]
        patient = {
            "PatientSex": ("M", "F", "")[number // 8 % 3],
            "PatientBirthDate": ("19800601", "")[number // 16 % 2],
        }
        study = {"StudyDate": ("20200115", "20200701", "")[number // 4 % 3]}
        series = {
            "Modality": ("CT", "MR")[number // 2 % 2],
            "BodyPartExamined": "CHEST",
            "Manufacturer": ("ACME", "Acme", "")[number // 2 % 3],
        }
        changes = {"patient": patient, "study": study, "series": series}
        items.append(item(number, code_length, frame_codes=chosen, frames=frames, **changes))
    uids = [each.record.sop_instance_uid for each in items]
    removed = generator.permutation(uids)[: draw(st.sampled_from([0, n // 4]))].tolist()
    return Case(code_length, items, removed, draw(st.sampled_from(BLOCKS)))


@contextmanager
def snapshot_of(case: Case) -> Iterator[Snapshot]:
    """State after appending everything in three batches and removing some."""
    block_rows, tail_rows = case.blocks
    with (
        tempfile.TemporaryDirectory() as path,
        Database.create_or_open(
            Path(path), case.code_length, MODEL, MAP_SIZE, block_rows=block_rows, tail_rows=tail_rows
        ) as database,
    ):
        third = -(-len(case.items) // 3)
        for start in (0, third, 2 * third):
            database.append(case.items[start : start + third])
        database.remove(case.removed)
        assert database.verify() == []
        with database.snapshot() as snapshot:
            yield snapshot


def twin(
    items: list[Item], queries: Codes, k: int, level: Level, maximum_distance: int | None, aggregation: str
) -> list[tuple[float, str, str, int]]:
    """(distance, uid, SOP Instance UID, frame) of the nearest entities."""
    frames: dict[str, list[tuple[int, str, int]]] = {}
    for each in items:
        for frame, code in zip(each.record.frames, each.codes, strict=True):
            nearest_query = min(int(hamming_distance(query, code[None])[0]) for query in queries)
            uid = each.record.uids[level]
            frames.setdefault(uid, []).append((nearest_query, each.record.sop_instance_uid, frame))
    found: list[tuple[float, str, str, int]] = []
    for uid, candidates in frames.items():
        best = min(candidates)
        average = level != Level.IMAGE and aggregation == "MEAN"
        distance: float = sum(c[0] for c in candidates) / len(candidates) if average else best[0]
        if maximum_distance is None or distance <= maximum_distance:
            found.append((distance, uid, *best[1:]))
    return sorted(found)[:k]


def told(answer: Answer) -> list[tuple[float, str, str, int]]:
    return [(hit.distance, hit.uid, hit.sop_instance_uid, hit.frame) for hit in answer.hits]


queries_of = st.tuples(st.integers(1, 3), st.integers(0, 99))
wanted = st.sampled_from([1, 2, 5, 40, 1000])


@given(
    cases(),
    queries_of,
    wanted,
    st.sampled_from(LEVELS),
    st.none() | st.integers(-1, 256),
    st.sampled_from(["BEST", "MEAN"]),
)
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_a_search_finds_what_its_twin_finds(
    case: Case, asked: tuple[int, int], k: int, level: Level, maximum_distance: int | None, aggregation: Any
) -> None:
    queries = codes(asked[0], case.code_length, seed=asked[1])

    with snapshot_of(case) as snapshot:
        answer = search(snapshot, queries, k, level, Filter(), maximum_distance, aggregation)

        assert told(answer) == twin(case.kept, queries, k, level, maximum_distance, aggregation)
        assert answer.candidates == sum(1 for item in case.kept if item.record.frames)
        for hit in answer.hits:
            assert snapshot.ordinal(level, hit.uid) == hit.ordinal
            assert snapshot.gather("frame", np.array([hit.row])) == hit.frame


days = st.none() | st.sampled_from([20200114, 20200115, 20200116, 20200630, 20200701, 20200702])
ends = st.tuples(days, days)
years = st.tuples(st.none() | st.integers(38, 41), st.none() | st.integers(38, 41))
half = st.integers(0, 99).map(lambda seed: set(np.random.default_rng(seed).permutation(60)[:30].tolist()))
one = st.integers(0, 59).map(lambda number: {number})
CONDITIONS: dict[str, st.SearchStrategy[Any]] = {
    "modalities": st.frozensets(st.sampled_from(["CT", "MR", "US"]), min_size=1),
    "body_parts": st.frozensets(st.sampled_from(["CHEST", "", "HEAD"])),
    "manufacturers": st.frozensets(st.sampled_from(["ACME", "Acme", "", "other"])),
    "sexes": st.frozensets(st.sampled_from(["M", "F", "", "X"]), min_size=1),
    "study_dates": ends,
    "ages": years,
    **dict.fromkeys(("patients", "studies", "series", "instances"), half | one),
    **dict.fromkeys(("excluded_patients", "excluded_studies", "excluded_series"), half | one),
    **dict.fromkeys(("excluded_instances", "excluded_digests"), half | one),
}


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    """One or two, for more let nothing pass."""
    names = draw(st.lists(st.sampled_from(sorted(CONDITIONS)), unique=True, min_size=1, max_size=2))
    return {name: draw(CONDITIONS[name]) for name in names}


LEVEL_OF = dict(zip(("patients", "studies", "series", "instances"), LEVELS, strict=True))


def within(value: int, least: int, ends: tuple[int | None, int | None]) -> bool:
    low, high = ends
    return value >= least and (low is None or value >= low) and (high is None or value <= high)


def contains(uid: str, uids: set[str]) -> bool:
    return uid in uids


def lacks(uid: str, uids: set[str]) -> bool:
    return uid not in uids


def passes(each: Item, asked: dict[str, Any]) -> bool:
    """Whether an instance meets every condition, one by one."""
    record = each.record
    attributes = {k: v for level in LEVELS for k, v in record.attributes[level].items()}
    tests: dict[str, Callable[[Any], bool]] = {
        "modalities": lambda wanted: modality(attributes) in wanted,
        "body_parts": lambda wanted: body_part(attributes) in wanted,
        "manufacturers": lambda wanted: attributes["Manufacturer"] in wanted,
        "sexes": lambda wanted: SEXES[sex(attributes)] in wanted,
        "study_dates": lambda wanted: within(study_date(attributes), 1, wanted),
        "ages": lambda wanted: within(age_years(attributes), 0, wanted),
        "excluded_digests": lambda digests: each.pixel_digest not in digests,
    }
    for name, level in LEVEL_OF.items():
        tests[name] = partial(contains, record.uids[level])
        tests[f"excluded_{name}"] = partial(lacks, record.uids[level])
    return all(tests[name](value) for name, value in asked.items())


def named(case: Case, asked: dict[str, Any]) -> dict[str, Any]:
    """Turn numbers of instances into the unique keys of what they belong to."""
    names = {name: level for stem, level in LEVEL_OF.items() for name in (stem, f"excluded_{stem}")}
    return {
        name: {each.record.uids[names[name]] for each in case.items if each.pixel_digest in value}
        if name in names
        else value
        for name, value in asked.items()
    }


def as_filter(snapshot: Snapshot, asked: dict[str, Any]) -> Filter:
    names = {name: level for stem, level in LEVEL_OF.items() for name in (stem, f"excluded_{stem}")}
    fields: dict[str, Any] = {
        name: snapshot.ordinals(names[name], value) if name in names else value for name, value in asked.items()
    }
    if "excluded_digests" in fields:
        fields["excluded_digests"] = np.array(sorted(fields["excluded_digests"]), np.uint64)
    return Filter(**fields)


@given(cases(), conditions(), wanted, st.sampled_from(LEVELS), st.sampled_from(["BEST", "MEAN"]))
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_filters_apply_before_the_nearest_are_selected(
    case: Case, asked: dict[str, Any], k: int, level: Level, aggregation: Any
) -> None:
    queries, asked = codes(1, case.code_length, seed=7), named(case, asked)
    expected = [each for each in case.kept if passes(each, asked)]

    with snapshot_of(case) as snapshot:
        answer = search(snapshot, queries, k, level, as_filter(snapshot, asked), aggregation=aggregation)

    assert told(answer) == twin(expected, queries, k, level, None, aggregation)
    assert answer.candidates == sum(1 for each in expected if each.record.frames)


@pytest.mark.parametrize("equal", [3, 200])
def test_ties_at_the_cut_go_to_the_smallest_uids_however_many_they_are(equal: int) -> None:
    same, other = codes(1), ~codes(1)
    items = [item(number, frame_codes=same if number < equal else other) for number in range(200)]

    with snapshot_of(Case(64, items, [], (1024, 256))) as snapshot:
        answer = search(snapshot, same, 2)

    expected = sorted(each.record.sop_instance_uid for each in items[:equal])[:2]
    assert [hit.uid for hit in answer.hits] == expected


def test_the_same_search_on_the_same_snapshot_gives_the_same_answer() -> None:
    case = Case(64, [item(number) for number in range(50)], [], (16, 4))

    with snapshot_of(case) as snapshot:
        assert search(snapshot, codes(1), 7, Level.STUDY) == search(snapshot, codes(1), 7, Level.STUDY)


def test_impossible_questions_are_refused() -> None:
    with snapshot_of(Case(64, [item(1)], [], (16, 4))) as snapshot:
        both: tuple[Aggregation, ...] = ("BEST", "MEAN")
        for aggregation in both:
            with pytest.raises(CodeLengthError):
                search(snapshot, codes(1, 128), 5, Level.STUDY, aggregation=aggregation)
            with pytest.raises(ValueError, match="no query"):
                search(snapshot, codes(0), 5, Level.STUDY, aggregation=aggregation)
            with pytest.raises(ValueError, match="at least one"):
                search(snapshot, codes(1), 0, Level.STUDY, aggregation=aggregation)


def test_this_module_is_a_code_index() -> None:
    index: CodeIndex = storage.search.local

    with snapshot_of(Case(64, [item(1)], [], (16, 4))) as snapshot:
        assert index.search(snapshot, item(1).codes, 1).hits[0].distance == 0
