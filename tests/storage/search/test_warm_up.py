"""Warming up: after it, no question waits for the compiler."""

from pathlib import Path
from typing import Any

import pytest

from storage.database.database import Database
from storage.record import LEVELS
from storage.search.index import Aggregation, Filter
from storage.search.kernels.aggregate import aggregate
from storage.search.kernels.bitset import every, keep, rows_of
from storage.search.kernels.distance import order_keys
from storage.search.kernels.select import keep_listed, list_near, select, take_listed
from storage.search.local import LocalIndex
from storage.search.local_snapshot import read
from storage.search.warm_up import warm_up
from storage.segments.top_k import lower
from tests.support.storage.invented import codes, item


@pytest.mark.parametrize("code_length", [16, 64, 128])
def test_a_search_after_it_compiles_nothing(tmp_path: Path, code_length: int) -> None:
    warm_up(code_length)
    compiled = signatures()

    with Database.create_or_open(tmp_path, code_length, "model", 1 << 24) as database:
        database.append([item(number, code_length) for number in range(9)])
        excluded = Filter(excluded_instances=frozenset({"2.25.23"}), modalities=frozenset({"CT"}))
        dated = Filter(study_dates=(20200101, 20210101), ages=(3, None), sexes=frozenset("M"))
        with LocalIndex(database).view() as view:
            for level in LEVELS:
                view.search(codes(2, code_length), 3, level, excluded, maximum_distance=20)
                view.search(codes(1, code_length), 3, level, aggregation=Aggregation.MEAN)
                view.search(codes(1, code_length), 3, level)
                view.search(codes(1, code_length), 3, level, excluded, aggregation=Aggregation.MEAN)
                view.search(codes(1, code_length), 3, level, dated)

    assert min(compiled) > 0
    assert signatures() == compiled


def signatures() -> list[int]:
    loops: tuple[Any, ...] = (every, keep, lower, rows_of, select, aggregate, order_keys)
    loops += (read, keep_listed, list_near, take_listed)
    return [len(loop.signatures) for loop in loops]
