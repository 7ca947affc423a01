"""Stages of a ranking: a shortlist by Hamming distance, and scores that may order it anew.

A code says on which side of zero each output of the network lies, and not how far from it. For the query both are
known, so that bits with a large output can count more (Gordo et al., Asymmetric distances for binary embeddings, PAMI
2014). Where the outputs of stored images are kept, too, both sides can be compared without loss. A model may also give
class scores: two images agree as far as their distributions over the classes overlap (Bhattacharyya, Bull. Calcutta
Math. Soc. 1943). Each score also orders images of equal Hamming distance.

All scores are computed from integers of one byte: they are the same on every machine, and small enough to store.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from hashing.codes import Codes, unpack

MAX_OUTPUT: Final = 127
"""Greatest magnitude of an output as an integer: sums of integers do not depend on their order."""
MAX_CLASS_ROOT: Final = 255
"""Greatest square root of a class score as an integer."""
SHORTLIST_FACTOR, MIN_SHORTLIST = 4, 100
"""A shortlist is `SHORTLIST_FACTOR` times as long as the answer, and at least `MIN_SHORTLIST` long."""


class Ranking(StrEnum):
    """What the order of look-alikes comes from.

    HAMMING: distance, and of equal ones the asymmetric score. ASYMMETRIC: the asymmetric score. OUTPUTS: the agreement
    of outputs, CLASSES: that of class scores, and of equal ones the asymmetric score.
    """

    HAMMING = "HAMMING"
    ASYMMETRIC = "ASYMMETRIC"
    OUTPUTS = "OUTPUTS"
    CLASSES = "CLASSES"


@dataclass(frozen=True, slots=True)
class Outputs:
    """Outputs of the network for some images, as the database stores them beside the codes.

    Attributes
    ----------
    relaxed : (n, at least code_length)
        Relaxed codes, as `in_whole_numbers` makes them.
    class_scores : (n, n_classes) or None
        Class scores, as `in_eight_bits` makes them; None for a model without classes.
    """

    relaxed: NDArray[np.int8]
    class_scores: NDArray[np.uint8] | None = None

    @classmethod
    def joined(cls, parts: Sequence["Outputs"]) -> Self:
        """Outputs of all images of several parts, in order; class scores only if each part has them."""
        scores = [part.class_scores for part in parts if part.class_scores is not None]
        relaxed = np.concatenate([part.relaxed for part in parts])
        return cls(relaxed, np.concatenate(scores) if len(scores) == len(parts) else None)

    def __getitem__(self, rows: slice | list[int]) -> "Outputs":
        """Outputs of some images."""
        return Outputs(self.relaxed[rows], None if self.class_scores is None else self.class_scores[rows])

    @property
    def rankings(self) -> tuple[Ranking, ...]:
        """The rankings that they suffice for, as queries."""
        return tuple(stage for stage in Ranking if stage != Ranking.CLASSES or self.class_scores is not None)


def shortlist_length(k: int) -> int:
    """Number of hits that the first stage returns, so that the second can choose k of them."""
    return max(MIN_SHORTLIST, SHORTLIST_FACTOR * k)


def asymmetric_scores(relaxed: NDArray[np.number], codes: Codes) -> NDArray[np.float64]:
    """How well codes agree with the nearest query, where each bit weighs the magnitude of the query's output.

    Parameters
    ----------
    relaxed : (queries, code_length)
        Relaxed codes of the queries.
    codes : (n, words)

    Returns
    -------
    (n,)
        0 to 1: (1 + sum(q b) / sum(|q|)) / 2, with q the query in integers up to 127, and b the bits as -1 and 1.
    """
    whole = in_whole_numbers(relaxed).astype(np.int64)  # (queries, code_length)
    signs = np.where(unpack(codes, relaxed.shape[1]), 1, -1)  # (n, code_length)
    total = np.maximum(np.abs(whole).sum(axis=1, keepdims=True), 1)
    scores: NDArray[np.float64] = ((whole @ signs.T) / total).max(axis=0)
    return (1 + scores) / 2


def output_agreement(queries: NDArray[np.int8], stored: NDArray[np.int8]) -> NDArray[np.float64]:
    """Agreement of the network's outputs for images with those for the nearest query.

    Parameters
    ----------
    queries, stored : (queries, bits), (n, bits)
        Relaxed codes, as `in_whole_numbers` makes them; a row of zeros belongs to an image without stored outputs.

    Returns
    -------
    (n,)
        0 to 1: (1 + c) / 2, with c the cosine of both; 0 for a row of zeros.
    """
    return np.where(stored.any(axis=1), (1 + _greatest_cosines(queries, stored)) / 2, 0.0)


def class_agreement(queries: NDArray[np.uint8], stored: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Overlap of class distributions with that of the nearest query.

    Parameters
    ----------
    queries, stored : (queries, n_classes), (n, n_classes)
        Class scores, as `in_eight_bits` makes them; a row of zeros belongs to an image without stored scores.

    Returns
    -------
    (n,)
        0 to 1: the Bhattacharyya coefficient sum(sqrt(p q)) of distributions p and q, which is the cosine of their
        roots; 0 for a row of zeros.
    """
    return _greatest_cosines(queries, stored)


def _greatest_cosines(queries: NDArray[Any], stored: NDArray[Any]) -> NDArray[np.float64]:
    """(n,) cosine of each stored row and the query nearest to it; 0 for a row of zeros."""
    whole, others = queries.astype(np.int64), stored.astype(np.int64)
    squares = (whole**2).sum(axis=1)[:, None] * (others**2).sum(axis=1)[None]  # below 2^53: exact as float, too
    cosines: NDArray[np.float64] = ((whole @ others.T) / np.sqrt(np.maximum(squares, 1))).max(axis=0)
    return cosines


def in_whole_numbers(relaxed: NDArray[Any]) -> NDArray[np.int8]:
    """Relaxed codes as integers of one byte, in which scores are computed and the database stores them.

    Rows that are such integers already stay as they are.

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
    whole: NDArray[np.int8] = np.rint(scaled * MAX_OUTPUT).astype(np.int8)
    return whole


def in_eight_bits(class_scores: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Square roots of class scores in one byte, in which they are compared and the database stores them.

    The root lets small scores count.

    Parameters
    ----------
    class_scores : (n, n_classes)
        0 to 1; each row sums to one.

    Returns
    -------
    (n, n_classes) uint8
        round(255 sqrt(p)).
    """
    roots: NDArray[np.uint8] = np.rint(MAX_CLASS_ROOT * np.sqrt(class_scores.astype(np.float64))).astype(np.uint8)
    return roots
