"""Mutated inputs by the hundred thousand: python -m tests.fuzz [--inputs N] [--seed N].

Parsers are fed in this process, compressed pixels go through the killable decode workers, and whole conversations to a
real node, which must answer C-ECHO in the end and have lost none of its processes. Any outcome that is not a value or
one of the refusals a parser is meant to raise ends the run with the input that did it.
"""

import argparse
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from pydicom import config as pydicom_config
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)
from rich.console import Console
from rich.table import Table

from node.dicom.command_set import CommandError, Request, read_command, read_request, response_to
from node.errors import NodeError, Refusal
from node.ingest.decoding import Decoding
from node.ingest.identity import IdentityCheck
from node.ingest.outcome import Prepared
from node.ingest.preparation import prepare
from node.settings import Settings
from storage.spool.queue import Entry
from storage.spool.set_aside import REASON
from tests.support.dicom.hostile import COMPRESSED, NAME, body, compressed, damaged, picture, plain
from tests.support.dicom.wire import C_STORE_RQ, SECONDARY_CAPTURE, command
from tests.support.running import RunningNode, running_node
from tests.whole.test_hostile_network import converse

SHARES = {
    "command sets": 0.45,
    "heads of data sets": 0.3,
    "files": 0.17,
    "compressed files": 0.05,
    "conversations": 0.03,
}
SYNTAXES = (
    *(ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
    *(JPEGBaseline8Bit, UID("1.2.3.4")),
)
SIZE, MOST_FRAMES = 32, 2
AT_ONCE = 64

Feed = Callable[[bytes], str]
"""An input to the name of what became of it; raises what nothing may raise."""


@dataclass(slots=True)
class Fed:
    """What became of the inputs of one target."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0

    @property
    def inputs(self) -> int:
        """How many there were."""
        return self.outcomes.total()


def main() -> None:
    """Feed every target its share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        counts = {target: round(options.inputs * share) for target, share in SHARES.items()}
        results = run(Path(name), counts, options.seed)
        results["conversations"] = conversations(Path(name) / "home", counts["conversations"], options.seed)
    table = Table("target", "inputs", "slowest ms", "outcomes", title=f"seed {options.seed}")
    for target, fed in results.items():
        outcomes = ", ".join(f"{outcome} {count:,}" for outcome, count in fed.outcomes.most_common(8))
        table.add_row(target, f"{fed.inputs:,}", f"{fed.slowest_s * 1e3:.0f}", outcomes)
    total = sum(fed.inputs for fed in results.values())
    console = Console(width=160)
    console.print(table)
    console.print(f"{total:,} inputs; the node answers C-ECHO, and none of its processes has ended")


def run(folder: Path, counts: dict[str, int], seed: int) -> dict[str, Fed]:
    """Feed all targets but the node."""
    settings = pydicom_config.settings
    modes = settings.reading_validation_mode, settings.writing_validation_mode
    settings.reading_validation_mode = settings.writing_validation_mode = pydicom_config.IGNORE
    rng = np.random.default_rng(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = {
                target: feed(inputs, target, islice(mutated(seeds, rng), counts[target]))
                for target, (inputs, seeds) in parsers(folder).items()
            }
            results["compressed files"] = decoded(folder, counts["compressed files"], rng)
    finally:
        settings.reading_validation_mode, settings.writing_validation_mode = modes
    return results


def feed(target: Feed, name: str, inputs: Iterator[bytes]) -> Fed:
    """Feed one target."""
    fed = Fed()
    for octets in inputs:
        started = time.monotonic()
        try:
            fed.outcomes[target(octets)] += 1
        except BaseException:
            print(f"{name}: an input of {len(octets)} octets: {octets.hex()}", file=sys.stderr)
            raise
        fed.slowest_s = max(fed.slowest_s, time.monotonic() - started)
    return fed


def mutated(seeds: list[bytes], rng: np.random.Generator) -> Iterator[bytes]:
    """Good inputs in turn, damaged most of the time near their beginning, where what is parsed stands."""
    for octets in cycle(seeds):
        end = len(octets) if rng.random() < 0.5 else min(len(octets), 400)
        yield damaged(octets, slice(0, end), rng)


def parsers(folder: Path) -> dict[str, tuple[Feed, list[bytes]]]:
    """What is fed in this process, and with what."""
    stored = command(C_STORE_RQ, SECONDARY_CAPTURE, "2.25.7.1.1.1")
    small = [
        plain(1, PixelData=bytes(7680)),
        plain(2, WindowCenter="40", WindowWidth="400"),
        plain(3, NumberOfFrames=1),
    ]
    path = folder / "file.dcm"
    syntaxes = cycle(SYNTAXES)
    return {
        "command sets": (command_set, [stored, stored[:-8], stored * 3]),
        "heads of data sets": (lambda octets: head(octets, next(syntaxes)), [body(picture(1))[:600]]),
        "files": (lambda octets: file(path, octets), small),
    }


def command_set(octets: bytes) -> str:
    """Read a command set as the upper layer does, and answer it."""
    try:
        request = read_request(read_command(octets))
    except CommandError:
        return "refused"
    if request is None:
        return "another command"
    read_command(response_to(request, None))
    return "answered"


def head(octets: bytes, transfer_syntax: UID) -> str:
    """Find the UIDs at the beginning of a data set as the receiver does."""
    check = IdentityCheck(Request(C_STORE_RQ, 1, SECONDARY_CAPTURE, "2.25.7.1.1.1", has_data_set=True), transfer_syntax)
    try:
        check.take(memoryview(octets))
        check.finish()
    except Refusal as refusal:
        return f"{refusal.status:04X}"
    return "identified"


def file(path: Path, octets: bytes) -> str:
    """Prepare a file as a decode worker does."""
    path.write_bytes(octets)
    outcome = prepare(path, 1, SIZE, MOST_FRAMES)
    if isinstance(outcome, Prepared):
        return "prepared"
    assert REASON.fullmatch(outcome.reason), outcome
    assert NAME not in outcome.detail, outcome
    return outcome.reason


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
                fed.outcomes["prepared" if isinstance(outcome, Prepared) else outcome.reason] += 1
                fed.slowest_s = max(fed.slowest_s, time.monotonic() - under_way.pop(entry))
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
            fed.slowest_s = max(fed.slowest_s, time.monotonic() - started)
            fed.outcomes["ended"] += 1
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


if __name__ == "__main__":
    main()
