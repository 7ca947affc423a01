"""What processes measure of themselves, for Prometheus; labels hold AE titles, statuses and levels, and no patient.

The processes of a node share a folder in which each counts (the multi-process mode of the client library); `/metrics`
adds them up. It must be named before the library is imported, so each process calls `share_metrics` first.
"""

import logging
import os
import time
from pathlib import Path
from threading import Lock
from typing import Final, Self, cast

logger = logging.getLogger(__name__)

SHARED: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable that the library reads."""
SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
"""Upper ends of the classes of durations."""


def share_metrics(folder: Path) -> None:
    """Count in a folder of the node from now on; where there is no room for it, this process is not counted."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ[SHARED] = str(folder)
    metrics()
    try:
        for path in folder.glob(f"*_{os.getpid()}.db"):
            _allocate(path)
    except OSError as error:
        _metrics[:] = [cast(Metrics, _Nothing())]
        logger.warning("this process is not measured: %s", error)


def _allocate(path: Path) -> None:
    """Give a file the blocks that its size promises: to write through its mapping on a full disk ends the process."""
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)


class Metrics:
    """The measures of one process, made when the first is needed."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Histogram

        self.received = Counter(
            "lookalike_received_instances", "Instances of C-STORE and STOW-RS by DIMSE status.", ["status"]
        )
        self.received_bytes = Counter("lookalike_received_bytes", "Bytes of instances that were acknowledged.")
        self.acknowledgement = Histogram(
            "lookalike_acknowledgement_seconds", "From the end of an instance to its response.", buckets=SECONDS
        )
        self.query = Histogram(
            "lookalike_query_seconds", "Duration of queries by level and kind.", ["level", "kind"], buckets=SECONDS
        )
        self.hashed = Counter("lookalike_hashed_instances", "Instances that were encoded and stored.")
        self.hashing = Counter("lookalike_hashing_seconds", "Seconds that this took.")
        self.peer = Histogram(
            "lookalike_peer_seconds", "Time until the source PACS accepts an association.", buckets=SECONDS
        )


class _Nothing:
    """Stands for every measure where nothing is measured."""

    def __getattr__(self, _name: str) -> Self:
        return self

    def __call__(self, *_arguments: object) -> Self:
        return self


_metrics: list[Metrics] = []
_making = Lock()


def metrics() -> Metrics:
    """The measures of this process."""
    with _making:  # two associations may be the first at once, and a measure can be made once only
        if not _metrics:
            _metrics.append(Metrics())
    return _metrics[0]


def measured_query(level: str, kind: str, started_s: float) -> float:
    """Count a query that began at a time of the monotonic clock, and return how long it took, in seconds."""
    elapsed_s = time.monotonic() - started_s
    metrics().query.labels(level, kind).observe(elapsed_s)
    return elapsed_s
