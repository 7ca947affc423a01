"""Sections of the search benchmark: segments beside a scan, one thread on both sides."""

import time
from collections.abc import Callable, Iterator, Mapping
from statistics import median

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.database.database import Database
from storage.database.tables import SegmentEntry
from storage.search.local import LocalIndex
from storage.search.local_snapshot import LocalSnapshot
from storage.search.planner import by_index, find
from storage.search.scan import ScanQuery, ScanResult, sweep
from storage.segments.builder import codes_between
from storage.segments.layout import layout_for
from storage.segments.registry import segment_folder
from storage.segments.segment_file import Segment
from tests.benchmarks import search_data as data
from tests.benchmarks.report import Row
from tests.benchmarks.search_bench import Bench

Search = Callable[[LocalSnapshot, ScanQuery], ScanResult]

ENDLESS_NS = 1e15
"""What a scan is said to cost where the index is to be used whatever it costs."""
QUERIES, ROUNDS = 10, 4
CLUSTERS = 1_000, 10_000
"""Codes around one centre."""
SORTED = 4.0
"""Million codes a second that a core is to sort."""
REACH = {"ten million": {10: 25, 100: 15, 1000: 3}, "a hundred million": {10: 100, 100: 60, 1000: 20}}


def segments(bench: Bench) -> Iterator[Row]:
    """The nearest rows of clustered codes: by index, and by scan."""
    for rows, reach in zip(bench.sizes, REACH.values(), strict=False):
        for per_cluster in CLUSTERS:
            for inline in (True, False) if rows == bench.sizes[0] else (True,):
                database, source = bench.clusters(rows, per_cluster, inline=inline)
                with database:
                    for k in (10, 100, 1000):
                        times = compared(database, source, k, {"ours": indexed, "scan": scan})
                        ours, plain = times["ours"], times["scan"]
                        work = f"64 bit, {rows:.0e} rows in clusters of {per_cluster}, 1 thread, k={k}"
                        work += "" if inline else ", codes not in the segment"
                        yield Row(work, "ms", ours, {"scan": plain}, None, plain / ours, reach[k] if inline else None)


