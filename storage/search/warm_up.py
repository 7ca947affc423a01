"""Search kernels made ready before the first query: compiling them takes seconds, loading them from a cache little."""

from pathlib import Path
from tempfile import TemporaryDirectory
from threading import get_ident
from typing import Any

import numpy as np
from numba.core.event import Listener, install_listener

from hashing.codes import Codes, pack
from storage.database.database import Database
from storage.record import LEVELS
from storage.search.addresses import read
from storage.search.filter import Candidates
from storage.search.index import Aggregation, Filter, IndexRow
from storage.search.kernels.state import NO_GROUPS, ascending
from storage.search.local import LocalIndex, LocalView
from storage.search.scan import rehearse
from storage.search.scan_query import ScanQuery

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
        index = LocalIndex(database)
        index.append([IndexRow("1", 0, codes[0], "1", "1", "1")])
        with index.view() as view:
            _search_in_every_way(view, codes)


def _search_in_every_way(view: LocalView, codes: Codes) -> None:
    for where in (Filter(), EVERYTHING, Filter(instances=frozenset({"1"}))):
        for level in LEVELS:
            for aggregation in Aggregation:
                view.search(codes, 1, level, where, aggregation=aggregation)
    snapshot = view.snapshot
    rehearse(snapshot, ScanQuery(codes, 1, snapshot.code_length, Candidates(EVERYTHING, snapshot)))
    ascending(np.empty(0, np.int64), np.empty(0, np.uint16), NO_GROUPS, 0)
    for dtype in (np.uint8, np.uint32):
        read(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, dtype))
