"""Instances in decode workers: nobody waits for what hangs, and those of one UID leave in order of arrival."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from node.ingest import decoding as module
from node.ingest.decoding import Decoding, DecodingStalled
from node.ingest.outcome import Outcome, Prepared, Unusable
from node.ingest.preparation import prepare
from node.settings import Settings
from storage.spool.queue import Entry, Spool
from tests.support.dicom.misbehaviour import behave
from tests.support.hashing.images import image, scene, sent
from tests.support.running import wait_until

SIZE = 32
SERIAL = iter(range(1, 1000))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", capacity=100, free_bytes=0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, decode_timeout_s=1.5, decode_elapsed_s=8)


@pytest.fixture
def decoding(settings: Settings) -> Iterator[Decoding]:
    with Decoding(settings, SIZE) as workers:
        yield workers


@pytest.fixture
def misbehaving(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoding]:
    monkeypatch.setattr(module, "prepare", behave)
    with Decoding(settings, SIZE) as workers:
        yield workers


def put(spool: Spool, word: str, uid: str | None = None) -> Entry:
    """Spool a word; each of another SOP Instance UID unless it is given."""
    return spool.put([word.encode()], f"2.25.{next(SERIAL)}" if uid is None else uid)


def outcomes(decoding: Decoding, count: int) -> dict[Entry, Outcome]:
    """The next `count` outcomes, in the order in which they leave."""
    found: dict[Entry, Outcome] = {}
    deadline = time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < deadline, found
        found |= (batch := dict(decoding.batch(8, 0.1, 0.0)))
        decoding.forget(list(batch))
    return found


def reasons(decoding: Decoding, count: int) -> dict[Entry, str]:
    found = outcomes(decoding, count)
    return {entry: outcome.reason for entry, outcome in found.items() if isinstance(outcome, Unusable)}


def test_a_received_image_is_prepared_in_another_process(spool: Spool, decoding: Decoding) -> None:
    path = spool.path / "picture.dcm"
    uids = {"SOPInstanceUID": "2.25.1", "SeriesInstanceUID": "2.25.2", "StudyInstanceUID": "2.25.3"}
    sent(image(scene(40, 30, 256).astype(np.uint8), **uids)).save_as(path)
    entry = spool.put([path.read_bytes()])

    decoding.add([entry, entry])
    ((taken, outcome),) = decoding.batch(8, 30, 0.2)

    assert taken == entry
    here = prepare(path, entry.received_ns, SIZE, 8)
    assert isinstance(outcome, Prepared)
    assert isinstance(here, Prepared)
    assert outcome.record == here.record
    assert (outcome.images == here.images).all()


def test_nobody_waits_behind_what_hangs(spool: Spool, misbehaving: Decoding) -> None:
    hanging, *rest = (put(spool, word) for word in ("hang", "first", "second", "third"))

    misbehaving.add([hanging, *rest])
    found = reasons(misbehaving, 3)

    assert set(found) == set(rest)
    assert len(misbehaving) == 1


def test_of_one_uid_the_first_to_arrive_is_the_first_to_leave(spool: Spool, misbehaving: Decoding) -> None:
    slow, quick, other = put(spool, "nap", "2.25.7"), put(spool, "quick", "2.25.7"), put(spool, "other")

    misbehaving.add([slow, quick, other])

    assert list(reasons(misbehaving, 3)) == [other, slow, quick]


def test_what_does_not_tell_its_uid_holds_what_arrived_after_it(spool: Spool, misbehaving: Decoding) -> None:
    before, unknown, after = put(spool, "before"), put(spool, "nap", ""), put(spool, "after")

    misbehaving.add([after, unknown, before])

    assert list(reasons(misbehaving, 3)) == [before, unknown, after]


def test_a_batch_waits_for_more_only_as_long_as_it_may(spool: Spool, misbehaving: Decoding) -> None:
    entries = [put(spool, word) for word in ("first", "second", "hang")]
    misbehaving.add(entries)

    batch = misbehaving.batch(8, 30.0, 0.2)

    assert {entry for entry, _ in batch} <= set(entries[:2])
    assert 1 <= len(batch) <= 2


def test_a_batch_is_no_larger_than_its_limit(spool: Spool, misbehaving: Decoding) -> None:
    misbehaving.add([put(spool, str(number)) for number in range(5)])
    wait_until(lambda: misbehaving._finished.qsize() == 5, "five to be decoded")

    assert [len(misbehaving.batch(3, 0, 0)) for _ in range(3)] == [3, 2, 0]


def test_stuck_workers_are_not_waited_for_for_ever(
    spool: Spool, misbehaving: Decoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_S", -15.9)
    misbehaving.add([put(spool, "sleep")])

    time.sleep(0.2)

    with pytest.raises(DecodingStalled, match="1 instances under way"):
        misbehaving.batch(1, 0.01, 0)


def test_workers_that_had_nothing_to_do_are_not_stuck(
    spool: Spool, misbehaving: Decoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_S", -15.0)  # with the limits of both tries, 8 s each, that is one second
    time.sleep(1.1)

    misbehaving.add([put(spool, "sleep")])

    assert misbehaving.batch(1, 0.01, 0) == []