def planner(bench: Bench) -> Iterator[Row]:
    """The way chosen, beside the better of both ways, on friendly and on hostile codes."""
    rows = bench.sizes[0]
    clustered = data.clustered(rows // min(CLUSTERS), 0)
    kinds = {
        "clustered": (clustered, clustered),
        "uniform": (data.uniform, data.uniform),
        "clustered, asked for uniform ones": (clustered, data.uniform),
        "a thousand different": (few, few),
        "a thousand different, asked for uniform ones": (few, data.uniform),
    }
    for kind, (source, asked) in kinds.items():
        with bench.segmented(kind.split(",")[0].replace(" ", "-"), source, rows) as database:
            for k in (10, 100, 1000, 10_000):
                times = compared(database, asked, k, {"ours": planned, "index": indexed, "scan": scan})
                ours, alone, plain = times["ours"], times["index"], times["scan"]
                work = f"planner, 64 bit, {rows:.0e} rows, {kind}, 1 thread, k={k}"
                yield Row(work, "ms", ours, {"scan": plain, "index": alone}, None, min(plain, alone) / ours, 1 / 1.2)


def building(bench: Bench) -> Iterator[Row]:
    """Codes a second of processor time, and bytes a code, those in the database included."""
    rows = bench.sizes[0]
    database, _ = bench.clusters(rows, min(CLUSTERS))
    with database, database.snapshot() as snapshot:
        (entry,) = snapshot.segment_entries
        blocks = codes_between(database, snapshot.compactions, 0, entry.rows)
        for inline, most in ((True, 48.0), (False, 24.0)):
            started = time.process_time()
            layout = layout_for(blocks, entry.rows, 64, inline=inline)
            octets = sum(section.nbytes for section in layout.sections(blocks)) / entry.rows + 8
            rate = entry.rows / (time.process_time() - started) / 1e6
            name = f"{entry.rows:.0e} codes of 64 bit, {'' if inline else 'not '}in the segment"
            yield Row(f"sort {name}", "million/s", rate, {}, None, rate / SORTED, 1)
            yield Row(f"size of {name}", "bytes/code", octets, {}, None, most / octets, 1)


def reopening(bench: Bench) -> Iterator[Row]:
    """From nothing to the first answer, which is a scan's, and to the end of the check that lets segments be used."""
    rows = bench.sizes[-1]
    database, source = bench.clusters(rows, min(CLUSTERS))
    with database:
        path, (entry,) = database.path, entries(database)
    query = data.queries(source, 1, 64)
    started = time.perf_counter()
    with Database.open(path) as database:
        index = LocalIndex(database)
        with index.snapshot() as snapshot:
            find(snapshot, ScanQuery(query, 100, 64))
        first_ms = (time.perf_counter() - started) * 1e3
        index.segments.wait()
    yield Row(f"open {rows:.0e} rows with a segment and answer", "ms", first_ms, {}, 1000, 1000 / first_ms, 1)
    segment, started = Segment(segment_folder(database), entry, 64), time.perf_counter()
    segment.check()
    yield Row(f"check a segment of {entry.rows:.0e} rows", "ms", (time.perf_counter() - started) * 1e3)


def entries(database: Database) -> list[SegmentEntry]:
    """Segments that a database names."""
    with database.snapshot() as snapshot:
        return list(snapshot.segment_entries)


def few(generator: np.random.Generator, n: int, code_length: int) -> Codes:
    """A thousand different codes, so that ten thousand rows of ten million tie."""
    return data.uniform(np.random.default_rng(5), 1000, code_length)[generator.integers(0, 1000, n)]


def planned(snapshot: LocalSnapshot, query: ScanQuery) -> ScanResult:
    """Search by whichever way the planner takes."""
    return find(snapshot, query, threads=1)


def indexed(snapshot: LocalSnapshot, query: ScanQuery) -> ScanResult:
    """Search by index, or by scan where so many rows tie that the index gives up."""
    found = by_index(snapshot, query, threads=1, budget_ns=ENDLESS_NS)
    return scan(snapshot, query) if found is None else found


def scan(snapshot: LocalSnapshot, query: ScanQuery) -> ScanResult:
    """Search by scan."""
    return sweep(snapshot, query, threads=1)


def compared(database: Database, source: data.Source, k: int, searches: Mapping[str, Search]) -> dict[str, float]:
    """Median milliseconds of each search, a snapshot each; all find the same distances.

    Queries of one kind follow each other, as they do where segments serve, and the kinds take turns: a scan after each
    would empty the caches of all that an index search is but its buckets. Every other round goes backwards, so that
    none always finds the buckets that another has just read. A round before is not counted: it brings the pages of a
    file that was just made into the tables of this process.
    """
    index = LocalIndex(database)
    with index.snapshot() as snapshot:
        _ = snapshot.segments
        index.segments.wait()
    queries = [ScanQuery(query[None], k, 64) for query in data.queries(source, QUERIES, 64)]
    times: dict[str, list[float]] = {name: [] for name in searches}
    expected = [scan_once(index, query) for query in queries]
    for turn in range(1 + ROUNDS):
        for name, search in list(searches.items())[:: 1 if turn % 2 else -1]:
            for query, nearest in zip(queries, expected, strict=True):
                found, ms = timed(index, query, search)
                assert np.array_equal(np.sort(found.distances)[:k], nearest)
                times[name] += [ms] * (turn > 0)
    return {name: median(of_search) for name, of_search in times.items()}


def scan_once(index: LocalIndex, query: ScanQuery) -> NDArray[np.uint16]:
    """Distances of the nearest, ascending."""
    return np.sort(timed(index, query, scan)[0].distances)[: query.k]


def timed(index: LocalIndex, query: ScanQuery, search: Search) -> tuple[ScanResult, float]:
    """Search in a snapshot of its own; return the result and the milliseconds of processor time."""
    started = time.thread_time()
    with index.snapshot() as snapshot:
        found = search(snapshot, query)
    return found, (time.thread_time() - started) * 1e3
