"""Sections of the search benchmark: latency against rows, with every peer that can be built."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.search.local import LocalIndex
from storage.search.local_snapshot import LocalSnapshot
from storage.search.planner import find
from storage.search.scan import nearest
from storage.search.scan_query import Task
from tests.benchmarks import search_data as data
from tests.benchmarks import search_peers as peers
from tests.benchmarks.report import Row
from tests.benchmarks.search_bench import Bench, K

SCALES = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
PER_CLUSTER = 1000
QUERIES = 20


def scaling(bench: Bench) -> Iterator[Row]:
    """Our answer, by segment or scan as the planner says, beside the scan and each peer; the share that these find."""
    for rows in SCALES:
        if rows <= bench.sizes[1]:
            database, source = bench.clusters(rows, PER_CLUSTER)
            with database, LocalIndex(database).snapshot() as snapshot:
                queries = data.queries(source, QUERIES, 64)
                yield from _scaled(bench, snapshot, queries, f"64 bit, {rows} clustered rows, 1 thread, k={K}")


def _scaled(bench: Bench, snapshot: LocalSnapshot, queries: Codes, work: str) -> Iterator[Row]:
    made = _peers(bench, snapshot)
    exact = [nearest(snapshot, query[None], K)[1] for query in queries]
    found = {name: np.mean([_share(search(q[None], K, 1), e) for q, e in zip(queries, exact, strict=True)])
             for name, search in made.items()}  # fmt: skip
    searches: dict[str, Callable[[Codes], object]] = {
        "ours": lambda query: find(snapshot, Task(query, K, 64), threads=1),
        "our scan": lambda query: nearest(snapshot, query, K, threads=1),
        **{name: partial(_asked, search) for name, search in made.items()},
    }
    runs = {name: partial(_next, search, cycle(np.split(queries, QUERIES))) for name, search in searches.items()}
    times = bench.times(runs, time.thread_time)
    ours = times.pop("ours")
    for name, ms in times.items():
        finds = f" (finds {found[name]:.0%})" if name in found else ""
        yield Row(f"{work}, beside {name}{finds}", "ms", ours, {name: ms}, None, ms / ours)


def _peers(bench: Bench, snapshot: LocalSnapshot) -> dict[str, peers.Search]:
    """Those that can be built in reasonable time for so many rows."""
    codes = np.ascontiguousarray(np.concatenate([block.codes for block in snapshot.records.blocks()], axis=1).T)
    most = bench.sizes[0] // 10
    made = {"faiss flat": peers.faiss_flat(codes)}
    if snapshot.rows <= most:
        made |= {"numpy": partial(by_numpy, codes), "usearch exact": peers.usearch_exact(codes)}
        made |= {name: peers.faiss_index(name, codes) for name in peers.QUICKLY_BUILT}
    if snapshot.rows <= most // 10:
        made |= {name: peers.faiss_index(name, codes) for name in peers.SLOWLY_BUILT}
        made["usearch HNSW"] = peers.usearch_hnsw(codes)
    return made


def by_numpy(codes: Codes, queries: Codes, k: int, _threads: int) -> NDArray[np.uint64]:
    """Distances of the nearest codes, in plain numpy."""
    return np.partition(np.bitwise_count(codes ^ queries).sum(axis=1), k - 1)[:k]


def _asked(search: peers.Search, query: Codes) -> object:
    return search(query, K, 1)


def _next(search: Callable[[Codes], object], queries: Iterator[Codes]) -> object:
    """Each time another query: the same again would find all it needs in the caches."""
    return search(next(queries))


def _share(distances: NDArray[np.generic], exact: NDArray[np.uint16]) -> float:
    """How many of the nearest were found; usearch answers a single query without its first axis."""
    hits = np.ravel(distances).astype(np.float64)
    return float(np.count_nonzero((hits >= 0) & (hits <= exact[-1])) / exact.size)
