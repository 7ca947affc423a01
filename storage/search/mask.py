"""Candidates of a search given row by row."""

import numpy as np
from numpy.typing import NDArray

from storage.search.addresses import Chunk
from storage.search.kernels.bitset import Bits, Condition, keep
from storage.search.kernels.select import Listing, keep_listed


class Mask:
    """A `storage.search.scan.Sieve` of one boolean for each row of the database."""

    columns: tuple[str, ...] = ()
    first = True

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self._mask = np.ascontiguousarray(mask).view(np.uint8)
        self._set = Condition(np.ones(2, np.uint8), np.empty(0, np.bool_), np.empty(0, np.uint8), True)

    def refine(self, chunk: Chunk, bits: Bits) -> None:
        """Clear the bits of rows that are not set."""
        keep(chunk.counts, self._addresses(chunk), self._set, bits)

    def refine_listed(self, chunk: Chunk, listing: Listing, listed: int) -> int:
        """Leave in a list the rows that are set; return how many."""
        return int(keep_listed(listing, listed, self._addresses(chunk), self._set))

    def _addresses(self, chunk: Chunk) -> NDArray[np.uint64]:
        return np.uint64(self._mask.ctypes.data) + chunk.rows.view(np.uint64)
