"""Memory addresses of the blocks of one snapshot, for compiled loops that read them where they lie."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar, cast

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.database.blocks import CODES, Array
from storage.database.columns import COLUMNS
from storage.database.snapshot import Snapshot
from storage.jit import NO_WORDS, at, kernel
from storage.search.kernels.state import Parts

Addresses = NDArray[np.uint64]
Made = TypeVar("Made")


@dataclass(slots=True)
class CommitCache:
    """Values computed from the state after one commit; they grow while snapshots of that commit are searched.

    Attributes
    ----------
    commit
        Number of the commit, as `Snapshot.commit` gives it.
    bounds : (blocks + 1,) int64
        First row of each block, and the end of the last; empty until they are needed.
    columns
        By name of a column: the address of each of its blocks, the bytes of a value, and the copies of blocks that
        must stay in memory while their addresses are used.
    made
        What else was made of the state, by a key that its maker chose.
    """

    commit: int
    bounds: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    columns: dict[str, tuple[Addresses, int, list[Array]]] = field(default_factory=dict)
    made: dict[Hashable, object] = field(default_factory=dict)


class AddressCache:
    """Keeps the addresses of the latest commit that was read, which all its snapshots in this process share."""

    def __init__(self) -> None:
        self._latest = CommitCache(0)

    def of(self, commit: int) -> CommitCache:
        """Cache of a commit; that of an earlier one is dropped."""
        latest = self._latest
        if latest.commit != commit:
            self._latest = latest = CommitCache(commit)
        return latest


class BlockAddresses:
    """Addresses of the blocks of a snapshot; they may be read until the snapshot ends."""

    def __init__(self, snapshot: Snapshot, cache: CommitCache) -> None:
        self._snapshot, self._rows, self._cache = snapshot, snapshot.rows, cache
        if not cache.bounds.size:
            cache.bounds = snapshot.layout.bounds(self._rows)
        self._starts, self._ends = cache.bounds[:-1], cache.bounds[1:]

    def cut(self, sizes: Sequence[int], columns: Iterable[str], first_row: int = 0) -> list["Chunk"]:
        """Cut all rows from `first_row` on into chunks.

        Parameters
        ----------
        sizes
            Rows of the first chunk, of the second, and so on; the last size is repeated.
        columns
            Columns that will be read beside codes and flags.
        """
        key = (*sizes, frozenset(columns), first_row)
        return self.remember(key, lambda: self._cut(sizes, columns, first_row))

    def sample(self, pieces: int, rows: int, columns: Iterable[str]) -> "Chunk":
        """Sample rows in evenly spread pieces of at most `rows` rows; a piece is shorter where its block ends."""
        key = (pieces, rows, frozenset(columns), "sample")
        return self.remember(key, lambda: self._sample(pieces, rows, columns))

    def each(self, rows: NDArray[np.int64], columns: Iterable[str]) -> "Chunk":
        """Make a chunk of some rows, each in a part of its own, with these columns only."""
        return self._chunk(rows, np.ones(rows.size, np.int64), columns)

    def values(self, name: str, rows: NDArray[np.int64]) -> Array:
        """(rows,) values of a column at some rows."""
        first, _, _ = self._column(name)
        values = np.empty(rows.size, COLUMNS[name])
        read(rows, self._cache.bounds, first, values)
        return values

    def remember(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what was made of this commit under a key, and make it at the first call."""
        made = self._cache.made
        if key not in made:
            made[key] = make()
        return cast("Made", made[key])

    def _cut(self, sizes: Sequence[int], columns: Iterable[str], first_row: int) -> list["Chunk"]:
        ends = _ends(first_row, self._rows, sizes)
        cuts = np.unique(np.concatenate([ends, self._starts[self._starts > first_row]]))
        whole = self._chunk(cuts[:-1], np.diff(cuts), {CODES, "flags", *columns})
        bounds = np.searchsorted(whole.rows, ends).tolist()
        return [whole.parts_from(*bound) for bound in pairwise(bounds)]

    def _sample(self, pieces: int, rows: int, columns: Iterable[str]) -> "Chunk":
        starts = np.unique(np.linspace(0, max(0, self._rows - rows), min(pieces, self._rows), dtype=np.int64))
        ends = self._ends[np.searchsorted(self._starts, starts, side="right") - 1]
        return self._chunk(starts, np.minimum(ends - starts, rows), {CODES, "flags", *columns})

    def _chunk(self, rows: NDArray[np.int64], counts: NDArray[np.int64], columns: Iterable[str]) -> "Chunk":
        blocks = np.searchsorted(self._starts, rows, side="right") - 1
        strides, offsets = (self._ends - self._starts)[blocks], rows - self._starts[blocks]
        addresses = {name: self._addresses(name, blocks, offsets) for name in columns}
        return Chunk(rows, counts, strides, addresses)

    def _addresses(self, name: str, blocks: NDArray[np.int64], offsets: NDArray[np.int64]) -> Addresses:
        first, size, _ = self._column(name)
        return first[blocks] + (offsets * size).view(np.uint64)

    def _column(self, name: str) -> tuple[Addresses, int, list[Array]]:
        if name not in self._cache.columns:
            arrays = list(self._snapshot.arrays(name))
            addresses = np.array([array.__array_interface__["data"][0] for array in arrays], np.uint64)
            copies = [array for array in arrays if array.base is None]  # of values at odd addresses
            self._cache.columns[name] = addresses, arrays[0].itemsize if arrays else 0, copies
        return self._cache.columns[name]


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
        """Arguments of a kernel; the rows are grouped by a column where one is named."""
        groups = NO_WORDS if group_column is None else self.addresses[group_column]
        return Parts(self.rows, self.counts, self.strides, self.addresses[CODES], self.addresses["flags"], groups)


@kernel
def read(rows: NDArray[np.int64], bounds: NDArray[np.int64], addresses: Addresses, values: Array) -> None:
    """Read one value for each row.

    Parameters
    ----------
    bounds : (blocks + 1,)
        First row of each block, and the end of the last.
    addresses : (blocks,)
        Address of the first value of each block.
    values : (rows,)
        Receives the values; its dtype is that of the column.
    """
    for i in range(rows.size):
        low, high = 0, addresses.size - 1
        while low < high:
            middle = (low + high + 1) // 2
            if bounds[middle] <= rows[i]:
                low = middle
            else:
                high = middle - 1
        offset = rows[i] - bounds[low]
        values[i] = carray(at(addresses[low], values), (offset + 1,))[offset]


def _ends(first_row: int, rows: int, sizes: Iterable[int]) -> list[int]:
    ends, size = [first_row], 1
    remaining = iter(sizes)
    while ends[-1] < rows:
        size = next(remaining, size)
        ends.append(min(ends[-1] + size, rows))
    return ends
