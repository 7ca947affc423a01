"""Expectations by chance, against counting every candidate."""

import threading
from pathlib import Path

import numpy as np
import pytest

from hashing.codes import Codes, hamming_distance, pack, unpack
from storage.database.database import Database, Item
from storage.search import chance
from storage.search.chance import FILE, ChanceTable, compute, is_due, keep_computed, read_table, write
from tests.support.storage.indexing import create
from tests.support.storage.invented import codes, item

N = 1200


def alike(seed: int = 0) -> Codes:
    """Codes around twenty bodies, as those of patients are, a tenth of the bits by chance."""
    generator = np.random.default_rng(seed)
    bodies = unpack(codes(20, seed=seed), 64)[generator.integers(0, 20, N)]
    return pack(bodies ^ (generator.random((N, 64)) < 0.1))


def images(stored: Codes) -> list[Item]:
    """Of eight images a patient; of four, two are CT and two MR."""
    return [item(number, frame_codes=code[None]) for number, code in enumerate(stored)]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    database = create(tmp_path_factory.mktemp("chance"))
    database.append(images(alike()))
    return database


@pytest.mark.parametrize("distance", [5, 10, 20, 30])
def test_it_is_what_counting_the_candidates_of_other_patients_finds_on_average(
    database: Database, distance: int
) -> None:
    stored, numbers = alike(), np.arange(N)
    table = compute(database)
    for modality, others in (("CT", ["CT"]), ("MR", ["CT"]), ("CT", ["CT", "MR"])):
        kinds = np.where(numbers // 2 % 2, "MR", "CT")
        candidates = np.isin(kinds, others)
        counted = [
            int(((hamming_distance(stored[i], stored) <= distance) & (numbers // 8 != i // 8) & candidates).sum())
            for i in numbers[kinds == modality]
        ]

        expected = table.expectation(modality, int(candidates.sum()), distance, others)

        assert expected == pytest.approx(np.mean(counted), rel=0.05, abs=0.1)


def test_it_grows_with_distance_and_candidates_and_is_never_none_at_all(database: Database) -> None:
    table = compute(database)
    values = [table.expectation("CT", 1000, distance) or 0.0 for distance in range(65)]

    assert min(values) > 0
    assert values == sorted(values)
    assert values[64] == pytest.approx(1000, rel=0.01)
    assert table.expectation("CT", 2000, 20) == pytest.approx(2 * values[20])
    assert table.expectation("US", 1000, 20) is None
    assert table.expectation("CT", 1000, 20, frozenset({"US"})) is None


def test_a_deleted_row_and_a_pair_of_one_patient_are_in_no_pair(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        database.append(images(np.zeros((N, 1), np.uint64))[:24])
        database.remove(f"2.25.2{number}" for number in range(16, 24))

        pairs = compute(database).pairs["CT"]["CT"]

    assert pairs == [2 * 4 * 4, *[0] * 64]


def test_a_large_database_is_sampled_evenly(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = compute(database)
    monkeypatch.setattr(chance, "SAMPLED_ROWS", 600)
    monkeypatch.setattr(chance, "MAX_SAMPLED", 200)

    sampled = compute(database)

    assert sum(sampled.pairs["CT"]["MR"]) <= 200 * 200
    assert sampled.expectation("CT", N, 25) == pytest.approx(whole.expectation("CT", N, 25), rel=0.3)


def test_the_file_that_is_there_is_read_and_ignored_when_it_is_damaged(database: Database) -> None:
    assert read_table(database.path) is None

    write(database, first := compute(database))
    assert read_table(database.path) == first
    write(database, ChanceTable("other", 1, {}, {}))
    assert read_table(database.path) == ChanceTable("other", 1, {}, {})
    (database.path / FILE).write_text("{")
    assert read_table(database.path) is None
    (database.path / FILE).unlink()


def test_it_is_computed_again_as_the_database_grows(tmp_path: Path) -> None:
    with create(tmp_path) as database:
        assert not is_due(database)
        database.append(images(alike())[:100])
        assert is_due(database)
        stop = threading.Event()
        thread = threading.Thread(target=keep_computed, args=[database, stop, 0.01])
        thread.start()
        while not (tmp_path / FILE).exists():
            thread.join(0.01)
        stop.set()
        thread.join()

        assert not is_due(database)
        database.append(images(alike())[100:105])
        assert not is_due(database)
        database.append(images(alike())[105:120])
        assert is_due(database)
