"""How fast is search, beside its peers and the limit? python -m tests.benchmarks.search [--quick] [--json FILE].

Sections can be named (`scan filters ...`), and databases kept for the next run (`--folder`). What one thread does
is measured in its own processor time, which other work on the machine disturbs little; what two do, by the clock.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from llvmlite import binding  # type: ignore[import-untyped]
from numba.core import config
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.record import Level
from storage.search.entities import aggregated, nearest_groups
from storage.search.filter import Candidates, count_instances
from storage.search.index import Aggregation, Filter
from storage.search.local import LocalIndex
from storage.search.local_snapshot import LocalSnapshot
from storage.search.planner import find
from storage.search.scan import ScanQuery, sweep
from storage.search.warm_up import warm_up
from tests.benchmarks import search_data as data
from tests.benchmarks import search_peers as peers
from tests.benchmarks import search_segments as segments
from tests.benchmarks.report import Row, followed, publish, search_parser
from tests.benchmarks.search_bench import Bench, K, Runs, Section

ONE_THREAD = {1: (0.95, 2.8), 2: (0.92, 2.3), 4: (0.9, 2.0)}
"""Least share of the speed of reading, and least ratio to faiss, by words of a code; the share is meant for processors
with `vpopcntq`."""
TWO_THREADS = {1: (0.85, 5.0)}
SIZES = [10_000_000, 100_000_000]
FOUR = 4
"""Streams in which a block is read in turn."""
FEATURES = ("avx2", "avx512f", "avx512bw", "avx512vl", "avx512vpopcntdq")


def processor() -> str:
    """The processor that kernels are compiled for, with those of its features that matter here."""
    listed = config.CPU_FEATURES  # type: ignore[attr-defined]
    host: dict[str, bool] = binding.get_host_cpu_features()
    has = [name for name in FEATURES if (f"+{name}" in listed.split(",") if listed else host.get(name, False))]
    name = config.CPU_NAME or binding.get_host_cpu_name()  # type: ignore[attr-defined]
    return f"{name} ({' '.join(has)}), host {binding.get_host_cpu_name()}, {os.cpu_count()} cores"


def scan(bench: Bench) -> Iterator[Row]:
    """One query over every row: share of what reading takes, and faiss beside it."""
    for code_length, rows in (*((64, rows) for rows in bench.sizes), (128, bench.sizes[0]), (256, bench.sizes[0])):
        whole = rows == bench.sizes[0]
        with bench.open("uniform", data.uniform, rows, code_length, whole=whole) as database:
            codes, query = data.all_codes(database), data.queries(data.uniform, 1, code_length)
            flat = peers.faiss_flat(codes)
            with LocalIndex(database).snapshot() as snapshot:
                assert nearest(snapshot, query, K).tolist() == flat(query, K, 1)[0].tolist()
                yield from _one_query(bench, snapshot, query, flat, f"{code_length} bit, {rows:.0e} rows")


def nearest(snapshot: LocalSnapshot, query: Codes, k: int) -> NDArray[np.uint16]:
    """Distances of the k nearest rows, ascending."""
    return np.sort(sweep(snapshot, ScanQuery(query, k, snapshot.code_length)).distances)[:k]


def _one_query(bench: Bench, snapshot: LocalSnapshot, query: Codes, flat: peers.Search, work: str) -> Iterator[Row]:
    chunks, width = snapshot.cut(1 << 20, ()), query.shape[1]
    distances = nearest(snapshot, query, bench.sizes[0] // 100)
    limit = int(distances[K - 1])
    assert bench.machine.count(chunks, query[0], limit) == (distances <= limit).sum()
    ours, read = (
        partial(sweep, snapshot, ScanQuery(query, K, snapshot.code_length)),
        partial(bench.machine.read, chunks, width),
    )
    one = bench.times(
        {
            "ours": partial(ours, threads=1),
            "read": partial(read, 1),
            "read, four streams": partial(read, 1, FOUR),
            "C, threshold known, four streams": partial(bench.machine.count, chunks, query[0], limit),
            "faiss flat": partial(flat, query, K, 1),
        },
        time.thread_time,
    )
    both = bench.times(
        {
            "ours": partial(ours, threads=2),
            "read": partial(read, 2),
            "read, four streams": partial(read, 2, FOUR),
            "faiss flat": partial(flat, query, K, 2),
            "faiss flat, 1 thread": partial(flat, query, K, 1),
        }
    )
    for times, work_here, reaches in (
        (one, f"{work}, 1 thread, k={K}", ONE_THREAD[width]),
        (both, f"{work}, 2 threads, k={K}", TWO_THREADS.get(width, (None, None))),
    ):
        mine, floor, faiss = times.pop("ours"), times["read"], times["faiss flat"]
        peers_of = {known: ms for known, ms in times.items() if known.startswith("faiss")}
        limits = {known: ms for known, ms in times.items() if known not in peers_of}
        yield Row(f"{work_here}: of reading", "ms", mine, limits, floor, floor / mine, reaches[0])
        yield Row(f"{work_here}: beside faiss", "ms", mine, peers_of, floor, faiss / mine, reaches[1])


def filters(bench: Bench) -> Iterator[Row]:
    """Conditions before the nearest are chosen, beside the same search without them.

    Columns are as a hospital has them; then drawn for each row by itself, which is the dearest there can be.
    """
    rows = bench.sizes[0]
    for scattered, kind in ((False, ""), (True, ", each row by itself")):
        with bench.open("uniform", data.uniform, rows, 64, scattered=scattered) as database:
            for name, where in data.FILTERS.items():
                with LocalIndex(database).snapshot() as snapshot:
                    yield _filtered(bench, snapshot, f"64 bit, {rows:.0e} rows, 1 thread, k={K}, {name}{kind}", where)


def _filtered(bench: Bench, snapshot: LocalSnapshot, work: str, where: Filter) -> Row:
    query = data.queries(data.uniform, 1, 64)
    runs: Runs = {
        "ours": partial(found, snapshot, query, where),
        "unfiltered": partial(found, snapshot, query, Filter()),
        "counting": partial(count_instances, snapshot, Candidates(where, snapshot), 1),
    }
    times = bench.times(runs, time.thread_time)
    ours, plain = times["ours"], times["unfiltered"]
    other = {"unfiltered": plain, "counting candidates, where asked": times["counting"]}
    return Row(work, "ms", ours, other, None, plain / ours, 1 / 1.3)


def found(snapshot: LocalSnapshot, query: Codes, where: Filter, level: Level = Level.IMAGE) -> None:
    """Search without turning ordinals into UIDs: generated rows have none."""
    nearest_groups(snapshot, query, K, level, Candidates(where, snapshot), 64, threads=1)


def groups(bench: Bench) -> Iterator[Row]:
    """The best studies and series, beside the best rows."""
    rows = bench.sizes[0]
    with bench.open("uniform", data.uniform, rows, 64) as database, LocalIndex(database).snapshot() as snapshot:
        query = data.queries(data.uniform, 1, 64)
        everything = Candidates(Filter(), snapshot)
        runs: Runs = {
            "rows": partial(sweep, snapshot, ScanQuery(query, K, 64), threads=1),
            "SERIES BEST": partial(found, snapshot, query, Filter(), Level.SERIES),
            "STUDY BEST": partial(found, snapshot, query, Filter(), Level.STUDY),
            "STUDY MEAN": partial(aggregated, snapshot, query, Level.STUDY, everything, Aggregation.MEAN, 1),
        }
        times = bench.times(runs, time.thread_time)
        plain = times.pop("rows")
        for name, ours in times.items():
            work = f"64 bit, {rows:.0e} rows, 1 thread, k={K}, {name}"
            yield Row(work, "ms", ours, {"rows alone": plain}, None, plain / ours)


def opening(bench: Bench) -> Iterator[Row]:
    """From nothing to the first answer, kernels compiled before."""
    rows = bench.sizes[-1]
    bench.open("uniform", data.uniform, rows, 64, whole=False).close()
    query = data.queries(data.uniform, 1, 64)

    def first() -> None:
        with (
            bench.open("uniform", data.uniform, rows, 64, whole=False) as database,
            LocalIndex(database).snapshot() as snapshot,
        ):
            find(snapshot, ScanQuery(query, K, 64))

    ours = bench.times({"ours": first})["ours"]
    yield Row(f"open {rows:.0e} rows of 64 bit and answer", "ms", ours, {}, 1000, 1000 / ours, 1)


SECTIONS: dict[str, Section] = {
    "scan": scan,
    "filters": filters,
    "groups": groups,
    "opening": opening,
    "segments": segments.segments,
    "planner": segments.planner,
    "building": segments.building,
    "reopening": segments.reopening,
}


def main() -> None:
    """Run the sections asked for."""
    parser = search_parser(__doc__, SECTIONS)
    parser.add_argument(
        "--rows", type=int, nargs="+", help="rows of the databases, ascending; 10^7 and 10^8 if not given"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        sizes, least = ([1 << 20, 1 << 21], (5, 200)) if options.quick else (SIZES, (9, 3000))
        bench = Bench(folder, options.rows or sizes, *least, peers.Machine(Path(temporary)))
        print(processor())
        for code_length in (64, 128, 256):
            warm_up(code_length)
        rows = [row for name in options.sections or SECTIONS for row in followed(SECTIONS[name](bench))]
    publish(rows, options.json)


if __name__ == "__main__":
    main()
