"""The second stage over the shortlist: what is kept of images beyond their codes puts them in a new order.

Scores come from whole numbers and ties are broken by UID, so the order is the same every time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashing.codes import CodeLengthError
from hashing.ranking_scores import Outputs, Stage, asymmetric_scores, class_agreement
from storage.database.snapshot import Snapshot
from storage.database.tables import key_bytes
from storage.search.index import Hit


@dataclass(frozen=True, slots=True)
class Ranked:
    """A hit with its score of the second stage.

    Attributes
    ----------
    score
        0 to 1. ASYMMETRIC: 1 for a code that agrees with every bit of a query, 0.5 for one that agrees with half of
        what counts. CLASSES: 1 for an image that has the class scores of a query, 0 for one that shares no class.
    """

    hit: Hit
    score: float


def rerank(snapshot: Snapshot, hits: Sequence[Hit], queries: Outputs, stage: Stage, k: int) -> list[Ranked]:
    """Order hits by the score of their nearest frame, the best k first.

    Parameters
    ----------
    queries
        Of the network; at least as many numbers as a code has bits, and class scores if the stage is CLASSES.
    stage
        ASYMMETRIC or CLASSES.

    Returns
    -------
    list
        In descending score; equal scores in descending asymmetric score, then in ascending (distance, UID).

    Raises
    ------
    CodeLengthError
        Fewer numbers than bits.
    ValueError
        CLASSES without class scores.
    """
    if queries.relaxed.shape[1] < snapshot.code_length:
        raise CodeLengthError(found=queries.relaxed.shape[1], expected=snapshot.code_length)
    rows = snapshot.rows_of((hit.sop_instance_uid, hit.frame) for hit in hits)
    asymmetric = asymmetric_scores(queries.relaxed[:, : snapshot.code_length], snapshot.codes_at(rows)).tolist()
    scores = _agreement(snapshot, rows, queries).tolist() if stage == Stage.CLASSES else asymmetric

    def place(number: int) -> tuple[float, float, float, bytes]:
        return -scores[number], -asymmetric[number], hits[number].distance, key_bytes(hits[number].uid)

    return [Ranked(hits[number], scores[number]) for number in sorted(range(len(hits)), key=place)[:k]]


def _agreement(snapshot: Snapshot, rows: NDArray[np.int64], queries: Outputs) -> NDArray[np.float64]:
    if queries.class_scores is None:
        raise ValueError("no class scores came to order by: use a model that gives them")
    return class_agreement(queries.class_scores, snapshot.class_scores_at(rows, queries.class_scores.shape[1]))
