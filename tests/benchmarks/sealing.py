"""What does encryption at rest cost? python -m tests.benchmarks.sealing [--quick] [--json FILE].

The peer is the same work in clear. Processor time of this process: other programs do not count.
"""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from storage.database.database import Database
from storage.database.lookup import Span
from storage.record import Level
from storage.spool.queue import Spool
from storage.vault import CLEAR, Vault
from tests.benchmarks.report import Row, arguments, followed, interleaved, publish
from tests.support.storage.invented import item

REPEATS = 5
OBJECT_BYTES, PIECE_BYTES = 512 * 512 * 2, 1 << 16
TOGETHER = 2000
SPANS = {
    "a name": Span("n000123^b", is_single=True),
    "names by their beginning": Span("n00012", "n00012"),
    "names by a part": Span("", piece="00123"),
}


def main() -> None:
    """Run all rows."""
    options = arguments(__doc__ or "")
    patients, objects = (5_000, 50) if options.quick else (100_000, 400)
    with TemporaryDirectory() as folder:
        publish(list(followed(rows(Path(folder), patients, objects))), options.json)


def rows(folder: Path, patients: int, objects: int) -> Iterator[Row]:
    """Yield every row."""
    vaults = {"sealed": Vault(os.urandom(32)), "clear": CLEAR}
    spools = {name: Spool(folder / f"spool-{name}", 1 << 20, 0, vault=vault) for name, vault in vaults.items()}
    yield row("store an object of 512 KiB, durable", {name: partial(store, spools[name], objects) for name in spools})
    yield row("read it back", {name: partial(read_back, spools[name], objects) for name in spools})
    made = {name: filled(folder / f"database-{name}", vault, patients) for name, vault in vaults.items()}
    yield row("read a study with its patient", {name: partial(walk, made[name]) for name in made})
    for what, span in SPANS.items():
        work = f"find {what} among {patients:,}"
        yield row(work, {name: partial(look_up, made[name], span) for name in made})


def row(work: str, runs: dict[str, Callable[[], float]]) -> Row:
    """Time of one piece of work, sealed and in clear, the best of some runs."""
    times_s = interleaved(runs, REPEATS, min)
    return Row(
        work,
        "us",
        times_s["sealed"] * 1e6,
        {"clear": times_s["clear"] * 1e6},
        ratio=times_s["clear"] / times_s["sealed"],
    )


def store(spool: Spool, count: int) -> float:
    """Processor time of an object that is put into a spool, seconds."""
    octets = memoryview(os.urandom(OBJECT_BYTES))
    pieces = [octets[start : start + PIECE_BYTES] for start in range(0, OBJECT_BYTES, PIECE_BYTES)]
    start_s = time.process_time()
    entries = [spool.put(pieces) for _ in range(count)]
    elapsed_s = time.process_time() - start_s
    spool.remove(entries)
    return elapsed_s / count


def read_back(spool: Spool, count: int) -> float:
    """Processor time of reading an object of a spool, seconds."""
    entry = spool.put([os.urandom(OBJECT_BYTES)])
    start_s = time.process_time()
    for _ in range(count):
        with spool.vault.open(entry.path) as file:
            file.read()
    return (time.process_time() - start_s) / count


def filled(folder: Path, vault: Vault, patients: int) -> Database:
    """A database of patients with a study each."""
    database = Database.create_or_open(folder, 64, "none", 1 << 36, vault=vault)
    for start in range(0, patients, TOGETHER):
        numbers = range(start, min(start + TOGETHER, patients))
        database.append([item(8 * number, patient={"PatientName": f"N{number:06d}^B"}) for number in numbers])
    return database


def walk(database: Database) -> float:
    """Processor time of reading a study with the attributes of its patient, seconds."""
    with database.snapshot() as snapshot:
        count, start_s = snapshot.count(Level.STUDY), time.process_time()
        for _ in snapshot.entities(Level.STUDY):
            continue
        return (time.process_time() - start_s) / count


def look_up(database: Database, span: Span) -> float:
    """Processor time of finding patients by name, seconds."""
    with database.snapshot() as snapshot:
        start_s = time.process_time()
        assert snapshot.ordinals_within(Level.PATIENT, "PatientName", [span])
        return time.process_time() - start_s


if __name__ == "__main__":
    main()
