"""The search kernels, made ready before the first question: compiling them takes seconds, loading them no time."""

from pathlib import Path
from tempfile import TemporaryDirectory
from threading import get_ident
from typing import Any

import numpy as np
from numba.core.event import Listener, install_listener

from hashing.codes import Codes, pack
from storage.database.database import Database, Item
from storage.database.snapshot import Snapshot
from storage.record import LEVELS, Record
from storage.search.addresses import read
from storage.search.filter import Candidates
from storage.search.kernels.state import NO_GROUPS, ascending
from storage.search.local import Filter, search
from storage.search.scan import rehearse
from storage.search.scan_query import ScanQuery

MAP_SIZE_BYTES = 1 << 24
ONE = np.zeros(1, np.uint32)
EVERYTHING = Filter(
    modalities=frozenset({""}),
    manufacturers=frozenset({""}),
    study_dates=(None, None),
    undated=True,
    sexes=frozenset({""}),
    ages=(None, None),
    instances=ONE,
    excluded_digests=ONE.astype(np.uint64),
)
"""Asks something of a column of each type."""


class _MustCompileError(Exception):
    """A kernel is not in the cache."""


class _Loading(Listener):
    """Stops Numba before it compiles in this thread; in others, questions go on."""

    def __init__(self) -> None:
        self._thread = get_ident()

    def on_start(self, _event: Any) -> None:
        if get_ident() == self._thread:
            raise _MustCompileError

    def on_end(self, _event: Any) -> None:
        """Do nothing."""


def load(code_length: int) -> bool:
    """Make the kernels ready from Numba's cache only: where that lacks one, compile nothing and return False."""
    try:
        with install_listener("numba:compile", _Loading()):
            warm_up(code_length)
    except _MustCompileError:
        return False
    return True


def warm_up(code_length: int) -> None:
    """Compile the search kernels, or load them from Numba's cache, by asking a database of one item."""
    codes = pack(np.zeros((1, code_length), np.bool_))
    record = Record("1", "1", "1", "1", {}, {}, {}, {}, (0,), b"", 0)
    with (
        TemporaryDirectory() as folder,
        Database.create_or_open(Path(folder), code_length, "none", MAP_SIZE_BYTES) as database,
    ):
        database.append([Item(record, codes, None, pixel_digest=0)])
        with database.snapshot() as snapshot:
            _ask_everything(snapshot, codes)


def _ask_everything(snapshot: Snapshot, codes: Codes) -> None:
    for where in (Filter(), EVERYTHING, Filter(instances=ONE)):
        for level in LEVELS:
            search(snapshot, codes, 1, level, where, aggregation="BEST")
            search(snapshot, codes, 1, level, where, aggregation="MEAN")
    rehearse(snapshot, ScanQuery(codes, 1, snapshot.code_length, Candidates(EVERYTHING, snapshot)))
    ascending(np.empty(0, np.int64), np.empty(0, np.uint16), NO_GROUPS, 0)
    for dtype in (np.uint8, np.uint32):
        read(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, dtype))
