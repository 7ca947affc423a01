"""Passes over every row, block by block, where the codes lie."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashing.codes import WORD_BITS, CodeLengthError, Codes, words
from storage.columns import DELETED, LEVEL_COLUMN
from storage.kernels import UNSEEN, Selection, Totals, select, total
from storage.record import Level
from storage.rows import Block
from storage.snapshot import Snapshot

Rows = NDArray[np.int64]
Distances = NDArray[np.uint16]
Mask = Callable[[Block], NDArray[np.bool_] | None]
"""Which rows of a block are candidates; None for all."""

NO_GROUPS: Final = np.empty(0, np.uint16)


@dataclass(frozen=True, slots=True)
class Near:
    """Rows that an answer may be made of.

    Attributes
    ----------
    rows, distances, groups : (n,)
        Rows ascending; distance from the nearest query; ordinal of the entity each row belongs to.
    """

    rows: Rows
    distances: Distances
    groups: NDArray[np.uint32]


def nearest(
    snapshot: Snapshot, queries: Codes, k: int, mask: NDArray[np.bool_] | None = None
) -> tuple[Rows, Distances]:
    """Find the k rows nearest to any of the queries.

    Parameters
    ----------
    queries : (queries, words)
    mask : (rows,) or None
        Rows to consider; deleted ones never are.

    Returns
    -------
    rows, distances : (min(k, candidates),)
        In ascending (distance, row).
    """
    check_question(snapshot, queries, k)

    def allowed(block: Block) -> NDArray[np.bool_] | None:
        here = live(block)
        if mask is None:
            return here
        given = mask[block.start : block.start + block.rows]
        return given if here is None else given & here

    selection = _selection(snapshot, k, NO_GROUPS, snapshot.code_length, keep_ties=False)
    rows, distances = _select(snapshot, queries, selection, allowed, None)
    first = np.argsort(distances, kind="stable")[:k]
    return rows[first], distances[first]


def nearest_groups(snapshot: Snapshot, queries: Codes, k: int, level: Level, mask: Mask, maximum_distance: int) -> Near:
    """Find the k entities whose best row is nearest, and all that tie with the last of them.

    Returns
    -------
    Near
        Every best row of each such entity.
    """
    best = np.full(snapshot.ordinal_bound(level), UNSEEN, np.uint16)
    selection = _selection(snapshot, k, best, maximum_distance, keep_ties=True)
    rows, distances = _select(snapshot, queries, selection, mask, LEVEL_COLUMN[level])
    groups = snapshot.gather(LEVEL_COLUMN[level], rows)
    kept = (distances <= selection.threshold[0]) & (distances == best[groups])
    return Near(rows[kept], distances[kept], groups[kept])


def mean_groups(snapshot: Snapshot, queries: Codes, level: Level, mask: Mask) -> tuple[NDArray[np.float64], Distances]:
    """Average the distance over the candidate rows of each entity.

    Returns
    -------
    means : (ordinals,)
        By ordinal, NaN where an entity has no candidate row.
    distances : (rows,)
        Of every row, UNSEEN where it is no candidate.
    """
    bound = snapshot.ordinal_bound(level)
    totals = Totals(np.zeros(bound, np.int64), np.zeros(bound, np.int64))
    distances = np.full(snapshot.rows, UNSEEN, np.uint16)
    for block in snapshot.blocks():
        here = distances[block.start : block.start + block.rows]
        total(block.codes, queries, mask(block), block.column(LEVEL_COLUMN[level]), totals, here)
    means = np.full(bound, np.nan)
    np.divide(totals.sums, totals.counts, out=means, where=totals.counts > 0)
    return means, distances


def check_question(snapshot: Snapshot, queries: Codes, k: int) -> None:
    """Refuse what cannot be searched for.

    Raises
    ------
    CodeLengthError, ValueError
    """
    if queries.ndim != 2 or queries.shape[1] != words(snapshot.code_length):
        raise CodeLengthError(found=queries.shape[-1] * WORD_BITS, expected=snapshot.code_length)
    if not len(queries):
        raise ValueError("no query code came; a search needs at least one")
    if k < 1:
        raise ValueError(f"the {k} nearest were asked for; ask for at least one")


def live(block: Block) -> NDArray[np.bool_] | None:
    """Rows that are not deleted, None when all are not."""
    deleted = (block.column("flags") & DELETED) != 0
    return ~deleted if deleted.any() else None


def _select(
    snapshot: Snapshot, queries: Codes, selection: Selection, mask: Mask, column: str | None
) -> tuple[Rows, Distances]:
    found_rows, found_distances = [np.empty(0, np.int64)], [np.empty(0, np.uint16)]
    for block in snapshot.blocks():
        allowed = mask(block)
        if allowed is not None and not allowed.any():
            continue
        rows, distances = np.empty(block.rows, np.int64), np.empty(block.rows, np.uint16)
        groups = None if column is None else block.column(column)
        noted = select(block.codes, queries, allowed, groups, selection, rows, distances)
        found_rows.append(rows[:noted] + block.start)
        found_distances.append(distances[:noted].copy())
    return np.concatenate(found_rows), np.concatenate(found_distances)


def _selection(snapshot: Snapshot, k: int, best: Distances, maximum_distance: int, *, keep_ties: bool) -> Selection:
    threshold = min(maximum_distance, snapshot.code_length)
    counts = np.zeros(snapshot.code_length + 1, np.int64)
    return Selection(k, keep_ties, np.array([threshold]), np.zeros(1, np.int64), counts, best)
