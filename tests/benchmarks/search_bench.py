"""What every section of the search benchmark needs: databases, peers, and how to compare."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from storage.database.database import Database
from storage.segments.builder import build, faults
from tests.benchmarks import search_data as data
from tests.benchmarks import search_peers as peers
from tests.benchmarks.report import Row, interleaved

K = 100
Runs = Mapping[str, Callable[[], object]]


@dataclass(frozen=True, slots=True)
class Bench:
    """What every section needs.

    Attributes
    ----------
    sizes
        Rows of the databases, ascending: most sections use the first.
    repeats, least_ms
        How often all runs of a comparison take their turn at least, and for how long: noisy moments shall weigh little.
    """

    folder: Path
    sizes: Sequence[int]
    repeats: int
    least_ms: float
    machine: peers.Machine

    def open(self, name: str, source: data.Source, rows: int, code_length: int, **options: bool) -> Database:
        """Open a generated database."""
        return data.database(self.folder, name, source, rows, code_length, **options)

    def segmented(self, name: str, source: data.Source, rows: int, *, inline: bool = True) -> Database:
        """Open a generated database with one segment of all full blocks, built and checked where it is not yet."""
        kind = f"{name}-{'inline' if inline else 'rows'}"
        data.database(self.folder, kind, source, rows, 64, whole=False).close()
        with Database.open(self.folder / f"{kind}-64-{rows}-rows", readonly=False) as opened:
            build(opened, inline=inline, whole=True)
        reader = Database.open(opened.path)
        with reader.snapshot() as snapshot:
            assert not faults(reader, snapshot.segment_entries)
        return reader

    def clusters(self, rows: int, per_cluster: int, *, inline: bool = True) -> tuple[Database, data.Source]:
        """As `segmented`, of codes around centres; and their source."""
        source = data.clustered(rows // per_cluster, 0)
        return self.segmented(f"clusters-{per_cluster}", source, rows, inline=inline), source

    def times(self, runs: Runs, clock: Callable[[], float] = time.perf_counter) -> dict[str, float]:
        """Milliseconds of each, in turn; once before to warm up.

        The median of processor time; by the clock the least, for what others do on the machine only adds to it.
        """
        once_ms = sum(milliseconds(run, time.perf_counter) for run in runs.values())
        repeats = max(self.repeats, int(self.least_ms / once_ms))
        return interleaved(
            {name: partial(milliseconds, run, clock) for name, run in runs.items()},
            repeats,
            min if clock is time.perf_counter else median,
        )


Section = Callable[[Bench], Iterator[Row]]


def milliseconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """How long a call takes."""
    started = clock()
    work()
    return (clock() - started) * 1e3
