"""An index role at work whose writes to the database are recorded.

python -m tests.support.storage.recorded HOME BATCHES SEED

Between them, in the order of time, are its marks: what was acknowledged, removed from the spool, deleted.
`tests/storage/database/test_power_database.py` makes of the journal what is left on a disk when power fails.
"""

import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest.mock import MagicMock

from storage.database.database import Database, Item
from storage.spool.queue import Spool
from tests.support.storage.invented import codes, item

HEAD: Final = struct.Struct("<cBqq")  # as in tests/recorder.c
MAP_SIZE_BYTES: Final = 1 << 24
SECTOR_BYTES: Final = 512
"""What a disk writes whole or not at all."""

Mark = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """What the process asked the system to do with the database file.

    Attributes
    ----------
    kind
        W: write; S: sync; T: truncate to `offset`; X: map for writing; M: a mark of its own.
    synced
        Whether a write is durable when it returns (O_DSYNC).
    """

    kind: str
    synced: bool
    offset: int
    octets: bytes

    def mark(self) -> Mark:
        """What the process said of itself."""
        marked: Mark = json.loads(self.octets)
        return marked


@dataclass(slots=True)
class Disk:
    """The database file as a disk holds it: what was synced, and writes that may or may not have come so far."""

    synced: bytearray = field(default_factory=bytearray)
    pending: list[Call] = field(default_factory=list)
    size_bytes: int = 0

    def do(self, call: Call) -> None:
        """Take the next call."""
        if call.kind == "W":
            self.size_bytes = max(self.size_bytes, call.offset + len(call.octets))
        if call.kind == "W" and call.synced:
            _write(self.synced, call.offset, call.octets)
        elif call.kind == "W":
            self.pending.append(call)
        elif call.kind == "S":
            for each in self.pending:
                _write(self.synced, each.offset, each.octets)
            self.pending.clear()
        else:
            assert call.kind == "M", f"a call that this model of a disk does not know: {call.kind}"

    def after_a_cut(self, kept: float, rng: random.Random, interrupted: Call | None = None) -> bytes:
        """Content when power returns: of what was not synced each sector with this probability, in any order."""
        found = bytearray(self.synced)
        for call in [*self.pending, *([interrupted] if interrupted else [])]:
            for start in range(0, len(call.octets), SECTOR_BYTES):
                if rng.random() < kept:
                    _write(found, call.offset + start, call.octets[start : start + SECTOR_BYTES])
        return bytes(found).ljust(self.size_bytes, b"\0")  # a page that is not there would end the reader by SIGBUS


def record(folder: Path, batches: int, seed: int) -> list[Call]:
    """Let an index role work in a folder, and return what it did."""
    library, journal = folder / "recorder.so", folder / "journal"
    source = Path(__file__).with_name("recorder.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    with journal.open("wb") as file:
        environment = os.environ | {"LD_PRELOAD": str(library), "POWER_JOURNAL": str(file.fileno())}
        command = [
            sys.executable,
            "-m",
            "tests.support.storage.recorded",
            str(folder / "home"),
            str(batches),
            str(seed),
        ]
        subprocess.run(command, pass_fds=[file.fileno()], cwd=source.parents[3], env=environment, check=True)
    return list(_calls(journal.read_bytes()))


def _calls(journal: bytes) -> Iterator[Call]:
    at = 0
    while at < len(journal):
        kind, synced, offset, size = HEAD.unpack_from(journal, at)
        at += HEAD.size
        yield Call(kind.decode(), bool(synced), offset, journal[at : at + size])
        at += size


def _write(octets: bytearray, offset: int, piece: bytes) -> None:
    octets.extend(bytes(max(0, offset + len(piece) - len(octets))))
    octets[offset : offset + len(piece)] = piece


def instance(number: int, version: int) -> Item:
    """Return an instance; versions differ in content."""
    digest = f"version {version} of {number}".encode()
    return item(number, 64, codes(1, 64, seed=1000 * version + number), content_digest=digest)


def work(home: Path, batches: int, rng: random.Random) -> None:
    """Receive, index, replace, delete and compact, as told by random numbers."""
    for slow_to_load in ("hashing.model.encoder", "hashing.model.network"):  # torch; nothing is encoded here
        sys.modules[slow_to_load] = MagicMock()
    from node.ingest.indexer import Indexer
    from node.settings import Settings

    nothing: Any = None
    waiting: dict[str, tuple[int, int]] = {}
    sys.addaudithook(lambda event, values: _note(event, values, waiting))
    spool = Spool(home / "spool", 10_000, 0)
    database = Database.create_or_open(home / "database", 64, "model", MAP_SIZE_BYTES, block_rows=16, tail_rows=4)
    indexer = Indexer(Settings(home=home, other_content="replace"), spool, database, encoder=nothing)
    versions: dict[int, int] = {}
    for _ in range(batches):
        for number in {rng.randrange(40) for _ in range(rng.randint(1, 6))}:
            versions[number] = versions.get(number, 0) + rng.randint(0, 1)
            entry = spool.put([b"its bytes"], f"2.25.2{number}")
            waiting[entry.path.name] = number, versions[number]
            _mark(acknowledged=[number, versions[number]])
        entries = spool.take(10)
        indexer._append([(entry, instance(*waiting[entry.path.name])) for entry in entries])
        if rng.random() < 0.3:
            gone = rng.sample(sorted(versions), min(3, len(versions)))
            _mark(deleting=gone)
            database.remove([f"2.25.2{number}" for number in gone])
            _mark(deleted=gone)
        if rng.random() < 0.1:
            database.compact()
    database.close()


def _note(event: str, values: tuple[Any, ...], waiting: dict[str, tuple[int, int]]) -> None:
    """Mark what leaves the spool, and that the database gets its name, both before they happen."""
    if event == "os.remove" and Path(values[0]).parent.name == "incoming":
        _mark(removed=waiting[Path(values[0]).name])
    if event == "os.rename" and Path(values[1]).name == "data.mdb":
        _mark(named=True)


def _mark(**said: Any) -> None:
    octets = json.dumps(said).encode()
    os.write(int(os.environ["POWER_JOURNAL"]), HEAD.pack(b"M", 0, 0, len(octets)) + octets)


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]), random.Random(sys.argv[3]))
