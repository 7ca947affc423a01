"""Decode workers: each instance costs only itself, and none is given up for what the machine did."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest

from node.ingest.decode_worker import WorkerLimits, prepare_file
from node.ingest.outcome import Outcome, Unusable
from node.ingest.worker_pool import MAX_FAILED_STARTS, WorkerPool, WorkersFailed
from storage.spool.queue import Entry
from tests.support.dicom.misbehaviour import behave, never_ready
from tests.support.running import wait_until

LIMITS = WorkerLimits(processor_s=1.0, elapsed_s=3.0, memory_bytes=2 << 30, kept_bytes=200 << 20)

Ended = SimpleQueue[tuple[Entry, Outcome]]


@pytest.fixture
def ended() -> Ended:
    return SimpleQueue()


@pytest.fixture
def pool(ended: Ended) -> Iterator[WorkerPool]:
    workers = WorkerPool(partial(prepare_file, behave), LIMITS, 2, lambda *pair: ended.put(pair), patience_s=60)
    workers.start()
    yield workers
    workers.stop()


def submit(pool: WorkerPool, folder: Path, *words: str) -> None:
    for number, word in enumerate(words):
        path = folder / f"{number}-{word}"
        path.write_text(word)
        pool.submit(Entry(path))


def outcomes(ended: Ended, count: int) -> list[Unusable]:
    """The next `count` outcomes, in the order they ended."""
    found = []
    for _ in range(count):
        _, outcome = ended.get(timeout=60)
        assert isinstance(outcome, Unusable)
        found.append(outcome)
    return found


def test_what_hangs_dies_or_fills_the_memory_costs_only_itself(pool: WorkerPool, ended: Ended, tmp_path: Path) -> None:
    words = ["fine1", "hang", "fine2", "die", "fine3", "fill", "fine4", "sleep"]
    submit(pool, tmp_path, *words)

    found = {outcome.reason for outcome in outcomes(ended, len(words))}

    assert found == {"fine1", "fine2", "fine3", "fine4", "time-limit", "worker-died", "memory-limit"}


@pytest.mark.parametrize("word", ["hang once", "die once", "fill once", "sleep once"])
def test_what_the_machine_may_have_caused_is_tried_again(
    pool: WorkerPool, ended: Ended, tmp_path: Path, word: str
) -> None:
    submit(pool, tmp_path, word)

    assert outcomes(ended, 1)[0].reason == "recovered"


def test_the_second_try_has_a_fresh_worker_to_itself(pool: WorkerPool, ended: Ended, tmp_path: Path) -> None:
    submit(pool, tmp_path, "fine", "die once", "nap", "nap", "fine", "nap")

    *others, last = outcomes(ended, 6)

    assert last.reason == "recovered"
    assert last.detail not in {outcome.detail for outcome in others}


def test_a_retry_does_not_wait_for_ever_while_more_comes(ended: Ended, tmp_path: Path) -> None:
    pool = WorkerPool(partial(prepare_file, behave), LIMITS, 1, lambda *pair: ended.put(pair), patience_s=0)
    pool.start()
    submit(pool, tmp_path, "die once", "fine", "fine", "fine")

    assert [outcome.reason for outcome in outcomes(ended, 4)] == ["recovered", "fine", "fine", "fine"]
    pool.stop()


def test_a_worker_that_keeps_memory_is_replaced_at_once(pool: WorkerPool, ended: Ended, tmp_path: Path) -> None:
    submit(pool, tmp_path, "grow")

    [grown] = outcomes(ended, 1)

    wait_until(lambda: not Path(f"/proc/{grown.detail}").exists(), "the worker to end", 20)
    submit(pool, tmp_path, *["grow"] * 8)
    assert [outcome.reason for outcome in outcomes(ended, 8)] == ["grow"] * 8


def test_a_worker_that_is_killed_while_it_waits_costs_nothing(pool: WorkerPool, ended: Ended, tmp_path: Path) -> None:
    submit(pool, tmp_path, "first", "second")
    for worker in {outcome.detail for outcome in outcomes(ended, 2)}:
        os.kill(int(worker), signal.SIGKILL)

    submit(pool, tmp_path, "third", "fourth")

    assert {outcome.reason for outcome in outcomes(ended, 2)} == {"third", "fourth"}


def test_workers_that_do_not_start_end_the_pool_and_no_instance(
    ended: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.ingest.worker_pool.RESTART_DELAY_S", 0.0)
    monkeypatch.setattr("node.ingest.worker_pool.work", never_ready)
    pool = WorkerPool(partial(prepare_file, behave), LIMITS, 1, lambda *pair: ended.put(pair), patience_s=60)
    pool.start()
    wait_until(lambda: not pool._thread.is_alive(), f"{MAX_FAILED_STARTS} failures", 60)

    with pytest.raises(WorkersFailed):
        submit(pool, tmp_path, "fine")

    with pytest.raises(Empty):
        ended.get_nowait()
    pool.stop()
