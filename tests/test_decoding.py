"""Decode workers: what hangs, dies or fills the memory costs itself, and nobody waits for it."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from node.ingest import decoding as module
from node.ingest.decoding import Decoding, DecodingStalled
from node.ingest.preparation import Prepared, Unusable, prepare
from node.settings import Settings
from storage.spool.queue import Entry, Spool
from tests.images import image, scene, sent
from tests.misbehaviour import behave
from tests.running import wait_until

SIZE = 32


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", capacity=100, free_bytes=0)


@pytest.fixture
def decoding(tmp_path: Path) -> Iterator[Decoding]:
    with Decoding(Settings(home=tmp_path, decode_timeout_s=1.5), SIZE) as workers:
        yield workers


@pytest.fixture
def misbehaving(decoding: Decoding, monkeypatch: pytest.MonkeyPatch) -> Decoding:
    monkeypatch.setattr(decoding, "_prepare", behave)
    return decoding


def reasons(decoding: Decoding, count: int) -> dict[Entry, str]:
    found: dict[Entry, str] = {}
    deadline = time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < deadline, found
        for entry, outcome in decoding.batch(most=8, wait_s=0.1, delay_s=0.0):
            assert isinstance(outcome, Unusable)
            found[entry] = outcome.reason
            decoding.forget([entry])
    return found


def test_a_received_image_is_prepared_in_another_process(spool: Spool, decoding: Decoding) -> None:
    path = spool.path / "picture.dcm"
    uids = {"SOPInstanceUID": "2.25.1", "SeriesInstanceUID": "2.25.2", "StudyInstanceUID": "2.25.3"}
    sent(image(scene(40, 30, 256).astype(np.uint8), **uids)).save_as(path)
    entry = spool.put([path.read_bytes()])

    decoding.add([entry, entry])
    ((taken, outcome),) = decoding.batch(most=8, wait_s=30, delay_s=0.2)

    assert taken == entry
    here = prepare(path, entry.received_ns, SIZE, 8)
    assert isinstance(outcome, Prepared)
    assert isinstance(here, Prepared)
    assert outcome.record == here.record
    assert (outcome.images == here.images).all()


def test_what_hangs_dies_or_fills_the_memory_costs_only_itself(spool: Spool, misbehaving: Decoding) -> None:
    words = [b"fine1", b"hang", b"fine2", b"die", b"fine3", b"fill", b"fine4"]
    entries = [spool.put([word]) for word in words]

    misbehaving.add(entries)
    found = reasons(misbehaving, len(words))

    assert [found[entry] for entry in entries] == [
        "fine1", "time-limit", "fine2", "worker-died", "fine3", "memory-limit", "fine4",
    ]  # fmt: skip
    assert not misbehaving


def test_nobody_waits_behind_what_hangs(spool: Spool, misbehaving: Decoding) -> None:
    hanging, *rest = (spool.put([word]) for word in (b"hang", b"one", b"two", b"three"))

    misbehaving.add([hanging, *rest])
    found = reasons(misbehaving, 3)

    assert set(found) == set(rest)
    assert len(misbehaving) == 1


def test_a_batch_waits_for_more_only_as_long_as_it_may(spool: Spool, misbehaving: Decoding) -> None:
    misbehaving.add([spool.put([b"warm"])])
    reasons(misbehaving, 1)
    entries = [spool.put([word]) for word in (b"one", b"two", b"hang")]
    misbehaving.add(entries)

    started = time.monotonic()
    batch = misbehaving.batch(most=8, wait_s=5.0, delay_s=0.2)
    elapsed = time.monotonic() - started

    assert {entry for entry, _ in batch} <= set(entries[:2])
    assert 1 <= len(batch) <= 2
    assert elapsed < 5


def test_a_batch_is_no_larger_than_asked_for(spool: Spool, misbehaving: Decoding) -> None:
    misbehaving.add([spool.put([str(number).encode()]) for number in range(5)])
    wait_until(lambda: misbehaving._finished.qsize() == 5, "five to be decoded")

    assert [len(misbehaving.batch(most=3, wait_s=0, delay_s=0)) for _ in range(3)] == [3, 2, 0]


def test_a_stuck_pool_is_not_waited_for_for_ever(
    spool: Spool, misbehaving: Decoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_S", -1.4)
    misbehaving.add([spool.put([b"hang"])])

    time.sleep(0.2)

    with pytest.raises(DecodingStalled, match="1 instances under way"):
        misbehaving.batch(most=1, wait_s=0.01, delay_s=0)


def test_a_pool_that_had_nothing_to_do_is_not_stuck(
    spool: Spool, misbehaving: Decoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_S", -0.5)  # with the limit of an instance, 1.5 s, that is one second
    time.sleep(1.1)

    misbehaving.add([spool.put([b"hang"])])

    assert misbehaving.batch(most=1, wait_s=0.01, delay_s=0) == []
