"""Targets that are processes: decode workers, which may be killed, and a real node, which must outlive everything."""

import time
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import numpy as np

from node.errors import NodeError
from node.ingest.decoding import Decoding
from node.ingest.outcome import Prepared
from node.settings import Settings
from storage.spool.queue import Entry
from tests.fuzz.feeding import Fed
from tests.support.dicom.hostile import COMPRESSED, compressed, damaged
from tests.support.running import RunningNode, running_node
from tests.whole.test_hostile_network import converse

SIZE: Final = 32
AT_ONCE: Final = 64


def decoded(folder: Path, count: int, rng: np.random.Generator) -> Fed:
    """Send damaged codestreams of every family through decode workers, some of which they will end."""
    fed = Fed()
    good = cycle([compressed(family, 1) for family in COMPRESSED])
    waiting = (_entry(folder, number, damaged(*next(good), rng)) for number in range(count))
    under_way: dict[Entry, float] = {}
    with Decoding(Settings(home=folder, decode_timeout_s=20, decode_memory_bytes=1 << 30), SIZE) as decoding:
        while fed.inputs < count:
            fresh = list(islice(waiting, AT_ONCE - len(decoding)))
            under_way |= dict.fromkeys(fresh, time.monotonic())
            decoding.add(fresh)
            for entry, outcome in decoding.batch(AT_ONCE, 1.0, 0.0):
                name = "prepared" if isinstance(outcome, Prepared) else outcome.reason
                fed.add(name, entry.path.read_bytes(), time.monotonic() - under_way.pop(entry))
                decoding.forget([entry])
                entry.path.unlink()
    return fed


def _entry(folder: Path, number: int, octets: bytes) -> Entry:
    path = folder / f"{number:020d}-fuzz.dcm"
    path.write_bytes(octets)
    return Entry(path)


def conversations(home: Path, count: int, seed: int) -> Fed:
    """Talk nonsense to a real node, which then answers and has all its processes."""
    fed = Fed()
    rng = np.random.default_rng(seed)
    with running_node(home, network_timeout_s="3", encoder_backend="torch", max_associations="400",
                      max_associations_each="400", receivers="2") as node:  # fmt: skip
        pids = node.pids()
        for _ in range(count):
            started = time.monotonic()
            converse(node, rng)
            fed.add("ended", b"", time.monotonic() - started)
        _wait_for_answer(node)
        assert node.pids() == pids, "a process of the node ended"
        node.wait_indexed()
    return fed


def _wait_for_answer(node: RunningNode) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            node.peer.echo()
        except NodeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return
