"""Codes of parts are made of whatever is indexed, in the background, and of nothing that is gone."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Lock
from urllib.request import urlopen

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from hashing.codes import Codes
from hashing.phantoms.hospital import write_samples
from node.corrections.corrector import Corrector
from node.corrections.order_book import OrderBook, OrderKind
from node.corrections.submission import submit
from node.examples import region_keeper as keeping
from node.examples.region_keeper import RegionKeeper
from storage.database.database import Database
from storage.database.rejections import Title
from storage.objects.object_store import ObjectStore
from storage.objects.region_table import RegionTable
from storage.spool.queue import Spool
from tests.support.running import running_node, wait_until
from tests.support.storage.databases import create
from tests.support.storage.invented import item


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with create(tmp_path / "database") as made:
        yield made


@pytest.fixture
def table(tmp_path: Path) -> RegionTable:
    made = RegionTable(tmp_path / "regions.sqlite", "model", 1)
    made.claim()
    return made


def encode(preview: NDArray[np.uint8], modality: str) -> Codes:
    """Codes that tell what they were made of."""
    return np.array([[preview[0, 0]], [len(modality)]], np.uint64)


def kept(table: RegionTable, *numbers: int) -> dict[int, list[int]]:
    found = table.find([f"2.25.2{number}" for number in numbers])
    return {number: found[uid].codes[:, 0].tolist() for number in numbers if (uid := f"2.25.2{number}") in found}


def work(keeper: RegionKeeper) -> None:
    while keeper.step():
        pass


def test_parts_of_each_frame_are_encoded_once_and_what_comes_later_too(
    database: Database, table: RegionTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "TOGETHER", 2)
    database.append([item(0), item(1, frames=(0, 3)), item(2, frames=())])
    keeper = RegionKeeper(database, table, encode, Lock())

    work(keeper)
    database.append([item(3)])
    database.append([item(1, frames=(0, 3), content_digest=b"replaced", received_ns=2**62)], replace=True)
    work(keeper)
    again = RegionKeeper(database, table, lambda _image, _kind: pytest.fail("it was encoded before"), Lock())
    work(again)

    assert kept(table, 0, 1, 2, 3) == {0: [0, 2], 1: [1, 2, 1, 2], 3: [3, 2]}
    assert table.digests(["2.25.21"]) == {"2.25.21": b"replaced"}


def test_what_is_erased_while_it_is_encoded_does_not_come_back(database: Database, table: RegionTable) -> None:
    database.append([item(number) for number in range(3)])

    def erasing(preview: NDArray[np.uint8], modality: str) -> Codes:
        database.remove(["2.25.21"])
        return encode(preview, modality)

    work(RegionKeeper(database, table, erasing, Lock()))

    assert sorted(kept(table, 0, 1, 2)) == [0, 2]


def test_who_is_forgotten_or_rejected_for_good_has_no_parts_left(
    database: Database, table: RegionTable, tmp_path: Path
) -> None:
    database.append([item(0), item(8), item(12)])
    work(RegionKeeper(database, table, encode, Lock()))
    orders = OrderBook(tmp_path / "orders")
    rejected = {"note": "2.25.9", "references": {"2.25.28": "2.25.42"}, "received_ns": 2**62}

    orders.put(OrderKind.FORGET, study="2.25.40", patient_id="", issuer=None)
    orders.put(OrderKind.REJECT, title=Title.RETENTION_EXPIRED, **rejected)
    spool, objects = Spool(tmp_path / "spool", 9, 0), ObjectStore(tmp_path / "objects")
    Corrector(database, orders, spool, objects, regions=table).carry_out_all(Event())

    assert list(kept(table, 0, 8, 12)) == [12]


@pytest.mark.slow
def test_a_node_compares_regions_with_parts_and_forgets_these(tmp_path: Path) -> None:
    paths = [path for path in write_samples(tmp_path / "phantoms", 2) if path.suffix == ".dcm"][:12]
    with running_node(tmp_path / "home", region_codes="true") as node:
        assert {stored.status for stored in node.peer.store(paths)} == {0}
        node.wait_indexed()
        path = node.settings.regions_path
        wait_until(lambda: rows_of(path) == len(paths), "the codes of parts", 300)

        example = dcmread(paths[0], stop_before_pixels=True)
        asked = f"/api/similar/{example.SOPInstanceUID}?exclude=&distinct=NONE&region=101,101,240,240"
        with urlopen(f"{node.settings.url.rstrip('/')}{asked}") as reply:
            answer = json.load(reply)
        submit(node.settings, OrderKind.FORGET, study=str(example.StudyInstanceUID), patient_id="", issuer=None)

        assert answer["matches"][0]["uid"] == example.SOPInstanceUID
        assert rows_of(path) < len(paths)


def rows_of(path: Path) -> int:
    """Number of instances whose parts have codes."""
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM regions").fetchone()[0])
