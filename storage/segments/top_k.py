"""The nearest rows found so far, one by one: the threshold falls while enough are nearer."""

from typing import Final, NamedTuple

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from storage.jit import NO_WORDS, U, at, count_ones, inlined, kernel

STRIP: Final = 64
"""Rows looked at together."""
ABANDONED: Final = -1
THRESHOLD, WITHIN, NOTED, BUCKETS, ROWS = range(5)


class Findings(NamedTuple):
    """The k nearest so far and all that tie with the k-th, changed by each call of `storage.segments.probe.probe`.

    Attributes
    ----------
    k
        How many are wanted.
    state : (5,) int64
        THRESHOLD, the greatest distance that may still matter; how many rows are WITHIN it; how many are NOTED; how
        many BUCKETS and ROWS were looked at.
    counts : (code_length + 1,) int64
        How many are at each distance up to the threshold.
    rows, distances : (capacity,)
        Noted rows, from the front; some may be beyond the threshold by now.
    """

    k: int
    state: NDArray[np.int64]
    counts: NDArray[np.int64]
    rows: NDArray[np.int64]
    distances: NDArray[np.uint16]


@kernel
def look_at_all(
    addresses: NDArray[np.uint64],
    first_rows: NDArray[np.int64],
    counts: NDArray[np.int64],
    code: NDArray[np.uint64],
    findings: Findings,
) -> int:
    """Add the rows of some blocks to the findings, one by one; ABANDONED when too many were noted, else 0.

    Parameters
    ----------
    addresses, first_rows, counts : (blocks,)
        Where the codes of each lie, plane by plane; its first row, and how many.
    """
    for b in range(addresses.size):
        n, stride = U(counts[b]), U(counts[b])
        words = carray(at(addresses[b], NO_WORDS), (counts[b] * code.size,))
        for start in range(U(0), n, U(STRIP)):
            end, limit = min(U(start) + U(STRIP), n), findings.state[THRESHOLD]
            if code.size == 1 and not _is_near(words, U(start), end, code[0], limit):
                continue
            for row in range(U(start), end):
                distance = np.int64(0)
                for w in range(U(code.size)):
                    distance += np.int64(count_ones(words[w * stride + row] ^ code[w]))
                if distance <= limit:
                    if findings.state[NOTED] == findings.rows.size:
                        return ABANDONED
                    limit = note(findings, first_rows[b] + np.int64(row), distance)
    return 0


@inlined
def _is_near(words: NDArray[np.uint64], start: np.uint64, end: np.uint64, code: np.uint64, limit: np.int64) -> bool:
    """Whether any of some rows is within the limit: a negative number leaves its sign in what is joined."""
    signs, n = np.int64(0), end - start
    for j in range(n):
        signs |= np.int64(count_ones(words[start + j] ^ code)) - limit - np.int64(1)
    return bool(signs < 0)


@inlined
def note(findings: Findings, row: np.int64, distance: np.int64) -> np.int64:
    """Note a row, and lower the threshold while enough are nearer; return it."""
    state, counts = findings.state, findings.counts
    findings.rows[state[NOTED]], findings.distances[state[NOTED]] = row, distance
    state[NOTED] += 1
    counts[distance] += 1
    threshold, within = state[THRESHOLD], state[WITHIN] + 1
    while threshold >= 0 and within - counts[threshold] >= findings.k:
        within -= counts[threshold]
        threshold -= 1
    state[THRESHOLD], state[WITHIN] = threshold, within
    return threshold  # type: ignore[no-any-return]
