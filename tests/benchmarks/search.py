"""How fast is search, beside its peers and the limit? python -m tests.benchmarks.search [--quick] [--json FILE].

Sections can be named (`scan batch filters ...`), and databases kept for the next run (`--folder`). What one thread does
is measured in its own processor time, which other work on the machine disturbs little; what two do, by the clock.
"""

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hashing.codes import Codes
from storage.record import Level
from storage.search.each import nearest_each
from storage.search.entities import mean_groups, nearest_groups
from storage.search.filter import Candidates, count_instances
from storage.search.index import Filter
from storage.search.local import LocalIndex
from storage.search.local_snapshot import LocalSnapshot
from storage.search.scan import nearest
from storage.search.warm_up import warm_up
from tests.benchmarks import search_data as data
from tests.benchmarks import search_peers as peers
from tests.benchmarks import search_segments as segments
from tests.benchmarks.report import Row, followed, publish, search_parser
from tests.benchmarks.search_bench import Bench, K, Runs, Section
from tests.benchmarks.search_images import real_codes
from tests.benchmarks.search_plot import plot
from tests.benchmarks.search_scaling import scaling

BATCH = 32
ONE_THREAD = {1: (0.9, 2.8), 2: (None, 2.3), 4: (None, 2.0)}
TWO_THREADS = {1: (0.85, 5.0)}
"""Least share of the speed of reading, and least ratio to faiss, by words of a code."""
FOUR = 4
"""Places of a block that are read in turn."""
GAINS = {64: 3.0, 128: None, 256: None}


def scan(bench: Bench) -> Iterator[Row]:
    """One query over every row: share of what reading takes, and faiss beside it."""
    for code_length, rows in ((64, bench.sizes[0]), (64, bench.sizes[1]), (128, bench.sizes[0]), (256, bench.sizes[0])):
        whole = rows < bench.sizes[1]
        with bench.open("uniform", data.uniform, rows, code_length, whole=whole) as database:
            codes, query = data.all_codes(database), data.queries(data.uniform, 1, code_length)
            flat = peers.faiss_flat(codes)
            with LocalIndex(database).snapshot() as snapshot:
                expected = nearest(snapshot, query, K)[1]
                assert expected.tolist() == flat(query, K, 1)[0].tolist()
                yield from _one_query(bench, snapshot, query, flat, f"{code_length} bit, {rows:.0e} rows")


def _one_query(bench: Bench, snapshot: LocalSnapshot, query: Codes, flat: peers.Search, work: str) -> Iterator[Row]:
    chunks, width = snapshot.addresses.cut([1 << 20], ()), query.shape[1]
    distances = nearest(snapshot, query, bench.sizes[0] // 100)[1]
    limit = int(distances[K - 1])
    assert bench.machine.count(chunks, query[0], limit) == (distances <= limit).sum()
    ours, read = partial(nearest, snapshot, query, K), partial(bench.machine.read, chunks, width)
    one = bench.times(
        {
            "ours": partial(ours, threads=1),
            "read": partial(read, 1),
            "read, four places in turn": partial(read, 1, FOUR),
            "C, threshold known, four places in turn": partial(bench.machine.count, chunks, query[0], limit),
            "faiss flat": partial(flat, query, K, 1),
        },
        time.thread_time,
    )
    both = bench.times(
        {
            "ours": partial(ours, threads=2),
            "read": partial(read, 2),
            "read, four places in turn": partial(read, 2, FOUR),
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


def batch(bench: Bench) -> Iterator[Row]:
    """Many queries at once: equal threads, and what one costs beside one alone."""
    rows = bench.sizes[0]
    for code_length, least in ((64, 6.0), (128, 3.5), (256, 2.3)):
        with (
            bench.open("uniform", data.uniform, rows, code_length) as database,
            LocalIndex(database).snapshot() as snapshot,
        ):
            queries = data.queries(data.uniform, BATCH, code_length)
            flat = peers.faiss_flat(data.all_codes(database))
            for threads, clock in ((1, time.thread_time), (2, time.perf_counter)):
                times = bench.times(
                    {
                        "ours": partial(nearest_each, snapshot, queries, K, threads=threads),
                        "one": partial(nearest, snapshot, queries[:1], K, threads=threads),
                        "faiss flat": partial(flat, queries, K, threads),
                    },
                    clock,
                )
                work = f"{code_length} bit, {rows:.0e} rows, batch of {BATCH}, {threads} threads, k={K}"
                ours, other, alone = times["ours"], times["faiss flat"], times["one"] * BATCH
                yield Row(work, "ms", ours, {"faiss flat": other}, None, other / ours, least)
                yield Row(f"{work}: gain", "ms", ours, {"one by one": alone}, None, alone / ours, GAINS[code_length])


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
    nearest_groups(snapshot, query, K, level, Candidates(where, snapshot, K), 64, threads=1)


def groups(bench: Bench) -> Iterator[Row]:
    """The best studies and series, beside the best rows."""
    rows = bench.sizes[0]
    with bench.open("uniform", data.uniform, rows, 64) as database, LocalIndex(database).snapshot() as snapshot:
        query = data.queries(data.uniform, 1, 64)
        everything = Candidates(Filter(), snapshot)
        runs: Runs = {
            "rows": partial(nearest, snapshot, query, K, threads=1),
            "SERIES BEST": partial(found, snapshot, query, Filter(), Level.SERIES),
            "STUDY BEST": partial(found, snapshot, query, Filter(), Level.STUDY),
            "STUDY MEAN": partial(mean_groups, snapshot, query, Level.STUDY, everything, 1),
        }
        times = bench.times(runs, time.thread_time)
        plain = times.pop("rows")
        for name, ours in times.items():
            work = f"64 bit, {rows:.0e} rows, 1 thread, k={K}, {name}"
            yield Row(work, "ms", ours, {"rows alone": plain}, None, plain / ours)


def opening(bench: Bench) -> Iterator[Row]:
    """From nothing to the first answer, kernels compiled before."""
    rows = bench.sizes[1]
    bench.open("uniform", data.uniform, rows, 64, whole=False).close()
    query = data.queries(data.uniform, 1, 64)

    def first() -> None:
        with (
            bench.open("uniform", data.uniform, rows, 64, whole=False) as database,
            LocalIndex(database).snapshot() as snapshot,
        ):
            nearest(snapshot, query, K)

    ours = bench.times({"ours": first})["ours"]
    yield Row(f"open {rows:.0e} rows of 64 bit and answer", "ms", ours, {}, 1000, 1000 / ours, 1)


SECTIONS: dict[str, Section] = {
    "scan": scan,
    "batch": batch,
    "filters": filters,
    "groups": groups,
    "opening": opening,
    "segments": segments.segments,
    "real": segments.real,
    "planner": segments.planner,
    "building": segments.building,
    "reopening": segments.reopening,
    "scaling": scaling,
}


def main() -> None:
    """Run the sections asked for."""
    parser = search_parser(__doc__, SECTIONS)
    parser.add_argument("--plot", type=Path, help="draw latency against rows into this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        sizes, least = ((1 << 20, 1 << 21), (5, 200)) if options.quick else ((10_000_000, 100_000_000), (9, 3000))
        codes = None if options.data is None else real_codes(options.data, folder / "images")
        bench = Bench(folder, sizes, *least, peers.Machine(Path(temporary)), codes)
        for code_length in (64, 128, 256):
            warm_up(code_length)
        rows = [row for name in options.sections or SECTIONS for row in followed(SECTIONS[name](bench))]
    publish(rows, options.json)
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
