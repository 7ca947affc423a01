"""The order of hits: by Hamming distance or by a second score, and of equal hits by the outputs for the query.

Scores come from whole numbers, and hits that nothing tells apart are ordered by UID, so the order is the same every
time.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashing.codes import CodeLengthError
from hashing.ranking_scores import Outputs, Ranking, asymmetric_scores, class_agreement, shortlist_length
from storage.database.snapshot import Snapshot
from storage.database.tables import key_bytes
from storage.search.index import Hit, Hits

MAX_TIES: Final = 1024
"""Hits up to the distance of the k-th among which the outputs for the query choose."""


def shortlist(
    search: Callable[..., Hits], k: int, queries: Outputs | None, ranking: Ranking, *, count: bool = True
) -> Hits:
    """Find the hits that `rerank` is to choose k from.

    For HAMMING these are all hits that may be among the first k by (distance, asymmetric score). Where they are more
    than the list holds, it is made anew with room for `MAX_TIES`; of more hits than that, the first by (distance, UID)
    are in it. For other rankings the list is the nearest `hashing.ranking_scores.shortlist_length(k)`.

    Parameters
    ----------
    search
        Finds hits as `storage.search.index.IndexView.search` does, with `k` and `count` to be given.
    queries
        As for `rerank`; without them the first k hits are enough.
    count
        True to count the candidates.
    """
    lengths = [k] if queries is None else [shortlist_length(k)]
    if queries is not None and ranking == Ranking.HAMMING:
        lengths.append(max(MAX_TIES, 2 * k))
    found = search(k=lengths[0], count=count)
    for shorter, length in pairwise(lengths):
        if len(found.hits) == shorter and found.hits[-1].distance == found.hits[k - 1].distance:
            found = Hits(search(k=length, count=False).hits, found.candidates)
    return found


def rerank(
    snapshot: Snapshot, hits: Sequence[Hit], queries: Outputs | None, ranking: Ranking, k: int
) -> list[tuple[int, Hit, float]]:
    """Put hits in order and return the first k.

    Parameters
    ----------
    queries
        Outputs of the network for the queries; at least as many numbers as a code has bits, and class scores for
        CLASSES. None only for HAMMING.
    ranking
        HAMMING: ascending distance. ASYMMETRIC, CLASSES: descending score of the nearest frame. Equals are in
        descending asymmetric score, then in ascending (distance, UID).

    Returns
    -------
    list of (rank, hit, score)
        Ranks count from 1; hits that differ in their UID alone share a rank, and the next rank counts them all
        (1, 2, 2, 4). The score is 0 to 1. ASYMMETRIC and HAMMING: 1 for a code that agrees with every bit of a query,
        0.5 for a code that agrees with half of what counts, and 0 for each without `queries`. CLASSES: 1 for an image
        with the class scores of a query, 0 for an image that shares no class.

    Raises
    ------
    CodeLengthError
        Fewer numbers than bits.
    ValueError
        ASYMMETRIC or CLASSES without what they score by.
    """
    scores, asymmetric = _scores(snapshot, hits, queries, ranking)
    distances = [hit.distance for hit in hits]
    by = {Ranking.HAMMING: distances}.get(ranking, [-score for score in scores])
    keys = list(zip(by, [-score for score in asymmetric], distances, strict=True))
    order = sorted(range(len(hits)), key=lambda number: (keys[number], key_bytes(hits[number].uid)))[:k]
    ranked: list[tuple[int, Hit, float]] = []
    for index, number in enumerate(order):
        is_tie = index > 0 and keys[number] == keys[order[index - 1]]
        ranked.append((ranked[-1][0] if is_tie else index + 1, hits[number], scores[number]))
    return ranked


def _scores(
    snapshot: Snapshot, hits: Sequence[Hit], queries: Outputs | None, ranking: Ranking
) -> tuple[list[float], list[float]]:
    """Score by which hits are ranked, and asymmetric score, of each hit."""
    if queries is None and ranking == Ranking.HAMMING:
        return [0.0] * len(hits), [0.0] * len(hits)
    if queries is None or (ranking == Ranking.CLASSES and queries.class_scores is None):
        raise ValueError(f"no scores came to order by {ranking}: use a model that gives them")
    if queries.relaxed.shape[1] < snapshot.code_length:
        raise CodeLengthError(found=queries.relaxed.shape[1], expected=snapshot.code_length)
    rows = snapshot.rows_of((hit.sop_instance_uid, hit.frame) for hit in hits)
    asymmetric = asymmetric_scores(queries.relaxed[:, : snapshot.code_length], snapshot.codes_at(rows)).tolist()
    if ranking == Ranking.CLASSES and queries.class_scores is not None:
        return _agreement(snapshot, rows, queries.class_scores).tolist(), asymmetric
    return asymmetric, asymmetric


def _agreement(snapshot: Snapshot, rows: NDArray[np.int64], class_scores: NDArray[np.uint8]) -> NDArray[np.float64]:
    return class_agreement(class_scores, snapshot.class_scores_at(rows, class_scores.shape[1]))
