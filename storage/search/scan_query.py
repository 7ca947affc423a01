"""The parameters and the result of one scan."""

from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes
from storage.search.filter import Candidates

Rows = NDArray[np.int64]
Distances = NDArray[np.uint16]


class FilterOrder(Enum):
    """When a scan tests the columns of rows, and how it looks at the candidates if it tests columns first."""

    LAST = auto()
    """Columns of near rows only."""
    WORDS = auto()
    """Columns first; then the distances of 64 rows at once wherever one of them is a candidate."""
    ROWS = auto()
    """Columns first; then the distance of each candidate by itself."""


@dataclass(frozen=True, slots=True)
class ScanQuery:
    """What to scan for.

    Attributes
    ----------
    queries : (queries, words)
        The distance of a row is that to the nearest of them.
    k
        How many rows or groups; all that tie with the k-th are wanted too.
    maximum_distance
        In bits, inclusive.
    candidates
        Filter; None where every row is a candidate.
    group_column
        Rows with the same value count once; None where each row counts.
    groups
        One more than the greatest value of that column, or 0 where equal values follow each other.
    """

    queries: Codes
    k: int
    maximum_distance: int
    candidates: Candidates | None = None
    group_column: str | None = None
    groups: int = 0


@dataclass(frozen=True, slots=True)
class ScanResult:
    """Every row of the answer to a query, and others.

    Attributes
    ----------
    rows, distances, groups : (n,)
        Rows ascending; distance from the nearest query; value of the group column, empty without one.
    """

    rows: Rows
    distances: Distances
    groups: NDArray[np.uint32]
