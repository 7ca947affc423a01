"""Compiled loops over codes where they lie.

Inner loops index with unsigned integers: signed ones keep the wrap-around of negative indices, and with it scalar code.
Rows go in strips that fit the first-level cache: a strip whose least distance is above the threshold is done at once.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit
from numba.extending import intrinsic
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])
U: Final = np.uint64
STRIP: Final = 256
FAR: Final = 1024
"""Added to the distance of a row that is not allowed: more than any code length."""
UNSEEN: Final = 65535
"""Distance of a group that no row has reached."""


class Selection(NamedTuple):
    """The nearest so far, changed by each call of `select`.

    A group counts once, with the least distance of its rows. Without groups, each row counts.

    Attributes
    ----------
    k
        How many are wanted.
    keep_ties
        Keep everything at the distance of the k-th, instead of the first in row order.
    threshold, within : (1,) int64
        Greatest distance that may still matter; how many are at most that far.
    counts : (code_length + 1,) int64
        How many are at each distance up to the threshold.
    best : (groups,) uint16
        Least distance of each group, UNSEEN at first.
    """

    k: int
    keep_ties: bool
    threshold: NDArray[np.int64]
    within: NDArray[np.int64]
    counts: NDArray[np.int64]
    best: NDArray[np.uint16]


class Totals(NamedTuple):
    """Sums by group, changed by each call of `total`.

    Attributes
    ----------
    sums, counts : (groups,) int64
        Distances added up, and of how many rows.
    """

    sums: NDArray[np.int64]
    counts: NDArray[np.int64]


def kernel(function: Function) -> Function:
    """Compile without the interpreter lock, and keep the machine code where a cache can be written."""
    try:
        return cast("Function", njit(nogil=True, cache=True)(function))
    except RuntimeError:  # neither the package nor the user's cache folder can be written: compile in each process
        return cast("Function", njit(nogil=True)(function))


def _count_ones(_typing_context: Any, word: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return word(word), generate


count_ones: Any = intrinsic(_count_ones)
"""Number of set bits, as one machine instruction: `vpopcntq` over a vector."""


@kernel
def strip_distances(
    codes: NDArray[np.uint64],
    queries: NDArray[np.uint64],
    allowed: NDArray[np.bool_] | None,
    start: int,
    near: NDArray[np.uint64],
) -> int:
    """Write distances from the nearest query for one strip of rows, and return the least.

    Parameters
    ----------
    codes : (words, rows)
    queries : (queries, words)
    allowed : (rows,) or None
    start
        First row of the strip.
    near : (2 * STRIP,)
        Result in its first half, work space in the second.
    """
    first, n = U(start), U(min(STRIP, codes.shape[1] - start))
    for q in range(queries.shape[0]):
        target = near if q == 0 else near[STRIP:]
        plane, word = codes[0], queries[q, 0]
        for j in range(n):
            target[j] = count_ones(plane[first + U(j)] ^ word)
        for w in range(1, codes.shape[0]):
            plane, word = codes[w], queries[q, w]
            for j in range(n):
                target[j] += count_ones(plane[first + U(j)] ^ word)
        if q > 0:
            for j in range(n):
                near[j] = min(near[j], target[j])
    least = U(FAR)
    for j in range(n):
        if allowed is not None:
            near[j] += U(FAR) * (U(1) - U(allowed[first + U(j)]))
        least = min(least, near[j])
    return np.int64(least)  # type: ignore[return-value]


@kernel
def select(
    codes: NDArray[np.uint64],
    queries: NDArray[np.uint64],
    allowed: NDArray[np.bool_] | None,
    groups: NDArray[np.uint32] | None,
    selection: Selection,
    rows: NDArray[np.int64],
    distances: NDArray[np.uint16],
) -> int:
    """Note the rows of one block that may be among the k nearest, and lower the threshold.

    The threshold falls as soon as enough are counted below it; no heap, and equal distances keep their order.

    Parameters
    ----------
    codes, queries, allowed
        As for `strip_distances`.
    groups : (rows,) or None
    rows, distances : (rows,)
        Filled from the front with rows, counted from the start of the block, and their distances.

    Returns
    -------
    int
        How many rows were noted.
    """
    near = np.empty(2 * STRIP, np.uint64)
    threshold, within, noted = selection.threshold[0], selection.within[0], 0
    for start in range(0, codes.shape[1], STRIP):
        if strip_distances(codes, queries, allowed, start, near) > threshold:
            continue
        for row in range(start, min(start + STRIP, codes.shape[1])):
            distance = np.int64(near[row - start])
            if distance > threshold:
                continue
            counted = False
            if groups is not None:
                group = groups[row]
                counted = selection.best[group] <= threshold
                if counted and distance > selection.best[group]:
                    continue
                if counted:
                    selection.counts[selection.best[group]] -= 1
                selection.best[group] = distance
            selection.counts[distance] += 1
            within += not counted
            rows[noted], distances[noted] = row, distance
            noted += 1
            while threshold >= 0 and within - selection.keep_ties * selection.counts[threshold] >= selection.k:
                within -= selection.counts[threshold]
                threshold -= 1
    selection.threshold[0], selection.within[0] = threshold, within
    return noted


@kernel
def total(
    codes: NDArray[np.uint64],
    queries: NDArray[np.uint64],
    allowed: NDArray[np.bool_] | None,
    groups: NDArray[np.uint32],
    totals: Totals,
    distances: NDArray[np.uint16],
) -> None:
    """Add the distances of one block to the totals of their groups.

    Parameters
    ----------
    distances : (rows,)
        Filled with the distance of each row, UNSEEN where it is not allowed.
    """
    near = np.empty(2 * STRIP, np.uint64)
    for start in range(0, codes.shape[1], STRIP):
        strip_distances(codes, queries, allowed, start, near)
        for row in range(start, min(start + STRIP, codes.shape[1])):
            distance = near[row - start]
            distances[row] = UNSEEN
            if distance < FAR:
                distances[row] = distance
                totals.sums[groups[row]] += np.int64(distance)
                totals.counts[groups[row]] += 1
