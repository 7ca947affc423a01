"""A second stage over the shortlist: the query as real numbers against the codes kept.

A code tells on which side of zero each output of the network lies, and not how far. Of the query we know how far: bits
that it is sure of count more (Gordo et al., Asymmetric distances for binary embeddings, PAMI 2014). So the order within
one Hamming distance says something, and is the same every time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashing.codes import CodeLengthError, Codes, unpack
from storage.search import Hit
from storage.snapshot import Snapshot
from storage.tables import key_bytes

STEPS: Final = 127
"""The query's numbers become whole ones up to this: sums of them do not depend on their order, nor on the machine."""
TIMES, LEAST = 4, 100
"""A shortlist is so many times longer than the answer, and at least so long."""


class Stage(StrEnum):
    """What the order of an answer comes from."""

    HAMMING = "HAMMING"
    ASYMMETRIC = "ASYMMETRIC"


@dataclass(frozen=True, slots=True)
class Ranked:
    """A hit with its score of the second stage.

    Attributes
    ----------
    score
        0 to 1; 1 for a code that agrees with every bit of a query, 0.5 for one that agrees with half of what counts.
    """

    hit: Hit
    score: float


def shortlist_length(k: int) -> int:
    """How many hits the first stage should find, so that the second can choose k."""
    return max(LEAST, TIMES * k)


def rerank(snapshot: Snapshot, hits: Sequence[Hit], relaxed: NDArray[np.number], k: int) -> list[Ranked]:
    """Order hits by the score of their nearest frame, the best k first.

    Parameters
    ----------
    relaxed : (queries, bits)
        Outputs of the network before they became codes, or `in_whole_numbers`; at least as many as a code has bits.

    Returns
    -------
    list
        In descending score; equal scores in ascending (distance, UID).

    Raises
    ------
    CodeLengthError
        Fewer numbers than bits.
    """
    if relaxed.shape[1] < snapshot.code_length:
        raise CodeLengthError(found=relaxed.shape[1], expected=snapshot.code_length)
    codes = snapshot.codes_at(np.array([hit.row for hit in hits], np.int64))
    scores = asymmetric_scores(relaxed[:, : snapshot.code_length], codes).tolist()
    ranked = [Ranked(hit, score) for hit, score in zip(hits, scores, strict=True)]
    return sorted(ranked, key=lambda one: (-one.score, one.hit.distance, key_bytes(one.hit.uid)))[:k]


def asymmetric_scores(relaxed: NDArray[np.number], codes: Codes) -> NDArray[np.float64]:
    """How well codes agree with the nearest query, each bit counted by how sure the query is of it.

    Parameters
    ----------
    relaxed : (queries, code_length)
    codes : (n, words)

    Returns
    -------
    (n,)
        0 to 1: (1 + sum(q b) / sum(|q|)) / 2, with q the query in whole numbers up to 127, and b the bits as -1 and 1.
    """
    whole = in_whole_numbers(relaxed).astype(np.int64)  # (queries, code_length)
    signs = np.where(unpack(codes, relaxed.shape[1]), 1, -1)  # (n, code_length)
    most = np.maximum(np.abs(whole).sum(axis=1, keepdims=True), 1)
    scores: NDArray[np.float64] = ((whole @ signs.T) / most).max(axis=0)
    return (1 + scores) / 2


def in_whole_numbers(relaxed: NDArray[Any]) -> NDArray[np.int8]:
    """Outputs of the network as a score counts them, and as the database keeps them: whole numbers stay as they are.

    Parameters
    ----------
    relaxed : (n, bits)

    Returns
    -------
    (n, bits) int8
        -127 to 127, the greatest of each row 127 in magnitude, unless all are 0.
    """
    exact = relaxed.astype(np.float64)
    greatest = np.abs(exact).max(axis=1, keepdims=True)
    scaled = np.divide(exact, greatest, out=np.zeros_like(exact), where=greatest > 0)
    whole: NDArray[np.int8] = np.rint(scaled * STEPS).astype(np.int8)
    return whole
