"""Objects no sender should send: each costs itself only, a reason and a count."""

import re
import struct
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from pydicom import config as pydicom_config
from pydicom.uid import DeflatedExplicitVRLittleEndian

from hashing.images.frames import Limits
from hashing.model.encoder import Encoder
from node.ingest.indexer import Indexer
from node.ingest.outcome import Prepared, Unusable
from node.ingest.preparation import prepare
from node.settings import Settings
from storage.database.database import Database
from storage.record import Level
from storage.spool.queue import Spool
from storage.spool.set_aside import REASON
from tests.support.dicom.hostile import (
    COMPRESSED,
    NAME,
    body,
    compressed,
    damaged,
    deflate_bomb,
    endless,
    file_of,
    measured,
    picture,
    plain,
    uids,
    with_elements,
)
from tests.support.running import wait_until

MIB = 1 << 20
LIMITS = Limits(inflated_bytes=16 * MIB)
INDEXED = "indexed"

HOSTILE: dict[str, tuple[Callable[[int], bytes], str]] = {
    "sequences 3,000 deep": (lambda n: with_elements(n, endless(3000)), "too-deep"),
    "sequences 3,000 deep that say their length": (lambda n: with_elements(n, measured(3000)), INDEXED),
    "sequences 3,000 deep without an end": (lambda n: with_elements(n, endless(3000)[:48000]), "too-deep"),
    "a million frames": (lambda n: plain(n, NumberOfFrames="1000000"), "too-large"),
    "frames beyond any number": (lambda n: plain(n, NumberOfFrames="9" * 12), "too-large"),
    "60,000 x 60,000 pixels over 100 bytes": (
        lambda n: plain(n, Rows=60_000, Columns=60_000, PixelData=bytes(100)), "too-large",
    ),
    "9,999 x 9,999 pixels over 100 bytes": (
        lambda n: plain(n, Rows=9999, Columns=9999, PixelData=bytes(100)), "undecodable",
    ),
    "65,535 samples a pixel": (lambda n: plain(n, SamplesPerPixel=65535), "undecodable"),
    "65,528 bits a sample": (lambda n: plain(n, BitsAllocated=65528), "undecodable"),
    "a deflate bomb": (lambda n: deflate_bomb(n, 64 * MIB), "too-large"),
    "a deflated stream cut short": (
        lambda n: file_of(b"\x4b\x4c\x4a", DeflatedExplicitVRLittleEndian), "uid-missing",
    ),
    "deflated garbage": (lambda n: file_of(b"\xff" * 999, DeflatedExplicitVRLittleEndian), "not-readable"),
    "a study UID with slashes": (lambda n: plain(n, StudyInstanceUID="../../../etc/passwd"), "uid-invalid"),
    "a series UID of 500 characters": (lambda n: plain(n, SeriesInstanceUID="1." * 250), "uid-invalid"),
    "a study UID of 60,000 characters": (lambda n: plain(n, StudyInstanceUID="1" * 60_000), "uid-invalid"),
    "two study UIDs": (lambda n: plain(n, StudyInstanceUID=["2.25.8", "2.25.9"]), "uid-missing"),
    "no series UID": (lambda n: plain(n, SeriesInstanceUID=""), "uid-missing"),
    "no file meta information": (lambda n: body(picture(n)), "not-readable"),
    "nothing": (lambda n: b"", "not-readable"),
    "a patient ID of 60,000 characters": (lambda n: plain(n, PatientID="P" * 60_000), INDEXED),
    "a description of 60,000 characters": (lambda n: plain(n, StudyDescription="é" * 30_000), INDEXED),
    "a window that is no number": (lambda n: plain(n, RescaleSlope="1E308", RescaleIntercept="-1E308"), INDEXED),
    # 1 GiB: a decode worker may ask for so much memory
    "an element longer than the file": (
        lambda n: with_elements(n, b"\x08\x00\x30\x10UN\0\0" + struct.pack("<I", 0x3FFF_FFF0)), "uid-missing",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sent:
    """What an object is to become."""

    name: str
    octets: bytes
    becomes: str


def hostile() -> list[Sent]:
    """Every one of them, each of its own patient."""
    return [Sent(name, make(number), becomes) for number, (name, (make, becomes)) in enumerate(HOSTILE.items())]


@pytest.fixture(autouse=True)
def _as_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pydicom_config.settings, "reading_validation_mode", pydicom_config.IGNORE)
    monkeypatch.setattr(pydicom_config.settings, "writing_validation_mode", pydicom_config.IGNORE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check(outcome: Prepared | Unusable) -> str:
    """What became of an object, which says nothing of the patient."""
    if isinstance(outcome, Prepared):
        return INDEXED
    assert REASON.fullmatch(outcome.reason)
    assert NAME not in outcome.detail
    assert len(outcome.detail) < 500
    assert all(re.fullmatch("[0-9.]{1,64}", uid) for uid in outcome.uids.values())
    return outcome.reason


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_object_has_its_reason_soon_and_in_little_memory(name: str, tmp_path: Path) -> None:
    make, becomes = HOSTILE[name]
    path = tmp_path / "object"
    path.write_bytes(make(1))
    before, started = psutil.Process().memory_info().rss, time.process_time()

    outcome = prepare(path, 1, 64, 8, LIMITS)

    assert check(outcome) == becomes
    assert time.process_time() - started < 10
    assert psutil.Process().memory_info().rss - before < 500 * MIB


@pytest.mark.parametrize("family", COMPRESSED)
@pytest.mark.parametrize("octets", [b"", b"\0", b"\xff", b"\xff\xd8\xff"])
def test_a_corrupt_compressed_stream_is_undecodable(family: str, octets: bytes, tmp_path: Path) -> None:
    whole, where = compressed(family, 1)
    size = where.stop - where.start
    path = tmp_path / "object"
    path.write_bytes(whole[: where.start] + (octets * size or b"\0" * size)[:size] + whole[where.stop :])

    assert check(prepare(path, 1, 64, 8)) == "undecodable"


@pytest.mark.parametrize("family", COMPRESSED)
def test_the_good_compressed_file_is_prepared(family: str, tmp_path: Path) -> None:
    path = tmp_path / "object"
    path.write_bytes(compressed(family, 1)[0])

    assert check(prepare(path, 1, 64, 8)) == INDEXED


@pytest.mark.parametrize("family", ["JPEG 2000", "JPEG-LS"])
def test_a_codestream_that_announces_other_sizes_is_refused_unread(family: str, tmp_path: Path) -> None:
    whole = compressed(family, 1)[0]
    real = struct.pack(">II", 64, 64) if family == "JPEG 2000" else struct.pack(">HH", 64, 64)
    path = tmp_path / "object"
    path.write_bytes(whole.replace(real, b"\x7f" + real[1:], 1))

    outcome = prepare(path, 1, 64, 8)

    assert check(outcome) == "undecodable"
    assert isinstance(outcome, Unusable)
    assert "announced in the compressed frame" in outcome.detail


def test_among_hostile_objects_every_good_one_is_indexed_and_each_other_set_aside(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, encoder_backend="torch", max_inflated_bytes=LIMITS.inflated_bytes)
    spool = Spool(tmp_path / "spool", capacity=1000, free_bytes=0)
    sent = hostile()
    for number, one in enumerate(sent):
        spool.put([plain(1000 + number)])
        spool.put([one.octets])
    encoder = Encoder.load(device="cpu", backend_name="torch")
    database = Database.create_or_open(tmp_path / "database", 64, encoder.model.identifier, 1 << 30)

    with indexing(Indexer(settings, spool, database, encoder)):
        wait_until(lambda: len(spool) == 0, "the spool to empty")

    good = [uids(1000 + number)["SOPInstanceUID"] for number in range(len(sent))]
    with database.snapshot() as snapshot:
        assert all(snapshot.record(uid) is not None for uid in good)
        assert snapshot.count(Level.IMAGE) == len(sent) + sum(one.becomes == INDEXED for one in sent)
    assert sum(spool.reasons().values()) == sum(one.becomes != INDEXED for one in sent)
    assert set(spool.reasons()) == {one.becomes for one in sent} - {INDEXED}
    assert database.verify() == []
    database.close()


def test_an_instance_the_database_cannot_take_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool", capacity=1000, free_bytes=0)
    for number in range(5):
        spool.put([plain(number)])
    encoder = Encoder.load(device="cpu", backend_name="torch")
    database = Database.create_or_open(tmp_path / "database", 64, encoder.model.identifier, 1 << 30)
    append = database.append

    def refusing(items: list[object]) -> object:
        if any(item.record.sop_instance_uid == uids(3)["SOPInstanceUID"] for item in items):  # type: ignore[attr-defined]
            raise ValueError("a value that nobody thought of")
        return append(items)  # type: ignore[arg-type]

    monkeypatch.setattr(database, "append", refusing)

    with indexing(Indexer(Settings(home=tmp_path), spool, database, encoder)):
        wait_until(lambda: len(spool) == 0, "the spool to empty")

    with database.snapshot() as snapshot:
        assert snapshot.count(Level.IMAGE) == 4
    assert spool.reasons() == {"not-storable": 1}
    database.close()


class indexing:  # noqa: N801 - a context manager
    """An indexer at work in a thread, ended in the end."""

    def __init__(self, indexer: Indexer) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=indexer.run, args=[self._stop])

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_gigantic_deflate_bomb_is_refused_in_a_worker_of_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(deflate_bomb(1, (4 << 30) - MIB))

    started = time.process_time()
    outcome = prepare(path, 1, 64, 8)

    assert check(outcome) == "too-large"
    assert time.process_time() - started < 30


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("family", COMPRESSED)
def test_damaged_compressed_files_never_stop_the_workers(family: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(len(family))
    spool = Spool(tmp_path / "spool", capacity=1000, free_bytes=0)
    whole, where = compressed(family, 1)
    for _ in range(300):
        spool.put([damaged(whole, where, rng)])
    spool.put([plain(2)])
    encoder = Encoder.load(device="cpu", backend_name="torch")
    database = Database.create_or_open(tmp_path / "database", 64, encoder.model.identifier, 1 << 30)

    with indexing(Indexer(Settings(home=tmp_path), spool, database, encoder)):
        wait_until(lambda: len(spool) == 0, "the spool to empty", 900)

    with database.snapshot() as snapshot:
        assert snapshot.record(uids(2)["SOPInstanceUID"]) is not None
    database.close()
