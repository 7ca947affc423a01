"""Search kernels made ready before the first query: compiling them takes seconds, loading them from a cache little."""

from pathlib import Path
from tempfile import TemporaryDirectory
from threading import get_ident
from typing import Any

import numpy as np
from numba.core.event import Listener, install_listener

from hashing.codes import Codes, pack
from storage.database.database import Database, Item
from storage.record import LEVELS, Record
from storage.search.filter import Candidates
from storage.search.index import Aggregation, Filter
from storage.search.local import LocalIndex, LocalView
from storage.search.local_snapshot import read
from storage.search.scan import ScanQuery, sweep
from storage.segments.top_k import lower, new_top_k

MAP_SIZE_BYTES = 1 << 24
EVERYTHING = Filter(
    modalities=frozenset({""}),
    manufacturers=frozenset({""}),
    study_dates=(None, None),
    undated=True,
    sexes=frozenset({""}),
    ages=(None, None),
    instances=frozenset({"1"}),
    excluded_digests=frozenset({0}),
)
"""A filter with a condition on a column of each dtype, which some rows pass."""


class _MustCompileError(Exception):
    """A kernel is not in the cache."""


class _Loading(Listener):
    """Stops Numba before it compiles in this thread; in other threads, queries go on."""

    def __init__(self) -> None:
        self._thread = get_ident()

    def on_start(self, _event: Any) -> None:
        """Raise if the compiler starts in the thread that loads."""
        if get_ident() == self._thread:
            raise _MustCompileError

    def on_end(self, _event: Any) -> None:
        """Do nothing."""


def load(code_length: int) -> bool:
    """Load the search kernels from Numba's cache; return False, and compile nothing, if it lacks one of them."""
    try:
        with install_listener("numba:compile", _Loading()):
            warm_up(code_length)
    except _MustCompileError:
        return False
    return True


def warm_up(code_length: int) -> None:
    """Compile the search kernels, or load them from Numba's cache, by searching a database of one row."""
    codes = pack(np.zeros((1, code_length), np.bool_))
    with (
        TemporaryDirectory() as folder,
        Database.create_or_open(Path(folder), code_length, "none", MAP_SIZE_BYTES) as database,
    ):
        record = Record("1", "1", "1", "1", {}, {}, {}, {}, (0,), b"", 0)
        database.append([Item(record, codes, None, 0)])
        with LocalIndex(database).view() as view:
            _search_in_every_way(view, codes)


def _search_in_every_way(view: LocalView, codes: Codes) -> None:
    """Call every kernel with every type of column."""
    for where in (Filter(), EVERYTHING, Filter(instances=frozenset({"1"}))):
        for level in LEVELS:
            for aggregation in Aggregation:
                view.search(codes, 1, level, where, aggregation=aggregation)
    for filter_first in (True, False):
        everything = Candidates(EVERYTHING, view.snapshot)
        sweep(view.snapshot, ScanQuery(codes, 1, 0, everything), filter_first=filter_first)
    no_rows = np.empty(0, np.int64)
    lower(new_top_k(1, 1, 64), 0)
    read(no_rows, no_rows, np.empty(0, np.uint64), np.empty((1, 0), np.uint8))
