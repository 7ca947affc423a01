"""What a pass over the rows looks for, and what it finds."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.search.addresses import Chunk
from storage.search.kernels.bitset import Bits
from storage.search.kernels.select import Listing

Rows = NDArray[np.int64]
Distances = NDArray[np.uint16]


class Sieve(Protocol):
    """What tells candidates from other rows."""

    @property
    def columns(self) -> Collection[str]:
        """Those it reads."""
        ...

    @property
    def first(self) -> bool:
        """Whether to ask it before looking at distances: cheaper where candidates are few."""
        ...

    def refine(self, chunk: Chunk, bits: Bits) -> None:
        """Clear the bits of rows that are no candidates."""
        ...

    def refine_listed(self, chunk: Chunk, listing: Listing, listed: int) -> int:
        """Leave only candidates in a list; return how many."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """What a pass over the rows looks for.

    Attributes
    ----------
    queries : (queries, words)
        The distance of a row is that to the nearest.
    k, keep_ties, maximum_distance
        How many; whether all at the distance of the k-th are wanted; bits, inclusive.
    sieve
        Candidates; None for all.
    group_column
        Rows with the same value count once; None where each row counts.
    groups
        One more than the greatest value, or 0 where equal values follow each other.
    """

    queries: Codes
    k: int
    maximum_distance: int
    keep_ties: bool = False
    sieve: Sieve | None = None
    group_column: str | None = None
    groups: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """Rows that an answer may be made of.

    Attributes
    ----------
    rows, distances, groups : (n,)
        Rows ascending; distance from the nearest query; value of the group column, none without one.
    """

    rows: Rows
    distances: Distances
    groups: NDArray[np.uint32]
