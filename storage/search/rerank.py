"""The ranks of hits, and another order of the nearest by scores of the network's outputs.

Scores come from whole numbers, and hits that nothing tells apart are ordered by UID, so the order is the same every
time.
"""

from collections.abc import Sequence

from hashing.codes import CodeLengthError
from hashing.ranking_scores import Outputs, Ranking, asymmetric_scores, class_agreement, output_agreement
from storage.database.snapshot import Snapshot
from storage.database.tree import key_bytes
from storage.search.index import Hit


def rerank(
    snapshot: Snapshot, hits: Sequence[Hit], queries: Outputs | None, ranking: Ranking, k: int
) -> list[tuple[int, Hit, float]]:
    """Put hits in order and return the first k.

    Parameters
    ----------
    hits
        The first of a search; for another ranking than HAMMING `hashing.ranking_scores.shortlist_length(k)` of them.
    queries
        Outputs of the network for the queries; at least as many numbers as a code has bits, and class scores for
        CLASSES. None only for HAMMING.
    ranking
        HAMMING: the order of the search. ASYMMETRIC, OUTPUTS, CLASSES: descending score of the nearest frame. Equals
        are in descending asymmetric score, then in the order of the search.

    Returns
    -------
    list of (rank, hit, score)
        Ranks count from 1; hits that differ in their UID alone share a rank, and the next rank counts them all
        (1, 2, 2, 4). The score is 0 to 1. ASYMMETRIC: 1 for a code that agrees with every bit of a query, 0.5 for a
        code that agrees with half of what counts. OUTPUTS: 1 for an image with the outputs of a query but for their
        size, 0.5 for one whose outputs have nothing to do with them, 0 for one without stored outputs. CLASSES: 1
        for an image with the class scores of a query, 0 for an image that shares no class. HAMMING: 0.

    Raises
    ------
    CodeLengthError
        Fewer numbers than bits.
    ValueError
        Another ranking than HAMMING without what it scores by.
    """
    if ranking == Ranking.HAMMING:
        scores, keys = [0.0] * len(hits), [(hit.distance, hit.weighted_distance, 0.0) for hit in hits]
    else:
        scores, asymmetric = _scores(snapshot, hits, queries, ranking)
        columns = zip(scores, asymmetric, hits, strict=True)
        keys = [(-score, -other, hit.distance) for score, other, hit in columns]
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
    if queries is None or (ranking == Ranking.CLASSES and queries.class_scores is None):
        raise ValueError(f"no scores came to order by {ranking}: use a model that gives them")
    if queries.relaxed.shape[1] < snapshot.code_length:
        raise CodeLengthError(found=queries.relaxed.shape[1], expected=snapshot.code_length)
    rows = snapshot.rows_of((hit.sop_instance_uid, hit.frame) for hit in hits)
    relaxed = queries.relaxed[:, : snapshot.code_length]
    asymmetric = asymmetric_scores(relaxed, snapshot.codes_at(rows)).tolist()
    if ranking == Ranking.OUTPUTS:
        return output_agreement(relaxed, snapshot.outputs_at(rows, 0).relaxed).tolist(), asymmetric
    if ranking == Ranking.CLASSES and queries.class_scores is not None:
        stored = snapshot.outputs_at(rows, queries.class_scores.shape[1]).class_scores
        assert stored is not None
        return class_agreement(queries.class_scores, stored).tolist(), asymmetric
    return asymmetric, asymmetric
