"""A loss of power while the database is written: what LMDB did not sync is lost in part, in any order."""

import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from storage.database.database import Database
from storage.errors import StorageError
from storage.record import Level
from tests.support.storage.recorded import Call, Disk, instance, record

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler: apt-get install gcc")

KEPT = (0.0, 0.1, 0.5, 0.9, 1.0)
"""Parts of what was not synced that reach the disk nevertheless."""


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    return record(tmp_path_factory.mktemp("recorded"), 12, 1)


def test_after_a_cut_everything_acknowledged_is_in_the_database_or_in_the_spool(calls: list[Call]) -> None:
    cuts = 0
    for promised, image in images(calls, 2, random.Random(0)):
        check(promised, image)
        cuts += 1

    assert cuts > 100


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(5))
def test_after_any_cut_everything_acknowledged_is_in_the_database_or_in_the_spool(seed: int, tmp_path: Path) -> None:
    for promised, image in images(record(tmp_path, 30, seed), 2, random.Random(seed)):
        check(promised, image)


def test_had_meta_pages_not_been_synced_the_last_commits_would_be_lost(calls: list[Call]) -> None:
    unsynced = [replace(call, synced=False) for call in calls]

    assert any(is_lost(*cut) for cut in images(unsynced, 1, random.Random(0), kept=(0.0,)))


def test_had_data_pages_not_been_synced_the_database_would_be_broken(calls: list[Call]) -> None:
    unsynced = [call for call in calls if call.kind != "S"]

    assert all(is_lost(*cut) for cut in [*images(unsynced, 1, random.Random(0), kept=(0.0,))][-10:])


class Promised:
    """What a sender and an operator were told until the cut."""

    def __init__(self, marks: Sequence[Call]) -> None:
        self.is_named = False
        self.versions: dict[int, int] = {}
        self.waiting: set[tuple[int, int]] = set()
        self.deleted: dict[int, bool] = {}
        """Numbers that are being deleted (False) or were (True)."""
        for call in marks:
            self._take(call)

    def _take(self, call: Call) -> None:
        for word, value in call.mark().items():
            if word == "named":
                self.is_named = True
            elif word == "acknowledged":
                number, version = value
                self.versions[number] = version
                self.waiting.add((number, version))
                self.deleted.pop(number, None)
            elif word == "removed":
                self.waiting.discard(tuple(value))
            else:
                self.deleted |= dict.fromkeys(value, word == "deleted")


def images(
    calls: list[Call], cuts: int, rng: random.Random, kept: Sequence[float] = KEPT
) -> Iterator[tuple["Promised", bytes]]:
    """What was promised, and what the disk holds, after some cuts at each call."""
    disk, marks = Disk(), []
    for call in calls:
        if call.kind == "M":
            marks.append(call)
            continue
        for share in rng.sample(kept, min(cuts, len(kept))) * -(-cuts // len(kept)):
            yield Promised(marks), disk.after_a_cut(share, rng, call if call.kind == "W" else None)
        disk.do(call)
    yield Promised(marks), disk.after_a_cut(0, rng)


def check(promised: Promised, image: bytes) -> None:
    """Open what is left: it is sound, and nothing promised is missing."""
    if not promised.is_named:
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data.mdb").write_bytes(image)
        with Database.open(Path(folder)) as database:
            assert database.verify() == []
            found = dict(versions_in(database))
    for number, version in promised.versions.items():
        if number not in promised.deleted:
            assert found.get(number) == version or (number, version) in promised.waiting, (number, version)
        elif promised.deleted[number]:
            assert number not in found


def versions_in(database: Database) -> Iterator[tuple[int, int]]:
    """Number and version of each instance, which must be whole."""
    with database.snapshot() as snapshot:
        for entity in snapshot.entities(Level.IMAGE):
            kept = snapshot.record(entity.uid)
            assert kept is not None
            number, version = int(entity.uid.removeprefix("2.25.2")), int(kept.content_digest.split()[1])
            whole = instance(number, version)
            assert kept == whole.record
            assert snapshot.codes_of(entity.uid).tolist() == whole.codes.tolist()
            yield number, version


def is_lost(promised: Promised, image: bytes) -> bool:
    """Whether the database does not open, or lacks something."""
    try:
        check(promised, image)
    except (AssertionError, StorageError):
        return True
    return False
