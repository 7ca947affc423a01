"""Does anything grow? SOAK_MINUTES=30 python -m tests.benchmarks.soak [--quick] [--json FILE].

Four senders send the same objects again and again to a whole node, at the rate that it takes. When they end, memory,
descriptors, threads and spool must be back at the level they had after the first round.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from hashing.phantoms.hospital import write_samples
from node.dicom.client import Peer
from tests.benchmarks.report import Row, arguments, publish
from tests.support.running import RunningNode, run_peer, running_node

SENDERS = 4
QUICK_MINUTES, MINUTES = 1.0, 30.0
WAITING = 2000
"""Instances that may wait: receiving is quicker than indexing, so most of the time senders are held back."""
GROWTH_REACH = 0.9
"""What was there after the first round, over what is there in the end; some growth is the allocator's."""


@dataclass(frozen=True, slots=True)
class Levels:
    """What one process holds."""

    memory_mb: float
    descriptors: int
    threads: int


def main() -> None:
    """Run it and publish a row for each process and kind."""
    options = arguments(__doc__ or "")
    minutes = float(os.environ.get("SOAK_MINUTES", QUICK_MINUTES if options.quick else MINUTES))
    with TemporaryDirectory() as name:
        folder = Path(name)
        parts = [folder / str(number) for number in range(SENDERS)]
        for seed, part in enumerate(parts):
            for _ in write_samples(part, 1, seed):
                pass
        with running_node(folder / "home", spool_capacity=str(WAITING)) as node:
            rows = soak(node, parts, minutes * 60)
    publish(rows, options.json)


def soak(node: RunningNode, parts: list[Path], seconds: float) -> list[Row]:
    """Levels after the first round and after the last."""
    send_all(node, parts, 0)
    node.wait_indexed(600)
    before = {name: levels(pid) for name, pid in node.pids().items()}
    sent = send_all(node, parts, seconds)
    node.wait_indexed(600)
    time.sleep(3)  # the threads of the last associations end
    rows = [Row(f"objects sent in {seconds / 60:g} minutes", "objects", sent)]
    for name, pid in node.pids().items():
        after = levels(pid)
        for kind in ("memory_mb", "descriptors", "threads"):
            first, last = getattr(before[name], kind), getattr(after, kind)
            rows.append(Row(f"{name}: {kind}", "", last, {"first round": first}, None, first / last, GROWTH_REACH))
    rows.append(Row("spool depth in the end", "objects", node.status().waiting))
    return rows


def send_all(node: RunningNode, parts: list[Path], seconds: float) -> int:
    """How many objects four senders sent until their time was over, each at least once all of its own."""
    deadline = time.monotonic() + seconds
    with ThreadPoolExecutor(len(parts)) as pool:
        return sum(pool.map(lambda part: send(node.peer, part, deadline), parts))


def send(peer: Peer, folder: Path, deadline: float) -> int:
    """Send a folder until the time is over; a sender that is rejected for now tries again."""
    rounds = 0
    while rounds == 0 or time.monotonic() < deadline:
        command = (
            "dcmsend",
            "-q",
            "-aec",
            peer.ae_title,
            peer.host,
            str(peer.port),
            "+sd",
            "+r",
            "+sp",
            "*.dcm",
            folder,
        )
        if run_peer(*command, check=False).returncode == 0:
            rounds += 1
        else:
            time.sleep(0.5)
    return rounds * sum(1 for _ in folder.rglob("*.dcm"))


def levels(pid: int) -> Levels:
    """What a process holds now."""
    process = psutil.Process(pid)
    return Levels(process.memory_info().rss / 1e6, process.num_fds(), process.num_threads())


if __name__ == "__main__":
    main()
