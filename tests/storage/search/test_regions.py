"""A region is compared with images and their parts: against a slow, obvious twin."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hashing.codes import Codes, unpack
from storage.database.database import Database
from storage.database.snapshot import Snapshot
from storage.database.tree import key_bytes
from storage.objects.region_table import RegionCodes, RegionTable
from storage.record import Level
from storage.search.index import EVERY_ROW, Filter
from storage.search.local import LocalIndex
from storage.search.regions import RegionIndex, Search
from tests.support.storage.databases import create
from tests.support.storage.invented import codes, item

N_IMAGES, N_PARTS = 40, 4
QUERY = codes(1, seed=99)
OUTPUTS = np.random.default_rng(9).integers(-127, 128, (1, 64)).astype(np.int8)
FEMALE = Filter(sexes=frozenset({"F"}))


def parts_of(number: int, frames: int = 1) -> Codes:
    """Codes of the parts of an image; some are near the query."""
    made = codes(N_PARTS * frames, seed=1000 + number)
    made[number % len(made)] = QUERY[0] ^ np.uint64((1 << number % 7) - 1)
    return made


def frames_of(number: int) -> tuple[int, ...]:
    return (0, 4) if number % 5 == 0 else (0,)


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Database, RegionTable]]:
    """A database of many images, and codes of the parts of all but some."""
    table = RegionTable(folder / "regions.sqlite", "model", 1)
    with create(folder / "database") as database:
        items = [item(number, frames=frames_of(number)) for number in range(N_IMAGES)]
        database.append(items)
        table.claim()
        table.keep(
            RegionCodes(one.record.sop_instance_uid, one.record.content_digest, parts_of(n, len(one.record.frames)))
            for n, one in enumerate(items)
            if n % 11
        )
        yield database, table


@contextmanager
def searching(database: Database, table: RegionTable, shortlist: int, limit: int | None = None) -> Iterator[Search]:
    index = LocalIndex(database)
    with database.snapshot() as snapshot, index.view(snapshot) as view:
        whole = partial(view.search, QUERY, outputs=OUTPUTS)
        yield RegionIndex(table, shortlist).search_by(snapshot, whole, QUERY, OUTPUTS, limit)


def naive(snapshot: Snapshot, level: Level, where: Filter, limit: int | None) -> list[tuple[int, int, str]]:
    """(distance, weighted distance, UID) of every entity, the nearest first."""
    best: dict[str, tuple[int, int]] = {}
    for number in range(N_IMAGES):
        record = snapshot.record(f"2.25.2{number}")
        assert record is not None
        if where is FEMALE and record.patient["PatientSex"] != "F":
            continue
        all_codes = snapshot.codes_of(record.sop_instance_uid)
        if number % 11:
            all_codes = np.concatenate([all_codes, parts_of(number, len(record.frames))])
        for bits in unpack(all_codes, 64):
            differs: NDArray[Any] = bits != unpack(QUERY, 64)[0]
            found = int(differs.sum()), int(np.abs(OUTPUTS[0].astype(int))[differs].sum())
            uid = record.uids[level]
            if limit is None or found[0] <= limit:
                best[uid] = min(best.get(uid, (99, 0)), found)
    return sorted(((*found, uid) for uid, found in best.items()), key=lambda one: (*one[:2], key_bytes(one[2])))


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("where", [EVERY_ROW, FEMALE], ids=["all", "of women"])
@pytest.mark.parametrize("limit", [None, 5])
def test_the_order_is_that_of_the_nearest_part_or_whole(
    tmp_path: Path, level: Level, where: Filter, limit: int | None
) -> None:
    with opened(tmp_path) as (database, table), searching(database, table, 1000, limit) as search:
        found = search(6, level, where)
        with database.snapshot() as snapshot:
            expected = naive(snapshot, level, where, limit)[:6]

    assert [(hit.distance, hit.weighted_distance, hit.uid) for hit in found.hits] == expected


def test_a_hit_names_the_image_and_the_frame_of_its_nearest_part(tmp_path: Path) -> None:
    with opened(tmp_path) as (database, table), searching(database, table, 1000) as search:
        (first, *_) = search(1, Level.STUDY).hits

    near = int(first.sop_instance_uid.removeprefix("2.25.2"))
    assert (first.distance, near % 7) == (0, 0)
    assert first.frame == frames_of(near)[near % (N_PARTS * len(frames_of(near))) // N_PARTS]


def test_as_many_entities_come_as_there_are_though_the_shortlist_is_short(tmp_path: Path) -> None:
    with opened(tmp_path) as (database, table), searching(database, table, 1) as search:
        found = search(10, Level.STUDY)

    assert len(found.hits) == N_IMAGES // 4
    assert found.candidates == N_IMAGES


def test_parts_of_other_content_do_not_count(tmp_path: Path) -> None:
    with opened(tmp_path) as (database, table):
        table.keep([RegionCodes(f"2.25.2{number}", b"replaced since", QUERY) for number in range(N_IMAGES)])
        with searching(database, table, 1000) as search:
            found = search(5)
        with LocalIndex(database).view() as view:
            whole = view.search(QUERY, 5, outputs=OUTPUTS)

    assert found.hits == whole.hits
