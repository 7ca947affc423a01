"""The search kernels, made ready before the first question: compiling them takes seconds, loading them no time."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hashing.codes import pack
from storage.database import Database, Item
from storage.record import LEVELS, Record
from storage.search import Filter, search

MAP_SIZE_BYTES = 1 << 24


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
            for where in (Filter(), Filter(instances=np.array([0], np.uint32))):  # without and with a mask of rows
                for level in LEVELS:
                    search(snapshot, codes, 1, level, where, aggregation="BEST")
                    search(snapshot, codes, 1, level, where, aggregation="MEAN")
