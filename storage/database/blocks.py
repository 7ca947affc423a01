"""Codes and columns in row order, cut into blocks that a search reads where they lie.

A row is one code: one frame of one instance. Each column, and the codes, are cut alike: settled rows lie in blocks of
`block_rows`, and the rows after the last multiple of `tail_rows` lie in one small tail, so that an append rewrites
little. A block of a column is one value of LMDB.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import lmdb
import numpy as np
from numpy.typing import DTypeLike, NDArray

from hashing.codes import Codes
from storage.database.columns import COLUMNS, DELETED

Array = NDArray[Any]
CODES = "codes"
TAIL = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Layout:
    """How rows are cut into blocks; fixed when the database is made.

    Attributes
    ----------
    words
        Number of 64-bit words of a code.
    block_rows, tail_rows
        Greatest number of rows of a settled block, and of the tail; the second divides the first.
    """

    words: int
    block_rows: int = 131_072
    tail_rows: int = 4096

    def __post_init__(self) -> None:
        """Refuse a tail that does not divide a block."""
        if self.tail_rows < 1 or self.block_rows % self.tail_rows:
            raise ValueError(f"{self.tail_rows} rows of tail do not divide a block of {self.block_rows}")

    def settled(self, rows: int) -> int:
        """Number of the first `rows` rows that lie in settled blocks."""
        return rows - rows % self.tail_rows

    def bounds(self, rows: int, first: int = 0) -> NDArray[np.int64]:
        """(blocks + 1,) first row of each block, beginning with the block of row `first`, and the end of the last."""
        settled = self.settled(rows)
        starts = np.arange(first, settled, self.block_rows)
        return np.concatenate([starts, [settled] if settled < rows else [], [rows]]).astype(np.int64)

    def extents(self, rows: int) -> Iterator[tuple[int, int, int]]:
        """Yield (number, first row, end row) of each block, the tail last."""
        settled = self.settled(rows)
        for number, start in enumerate(range(0, settled, self.block_rows)):
            yield number, start, min(start + self.block_rows, settled)
        if settled < rows:
            yield TAIL, settled, rows


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows, readable while their transaction is open.

    Attributes
    ----------
    number
        Number in the keys of LMDB; TAIL for the tail.
    start, rows
        First row, and number of rows.
    table
        The rows that the block is part of.
    """

    number: int
    start: int
    rows: int
    table: "Rows"

    @property
    def codes(self) -> Codes:
        """(words, rows) uint64: word by word, so that the kernel reads each plane in order."""
        return self.table.read(CODES, self.number)

    def column(self, name: str) -> Array:
        """(rows,) values of a column."""
        values: Array = self.table.read(name, self.number)[0]
        return values

    def live(self) -> NDArray[np.bool_] | None:
        """(rows,) True where a row is not deleted; None if no row is deleted."""
        deleted = (self.column("flags") & DELETED) != 0
        return ~deleted if deleted.any() else None

    def undated_studies(self) -> Array:
        """Ordinals, ascending, of the studies that have an image without a valid Study Date in these rows."""
        undated = np.flatnonzero(self.column("study_date") <= 0)
        return np.unique(self.column("study")[undated[self.column("flags")[undated] & DELETED == 0]])


