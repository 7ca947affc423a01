"""Milvus beside the local index: feeding, memory and latency of one small server; says nothing about a cluster.

Run as `python -m tests.benchmarks.milvus [--quick] [--json FILE]`. Both give the same answers, which is checked.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from storage.database.database import Database
from storage.record import Level
from storage.search.index import Filter, IndexView
from storage.search.local import LocalIndex
from storage.search.milvus.connection import CodeOrigin, Connection
from storage.search.milvus.feed import FedIndex, Feeder
from storage.search.milvus.index import MilvusIndex
from storage.search.milvus.options import MilvusOptions
from tests.benchmarks.report import Row, arguments, followed, interleaved, publish
from tests.support.storage.index_cases import rows
from tests.support.storage.invented import codes
from tests.support.storage.local_store import items_of
from tests.support.storage.milvus_server import MilvusServer, milvus_server

K, REPEATS, BATCH = 10, 21, 2000
SETTLE_S = 15
"""Seconds in which Milvus indexes and loads what was sealed."""
WARM_UP = 5
SEARCHES = {
    "images": (Level.IMAGE, Filter()),
    "images, one modality of two": (Level.IMAGE, Filter(modalities=frozenset({"MR"}))),
    "studies": (Level.STUDY, Filter()),
}


def main() -> None:
    chosen = arguments(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder, milvus_server() as server:
        publish(list(followed(measured(Path(folder), server, 20_000 if chosen.quick else 100_000))), chosen.json)


def measured(folder: Path, server: MilvusServer, n: int) -> Iterator[Row]:
    options = MilvusOptions(server.uri, "bench", timeout_s=120)
    with Database.create_or_open(folder, 64, "model", 1 << 34) as database:
        for start in range(0, n, BATCH):
            some = zip(range(start, start + BATCH), codes(BATCH, seed=start), strict=True)
            database.append(items_of([row for number, code in some for row in rows(number, code[None])]))
        index = MilvusIndex(Connection(options, CodeOrigin(64, "model")))
        fed, feeder = FedIndex(index, LocalIndex(database)), Feeder(database, index)
        index.connection.check()
        before, started = server.memory_bytes(), time.perf_counter()
        while feeder.step():
            continue
        feeder.step()
        yield Row(f"feed {n:,} codes of 64 bits", "codes/s", n / (time.perf_counter() - started))
        index.connection.flush()
        time.sleep(SETTLE_S)
        yield Row("memory of the server", "bytes/code", (server.memory_bytes() - before) / n)
        with database.snapshot() as snapshot, fed.view(snapshot) as milvus, fed.local.view(snapshot) as local:
            yield from _latencies(n, milvus, local)


def _latencies(n: int, milvus: IndexView, local: IndexView) -> Iterator[Row]:
    queries = iter(codes(10_000, seed=7))
    for name, (level, where) in SEARCHES.items():
        same = codes(1, seed=99)
        assert milvus.search(same, K, level, where) == local.search(same, K, level, where)
        for _ in range(WARM_UP):
            milvus.search(same, K, level, where)
        runs = {"milvus": _timed(milvus, level, where, queries), "local": _timed(local, level, where, queries)}
        figures = interleaved(runs, REPEATS)
        work = f"{K} nearest {name} of {n:,}"
        yield Row(
            work, "ms", figures["milvus"], {"local index": figures["local"]}, ratio=figures["local"] / figures["milvus"]
        )


def _timed(view: IndexView, level: Level, where: Filter, queries: Iterator[Any]) -> Callable[[], float]:
    def run() -> float:
        query = np.asarray(next(queries))[None]
        started = time.perf_counter()
        view.search(query, K, level, where, count=False)
        return (time.perf_counter() - started) * 1000

    return run


if __name__ == "__main__":
    main()
