"""Codes of parts of images: kept for one model, found by UID, erased for good."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from storage.objects.region_table import RegionCodes, RegionTable
from storage.vault import SealError, Vault
from tests.support.storage.invented import codes

FIRST = RegionCodes("1.1", b"digest", codes(6, seed=1))
OTHER = RegionCodes("2.1", b"another", codes(3, seed=2))


def table(folder: Path, model: str = "model", vault: Vault | None = None) -> RegionTable:
    return RegionTable(folder / "regions" / "regions.sqlite", model, 1, *([vault] if vault else []))


def test_codes_are_found_by_uid_with_the_content_that_they_were_made_of(tmp_path: Path) -> None:
    made = table(tmp_path)
    before = made.find(["1.1"])
    made.claim()
    made.keep([FIRST, OTHER])

    found = table(tmp_path).find(["1.1", "3"])

    assert before == {}
    assert list(found) == ["1.1"]
    assert found["1.1"].content_digest == b"digest"
    assert np.array_equal(found["1.1"].codes, FIRST.codes)
    assert made.digests(["2.1", "1.1"]) == {"1.1": b"digest", "2.1": b"another"}
    assert (tmp_path / "regions").stat().st_mode & 0o77 == 0


def test_codes_of_another_model_are_not_there_and_go_when_the_table_is_claimed(tmp_path: Path) -> None:
    table(tmp_path).claim()
    table(tmp_path).keep([FIRST])
    other = table(tmp_path, "another model")

    unclaimed = other.find(["1.1"]), other.digests(["1.1"])
    other.claim()

    assert unclaimed == ({}, {})
    assert table(tmp_path).find(["1.1"]) == {}
    other.claim()
    assert FIRST.codes.tobytes() not in (tmp_path / "regions" / "regions.sqlite").read_bytes()


def test_nothing_is_left_of_erased_codes(tmp_path: Path) -> None:
    made, path = table(tmp_path), tmp_path / "regions" / "regions.sqlite"
    made.erase(["1.1"])
    made.claim()
    made.keep([FIRST, OTHER])
    assert FIRST.codes.tobytes() in path.read_bytes()

    made.erase(["1.1", "9"])

    assert list(made.find(["1.1", "2.1"])) == ["2.1"]
    assert FIRST.codes.tobytes() not in path.read_bytes()


def test_sealed_codes_cannot_be_read_without_their_key(tmp_path: Path) -> None:
    sealed = table(tmp_path, vault=Vault(b"k" * 32))
    sealed.claim()
    sealed.keep([FIRST])

    assert FIRST.codes.tobytes() not in (tmp_path / "regions" / "regions.sqlite").read_bytes()
    assert np.array_equal(sealed.find(["1.1"])["1.1"].codes, FIRST.codes)
    assert table(tmp_path).find(["1.1"]) == {}


def test_sealed_codes_open_under_their_own_instance_only(tmp_path: Path) -> None:
    sealed = table(tmp_path, vault=Vault(b"k" * 32))
    sealed.claim()
    sealed.keep([FIRST, OTHER])
    with closing(sqlite3.connect(tmp_path / "regions" / "regions.sqlite")) as connection, connection:
        connection.execute("UPDATE regions SET codes = (SELECT codes FROM regions WHERE uid = '1.1')")

    with pytest.raises(SealError):
        sealed.find(["2.1"])