class Rows:
    """All rows, seen through one transaction.

    Parameters
    ----------
    transaction
        Opened with `buffers=True`.
    handle
        LMDB table of the blocks.
    count
        Number of rows, with those marked deleted.
    """

    def __init__(self, transaction: lmdb.Transaction, handle: Any, layout: Layout, count: int) -> None:
        self._transaction, self._handle = transaction, handle
        self.layout, self.count = layout, count

    def blocks(self) -> Iterator[Block]:
        """Yield every block, in row order."""
        for number, start, end in self.layout.extents(self.count):
            yield Block(number, start, end - start, self)

    def block_at(self, row: int) -> Block:
        """Block that holds a row."""
        settled, size = self.layout.settled(self.count), self.layout.block_rows
        if row >= settled:
            return Block(TAIL, settled, self.count - settled, self)
        start = row - row % size
        return Block(row // size, start, min(start + size, settled) - start, self)

    def read(self, name: str, number: int) -> Array:
        """(width, rows) values of a column in one block, read-only and where they lie.

        The width is that of a code for codes, else 1. A small block may lie at an odd address; it is copied, because
        the kernels read aligned words.
        """
        value = self._transaction.get(_key(name, number), db=self._handle)
        if value is None:
            return np.empty((self._width(name), 0), _dtype(name))
        return _aligned(value, _dtype(name)).reshape(self._width(name), -1)

    def arrays(self, name: str) -> Iterator[Array]:
        """Yield what `read` gives for each block in row order, flat, in one walk over the table."""
        cursor, blocks = self._transaction.cursor(db=self._handle), sum(1 for _ in self.blocks())
        if cursor.set_range(_key(name, 0)):
            for value in islice(cursor.iternext(keys=False), blocks):
                yield _aligned(value, _dtype(name))

    def gather(self, name: str, rows: NDArray[np.int64]) -> Array:
        """(width, len(rows)) copy of the values of a column at some rows, in any order."""
        values = np.empty((self._width(name), rows.size), _dtype(name))
        for block, here in self._blocks_of(rows):
            values[:, here] = self.read(name, block.number)[:, rows[here] - block.start]
        return values

    def append(self, columns: Mapping[str, Array]) -> None:
        """Add n rows, given as a (width, n) array for each column and for the codes."""
        added = columns[CODES].shape[1]
        for name, values in columns.items():
            self._append(name, np.asarray(values, _dtype(name)).reshape(self._width(name), added))
        self.count += added

    def fill(self, name: str, values: Callable[[Block], Array]) -> None:
        """Write a column that the database does not have yet; `values` gives the (rows,) values of a block."""
        for block in self.blocks():
            self._put(name, block.number, np.asarray(values(block), _dtype(name)))

    def write(self, name: str, rows: NDArray[np.int64], values: Array) -> None:
        """Overwrite a column at some rows with (len(rows),) or (width, len(rows)) values."""
        for block, here in self._blocks_of(rows):
            changed = self.read(name, block.number).copy()
            changed[:, rows[here] - block.start] = values[..., here]
            self._put(name, block.number, changed)

    def truncate(self, count: int) -> None:
        """Delete all rows from row `count` on."""
        settled = self.layout.settled(count)
        old, new = ({number: end - start for number, start, end in self.layout.extents(n)} for n in (self.count, count))
        for name in (CODES, *COLUMNS):
            tail = self.gather(name, np.arange(settled, count))
            for number in old.keys() - new.keys():
                self._transaction.delete(_key(name, number), db=self._handle)
            for number in (new.keys() & old.keys()) - {TAIL}:
                if new[number] < old[number]:
                    self._put(name, number, self.read(name, number)[:, : new[number]])
            if TAIL in new:
                self._put(name, TAIL, tail)
        self.count = count

    def _append(self, name: str, values: Array) -> None:
        """Write the tail and the blocks that some added values of a column change."""
        settled = self.layout.settled(self.count)
        rest = np.concatenate([self.read(name, TAIL), values], axis=1)  # rows from `settled` on
        for number, start, end in self.layout.extents(self.count + values.shape[1]):
            if number == TAIL:
                self._put(name, TAIL, rest[:, start - settled :])
            elif end > settled:
                fresh = rest[:, max(start - settled, 0) : end - settled]
                stored = self.read(name, number) if start < settled else fresh[:, :0]
                self._put(name, number, np.concatenate([stored, fresh], axis=1))
        if self.layout.settled(self.count + values.shape[1]) == self.count + values.shape[1]:
            self._transaction.delete(_key(name, TAIL), db=self._handle)

    def _put(self, name: str, number: int, values: Array) -> None:
        self._transaction.put(_key(name, number), values.tobytes(), db=self._handle)

    def _blocks_of(self, rows: NDArray[np.int64]) -> Iterator[tuple[Block, NDArray[np.int64]]]:
        """Yield each block that holds any of the rows, and the indices in `rows` of those that it holds."""
        extents = list(self.layout.extents(self.count))
        blocks = np.searchsorted([start for _, start, _ in extents], rows, side="right") - 1
        order = np.argsort(blocks, kind="stable")
        held, first = np.unique(blocks[order], return_index=True)
        for block, here in zip(held.tolist(), np.split(order, first[1:]), strict=False):
            number, start, end = extents[block]
            yield Block(number, start, end - start, self), here

    def _width(self, name: str) -> int:
        return self.layout.words if name == CODES else 1


def _aligned(value: bytes | memoryview, dtype: DTypeLike) -> Array:
    flat = np.require(np.frombuffer(value, dtype), requirements="A")
    flat.flags.writeable = False
    return flat


def _dtype(name: str) -> DTypeLike:
    return np.uint64 if name == CODES else COLUMNS[name]


def _key(name: str, number: int) -> bytes:
    return f"{name}/{number:08x}".encode()
