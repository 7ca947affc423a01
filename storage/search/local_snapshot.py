"""A snapshot of the database as compiled loops read it: by the memory addresses of its blocks."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar, cast

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from hashing.codes import Codes, words
from storage.database.blocks import CODES, Array
from storage.database.columns import COLUMNS
from storage.database.snapshot import Snapshot
from storage.jit import NO_WORDS, at, kernel
from storage.search.kernels.distance import Parts
from storage.segments.registry import SegmentRegistry
from storage.segments.segment_file import Segment

Addresses = NDArray[np.uint64]
Computed = TypeVar("Computed")


class CommitCache:
    """Keeps values computed from the latest commit that was read, for all its snapshots in this process."""

    def __init__(self) -> None:
        self._latest: tuple[int, dict[Hashable, Any]] = (0, {})

    def of(self, commit: int) -> dict[Hashable, Any]:
        """Values of a commit by keys that their callers choose; the values of an earlier commit are dropped."""
        latest = self._latest
        if latest[0] != commit:
            self._latest = latest = commit, {}
        return latest[1]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that one call of a kernel goes over, in parts that each lie in one block.

    Attributes
    ----------
    rows, counts, strides : (parts,) int64
        First row of each part, number of its rows, and number of rows of its block.
    addresses
        By column, (parts,) addresses of the first value of each part.
    """

    rows: NDArray[np.int64]
    counts: NDArray[np.int64]
    strides: NDArray[np.int64]
    addresses: dict[str, Addresses] = field(repr=False)

    def parts_from(self, start: int, end: int) -> "Chunk":
        """Chunk of the parts from `start` to `end` - 1."""
        addresses = {name: every[start:end] for name, every in self.addresses.items()}
        return Chunk(self.rows[start:end], self.counts[start:end], self.strides[start:end], addresses)

    def parts(self, group_column: str | None = None) -> Parts:
        """Arguments of a kernel; the rows are grouped by a column if one is named."""
        groups = NO_WORDS if group_column is None else self.addresses[group_column]
        return Parts(self.rows, self.counts, self.strides, self.addresses[CODES], self.addresses["flags"], groups)


class LocalSnapshot:
    """One state of the local index; its addresses may be read until the snapshot of the database ends.

    Every method that reads addresses raises `storage.errors.SnapshotError` after that end.

    Attributes
    ----------
    records
        The snapshot of the database.
    rows
        Number of rows, including those marked deleted.
    code_length
        Bits of each code.
    """

    def __init__(self, records: Snapshot, cache: CommitCache, registry: SegmentRegistry) -> None:
        self.records, self._registry = records, registry
        self.rows, self.code_length = records.rows, records.code_length
        self._computed = cache.of(records.commit)
        self._bounds = self.computed("bounds", lambda: records.layout.bounds(self.rows))
        self._starts, self._ends = self._bounds[:-1], self._bounds[1:]

    @property
    def segments(self) -> list[Segment]:
        """Checked segments that together hold the rows from the first on; the rows behind them have to be scanned."""
        return self._registry.serving(self.records.segment_entries)

    def computed(self, key: Hashable, compute: Callable[[], Computed]) -> Computed:
        """Return the value that this commit has under a key; it is computed at the first call."""
        if self.records.commit and key not in self._computed:  # an ended snapshot has no commit: it raises
            self._computed[key] = compute()
        return cast("Computed", self._computed[key])

    def cut(self, size: int, columns: Iterable[str], first_row: int = 0) -> list[Chunk]:
        """Cut all rows from `first_row` on into chunks of `size` rows.

        Parameters
        ----------
        columns
            Columns that will be read beside codes and flags.
        """
        read = frozenset([CODES, "flags", *columns])
        return self.computed((size, first_row, read), lambda: self._cut(size, first_row, read))

    def sample(self, pieces: int, rows: int, columns: Iterable[str]) -> Chunk:
        """Sample rows in evenly spread pieces of at most `rows` rows; a piece is shorter where its block ends."""
        read = frozenset([CODES, "flags", *columns])

        def sampled() -> Chunk:
            """Make the chunk of the sample."""
            starts = np.unique(np.linspace(0, max(0, self.rows - rows), min(pieces, self.rows), dtype=np.int64))
            ends = self._ends[np.searchsorted(self._starts, starts, side="right") - 1]
            return self._chunk(starts, np.minimum(ends - starts, rows), read)

        return self.computed(("sample", pieces, rows, read), sampled)

    def each(self, rows: NDArray[np.int64], columns: Iterable[str]) -> Chunk:
        """Make a chunk of some rows, each in a part of its own, with these columns only."""
        return self._chunk(rows, np.ones(rows.size, np.int64), columns)

    def values(self, name: str, rows: NDArray[np.int64]) -> Array:
        """(rows,) values of a column at some rows."""
        values = np.empty((1, rows.size), COLUMNS[name])
        read(rows, self._bounds, self._column(name)[0], values)
        return cast("Array", values[0])

    def codes(self, rows: NDArray[np.int64]) -> Codes:
        """(words, rows) codes at some rows."""
        codes = np.empty((words(self.code_length), rows.size), np.uint64)
        read(rows, self._bounds, self._column(CODES)[0], codes)
        return codes

    def _cut(self, size: int, first_row: int, columns: Iterable[str]) -> list[Chunk]:
        ends = np.append(np.arange(first_row, self.rows, max(size, 1)), self.rows)
        cuts = np.unique(np.concatenate([ends, self._starts[self._starts > first_row]]))
        whole = self._chunk(cuts[:-1], np.diff(cuts), columns)
        return [whole.parts_from(*bounds) for bounds in pairwise(np.searchsorted(whole.rows, ends).tolist())]

    def _chunk(self, rows: NDArray[np.int64], counts: NDArray[np.int64], columns: Iterable[str]) -> Chunk:
        blocks = np.searchsorted(self._starts, rows, side="right") - 1
        strides, offsets = (self._ends - self._starts)[blocks], rows - self._starts[blocks]
        columns_read = {name: self._column(name) for name in columns}
        addresses = {
            n: first[blocks] + (offsets * size).view(np.uint64) for n, (first, size, _) in columns_read.items()
        }
        return Chunk(rows, counts, strides, addresses)

    def _column(self, name: str) -> tuple[Addresses, int, list[Array]]:
        """(blocks,) addresses, bytes of a value, and the copies of blocks that must stay in memory meanwhile."""

        def located() -> tuple[Addresses, int, list[Array]]:
            """Read the addresses from the arrays of every block."""
            arrays = list(self.records.arrays(name))
            addresses = np.array([array.__array_interface__["data"][0] for array in arrays], np.uint64)
            copies = [array for array in arrays if array.base is None]  # of values at odd addresses
            return addresses, arrays[0].itemsize if arrays else 0, copies

        return self.computed(name, located)


@kernel
def read(rows: NDArray[np.int64], bounds: NDArray[np.int64], addresses: Addresses, values: Array) -> None:
    """Read the values of a column, or the words of the codes, at some rows.

    Parameters
    ----------
    bounds : (blocks + 1,)
        First row of each block, and the end of the last.
    addresses : (blocks,)
        Address of the first value of each block.
    values : (width, rows)
        Receives the values; its dtype is that of the column.
    """
    for i in range(rows.size):
        block = np.searchsorted(bounds, rows[i], side="right") - 1
        stride, offset = bounds[block + 1] - bounds[block], rows[i] - bounds[block]
        column = carray(at(addresses[block], values), (stride * values.shape[0],))
        for plane in range(values.shape[0]):
            values[plane, i] = column[plane * stride + offset]
