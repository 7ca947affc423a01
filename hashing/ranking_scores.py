"""Stages of a ranking: a shortlist by Hamming distance, and what may order it anew.

A code tells on which side of zero each output of the network lies, and not how far. Of the query we know how far: bits
that it is sure of count more (Gordo et al., Asymmetric distances for binary embeddings, PAMI 2014). A model may also
say what it takes an image for: then two images agree as far as their distributions over its classes overlap
(Bhattacharyya, Bull. Calcutta Math. Soc. 1943). Either way, the order within one Hamming distance says something.

Both scores come from whole numbers, one byte each: the same on every machine, and small enough to be kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes, unpack

STEPS: Final = 127
"""Outputs behind a code become whole numbers up to this: sums of them do not depend on their order."""
MOST: Final = 255
"""Roots of class scores become whole numbers up to this."""
TIMES, LEAST = 4, 100
"""A shortlist is so many times longer than the answer, and at least so long."""


class Ranking(StrEnum):
    """What the order of look-alikes comes from.

    HAMMING: distance, and of equal ones the asymmetric score. ASYMMETRIC: the asymmetric score. CLASSES: the agreement
    of class scores, and of equal ones the asymmetric score.
    """

    HAMMING = "HAMMING"
    ASYMMETRIC = "ASYMMETRIC"
    CLASSES = "CLASSES"


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is kept of images beyond their codes.

    Attributes
    ----------
    relaxed : (n, at least code_length)
        Outputs of the network that the codes are the signs of, as `in_whole_numbers` makes them.
    class_scores : (n, n_classes) or None
        As `in_eight_bits` makes them; None of a model that gives none.
    """

    relaxed: NDArray[np.int8]
    class_scores: NDArray[np.uint8] | None = None

    @classmethod
    def joined(cls, parts: Sequence["Outputs"]) -> Self:
        """Outputs of several parts one after the other; class scores only if each part has them."""
        scores = [part.class_scores for part in parts if part.class_scores is not None]
        relaxed = np.concatenate([part.relaxed for part in parts])
        return cls(relaxed, np.concatenate(scores) if len(scores) == len(parts) else None)

    def __getitem__(self, places: slice | list[int]) -> "Outputs":
        """Those of some images."""
        return Outputs(self.relaxed[places], None if self.class_scores is None else self.class_scores[places])

    @property
    def rankings(self) -> tuple[Ranking, ...]:
        """The rankings that they suffice for, as queries."""
        return tuple(Ranking) if self.class_scores is not None else (Ranking.HAMMING, Ranking.ASYMMETRIC)


def shortlist_length(k: int) -> int:
    """How many hits the first stage should find, so that the second can choose k."""
    return max(LEAST, TIMES * k)


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


def class_agreement(queries: NDArray[np.uint8], stored: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How far class distributions overlap with that of the nearest query.

    Parameters
    ----------
    queries, stored : (queries, n_classes), (n, n_classes)
        As `in_eight_bits` makes them; a row of zeros is of an image that nothing was kept of.

    Returns
    -------
    (n,)
        0 to 1: the Bhattacharyya coefficient sum(sqrt(p q)) of distributions p and q, which is the cosine of their
        roots; 0 for a row of zeros.
    """
    whole, others = queries.astype(np.int64), stored.astype(np.int64)
    squares = (whole**2).sum(axis=1)[:, None] * (others**2).sum(axis=1)[None]  # below 2^53: exact as float, too
    cosines: NDArray[np.float64] = ((whole @ others.T) / np.sqrt(np.maximum(squares, 1))).max(axis=0)
    return cosines


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


def in_eight_bits(class_scores: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Class scores as they are compared, and as the database keeps them: their roots, so that small ones count.

    Parameters
    ----------
    class_scores : (n, n_classes)
        0 to 1; each row sums to one.

    Returns
    -------
    (n, n_classes) uint8
        round(255 sqrt(p)).
    """
    roots: NDArray[np.uint8] = np.rint(MOST * np.sqrt(class_scores.astype(np.float64))).astype(np.uint8)
    return roots
