"""Where the rows of one snapshot lie, as addresses that compiled loops read."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar, cast

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.database.blocks import CODES, Array, Rows
from storage.database.columns import COLUMNS
from storage.jit import NO_WORDS, at, kernel
from storage.search.kernels.state import Parts

Addresses = NDArray[np.uint64]
Kept = TypeVar("Kept")


@dataclass(slots=True)
class State:
    """What is known of one state of the database, to be added to.

    Attributes
    ----------
    transaction
        Number that LMDB gives to every transaction that reads it.
    bounds
        First row of each block, and the end of the last; empty until they are asked for.
    columns
        Of each block of a column the address, and of each value the bytes; with what must be kept at its address.
    kept
        What else was made of it: chunks and samples as they were asked for before.
    """

    transaction: int
    bounds: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    columns: dict[str, tuple[Addresses, int, list[Array]]] = field(default_factory=dict)
    kept: dict[Hashable, object] = field(default_factory=dict)


class Known:
    """The latest state that was read: each snapshot of the same state has the same addresses."""

    def __init__(self) -> None:
        self._latest = State(0)

    def of(self, transaction: int) -> State:
        """State that a transaction of this number reads."""
        latest = self._latest
        if latest.transaction != transaction:
            self._latest = latest = State(transaction)
        return latest


class Places:
    """Blocks of a snapshot by address; they end with it.

    Attributes
    ----------
    rows
        How many there are.
    """

    def __init__(self, table: Rows, known: State) -> None:
        self._table, self.rows, self._known = table, table.count, known
        if not known.bounds.size:
            known.bounds = table.layout.bounds(table.count)
        self._starts, self._ends = known.bounds[:-1], known.bounds[1:]

    def cut(self, sizes: Sequence[int], columns: Iterable[str], first_row: int = 0) -> list["Chunk"]:
        """All rows from `first_row` on, in chunks of the sizes given, the last size again and again.

        Parameters
        ----------
        columns
            Those that will be read beside codes and flags.
        """
        asked = (*sizes, frozenset(columns), first_row)
        return self.remember(asked, lambda: self._cut(sizes, columns, first_row))

    def _cut(self, sizes: Sequence[int], columns: Iterable[str], first_row: int) -> list["Chunk"]:
        ends = _ends(first_row, self.rows, sizes)
        cuts = np.unique(np.concatenate([ends, self._starts[self._starts > first_row]]))
        whole = self._chunk(cuts[:-1], np.diff(cuts), {CODES, "flags", *columns})
        bounds = np.searchsorted(whole.rows, ends).tolist()
        return [whole.parts_from(*bound) for bound in pairwise(bounds)]

    def sample(self, pieces: int, rows: int, columns: Iterable[str]) -> "Chunk":
        """Some rows in as many pieces, spread evenly: fewer where a block ends."""
        asked = (pieces, rows, frozenset(columns), "sample")
        return self.remember(asked, lambda: self._sample(pieces, rows, columns))

    def each(self, rows: NDArray[np.int64], columns: Iterable[str]) -> "Chunk":
        """Some rows, each in a part of its own, with these columns only."""
        return self._chunk(rows, np.ones(rows.size, np.int64), columns)

    def values(self, name: str, rows: NDArray[np.int64]) -> Array:
        """(rows,) values of a column at some rows."""
        first, _, _ = self._column(name)
        values = np.empty(rows.size, COLUMNS[name])
        read(rows, self._known.bounds, first, values)
        return values

    def remember(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """What was made of this state before, by the same key; or made now."""
        kept = self._known.kept
        if key not in kept:
            kept[key] = make()
        return cast("Kept", kept[key])

    def _sample(self, pieces: int, rows: int, columns: Iterable[str]) -> "Chunk":
        starts = np.unique(np.linspace(0, max(0, self.rows - rows), min(pieces, self.rows), dtype=np.int64))
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
        if name not in self._known.columns:
            arrays = list(self._table.arrays(name))
            found = np.array([array.__array_interface__["data"][0] for array in arrays], np.uint64)
            kept = [array for array in arrays if array.base is None]  # copies must stay where they are
            self._known.columns[name] = found, arrays[0].itemsize if arrays else 0, kept
        return self._known.columns[name]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows that one call goes over, in parts that each lie in one block.

    Attributes
    ----------
    rows, counts, strides : (parts,) int64
        First row of each part, how many, and the rows of its block.
    addresses
        (parts,) by column: where the first value of each part lies.
    """

    rows: NDArray[np.int64]
    counts: NDArray[np.int64]
    strides: NDArray[np.int64]
    addresses: dict[str, Addresses] = field(repr=False)

    def parts_from(self, start: int, end: int) -> "Chunk":
        """Some of its parts."""
        addresses = {name: found[start:end] for name, found in self.addresses.items()}
        return Chunk(self.rows[start:end], self.counts[start:end], self.strides[start:end], addresses)

    def parts(self, group_column: str | None = None) -> Parts:
        """As the kernels take them."""
        groups = NO_WORDS if group_column is None else self.addresses[group_column]
        return Parts(self.rows, self.counts, self.strides, self.addresses[CODES], self.addresses["flags"], groups)


@kernel
def read(rows: NDArray[np.int64], bounds: NDArray[np.int64], addresses: Addresses, values: Array) -> None:
    """Read the value of each row, given the first row of each block, and where its first value lies."""
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
