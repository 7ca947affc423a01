"""Codes laid out as blocks, for tests of what reads them by address."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.search.kernels.distance import Parts
from storage.segments.top_k import TopK, new_top_k


class Laid:
    """Rows in memory of their own: planes of codes, flags and groups, block by block.

    Parameters
    ----------
    stored : (rows, words)
    sizes
        Rows of each block; together all.
    """

    def __init__(
        self,
        stored: Codes,
        sizes: Sequence[int],
        deleted: NDArray[np.bool_] | None = None,
        groups: NDArray[np.uint32] | None = None,
    ) -> None:
        ends = np.cumsum(sizes).tolist()
        self.slices = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
        flags = np.zeros(len(stored), np.uint8) if deleted is None else deleted.astype(np.uint8)
        self.codes = [np.ascontiguousarray(stored[here].T) for here in self.slices]
        self.flags = [flags[here].copy() for here in self.slices]
        self.groups = [] if groups is None else [groups[here].copy() for here in self.slices]

    def parts(self, first: int = 0, last: int | None = None) -> Parts:
        """Blocks from `first` to before `last`, whole."""
        here = slice(first, last)
        rows = np.array([each.start for each in self.slices[here]], np.int64)
        counts = np.array([each.stop - each.start for each in self.slices[here]], np.int64)
        return Parts(
            rows, counts, counts, addresses(self.codes[here]), addresses(self.flags[here]), addresses(self.groups[here])
        )


def addresses(arrays: Sequence[NDArray[np.generic]]) -> NDArray[np.uint64]:
    return np.array([array.ctypes.data for array in arrays], np.uint64)


def packed_bits(allowed: NDArray[np.bool_], counts: Sequence[int]) -> NDArray[np.uint64]:
    """Bits as the kernels take them: each part begins with a word of its own."""
    words = []
    for part in np.split(allowed, np.cumsum(counts)[:-1]):
        padded = np.zeros(-(-len(part) // 64) * 64, np.bool_)
        padded[: len(part)] = part
        words.append(np.packbits(padded, bitorder="little").view(np.uint64))
    return np.concatenate(words) if words else np.empty(0, np.uint64)


def nearest(k: int, code_length: int, groups: int = 0) -> TopK:
    return new_top_k(k, code_length, code_length, groups)
