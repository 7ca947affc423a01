"""Our own threads for compiled loops, which run without the interpreter lock.

Not those of OpenMP: several of its runtimes in one process keep spinning after their work, and steal the cores.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from typing import Final, TypeVar

Worker = TypeVar("Worker")
Piece = TypeVar("Piece")
CORES: Final = len(os.sched_getaffinity(0))
"""Cores that this process may use."""
MIN_SHARED_ROWS: Final = 1 << 18
"""Rows up to which one thread is quicker than waking another."""


def thread_count(rows: int, threads: int | None = None) -> int:
    """Number of threads to scan with: the number given, or one for each core where that is quicker than one alone."""
    if threads is not None:
        return max(1, threads)
    return 1 if rows <= MIN_SHARED_ROWS else CORES


def share(pieces: Iterable[Piece], workers: list[Worker], work: Callable[[Worker, Piece], None]) -> None:
    """Call `work` once for each piece: each free worker takes the next in order, the first in this thread."""
    waiting = iter(list(pieces))  # the next of a list is taken by one thread only

    def run(worker: Worker) -> None:
        """Work on piece after piece until none is left."""
        for piece in waiting:
            work(worker, piece)

    if len(workers) == 1:
        run(workers[0])
        return
    others = [_threads().submit(run, worker) for worker in workers[1:]]
    try:
        run(workers[0])
    finally:
        wait(others)  # what they read may end with this call
    for other in others:
        other.result()


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=CORES, thread_name_prefix="search")


os.register_at_fork(after_in_child=_threads.cache_clear)  # a forked process has none of these threads
