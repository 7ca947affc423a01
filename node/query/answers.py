"""The answers of a query by example: one an entity with its near-duplicates, and how many chance would put as near."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from node.errors import Refusal, Status
from node.query.question import Distinct, Question
from storage.database.columns import modality
from storage.database.snapshot import Snapshot
from storage.record import LEVELS, Level
from storage.search.chance import read_table
from storage.search.index import Aggregation, Filter, Hit, Hits

MAX_HITS = 5000
"""Hits that are looked at for the distinct answers of one question."""


def distinct(
    snapshot: Snapshot, search: Callable[[int, Level], Hits], question: Question, level: Level, size: int
) -> tuple[Hits, dict[str, int]]:
    """Find the nearest entities of a level, at most one for each entity that the question names by Distinct.

    An answer whose image has the pixels of an earlier answer's image, or its code in the same study, is a
    near-duplicate and folded into that answer. By the BEST image the index is searched at the level of Distinct, so
    that it gives one hit for each entity; else as many hits are taken as are needed.

    Parameters
    ----------
    search
        Finds so many hits at a level.
    size
        Number of answers.

    Returns
    -------
    Hits, dict
        Entities of `level`; and, by the UID of each, the number of near-duplicates nearer than the answer after the
        last. Empty if the question says NONE.

    Raises
    ------
    Refusal
        A700: so many hits are duplicates that MAX_HITS do not hold the answers.
    """
    if question.distinct == Distinct.NONE:
        return search(size, level), {}
    above = min(Level[question.distinct], level, key=LEVELS.index)
    by_best = level == Level.IMAGE or question.aggregation == Aggregation.BEST
    length, searched, complete = size, above if by_best else level, False
    while not complete:
        length = min(4 * length, MAX_HITS)
        found = search(length, searched)
        folded, complete = _fold(snapshot, found.hits, above, size)
        complete = complete or len(found.hits) < length
        if not complete and length == MAX_HITS:
            raise Refusal(Status.OUT_OF_RESOURCES, "too many duplicates: narrow query or ask without Distinct")
    answers = {_ancestors(snapshot, hit)[level]: (hit, duplicates) for hit, duplicates in folded}
    hits = tuple(replace(hit, uid=uid) for uid, (hit, _) in answers.items())
    return Hits(hits, found.candidates), {uid: duplicates for uid, (_, duplicates) in answers.items()}


def expectations(
    folder: Path, snapshot: Snapshot, question: Question, where: Filter, pairs: int | None
) -> Callable[[float], str]:
    """Function that gives the Chance Expectation of a distance as text (VR DS, PS3.5 section 6.2).

    The text is empty while there is no table, if the pairs were not counted, or if the example is of unknown modality.

    Parameters
    ----------
    folder
        Folder of the database.
    pairs
        Number of candidates times images of the example: each of these is another chance to be near.
    """
    expected = chance(folder, snapshot, _modality(snapshot, question), where, pairs)

    def expectation(distance: float) -> str:
        """Return the expectation of a distance, "" if no pair of such images is known."""
        value = expected(distance)
        return "" if value is None else f"{value:.3g}"

    return expectation


def chance(
    folder: Path, snapshot: Snapshot, known: str | None, where: Filter, pairs: int | None
) -> Callable[[float], float | None]:
    """Function that gives the Chance Expectation of a distance as a number; None where `expectations` gives no text.

    Parameters
    ----------
    known
        Modality of the example, None if it is unknown.
    folder, pairs
        As in `expectations`.
    """
    table = None if pairs is None else read_table(folder)
    of_this_database = table is not None and table.identity == snapshot.header.identity
    if table is None or not of_this_database or pairs is None or known is None:
        return lambda _distance: None
    return lambda distance: table.expectation(known, pairs, distance, where.modalities)


def _fold(snapshot: Snapshot, hits: Iterable[Hit], above: Level, size: int) -> tuple[list[tuple[Hit, int]], bool]:
    """First `size` distinct hits with the duplicates of each; and True if a further one follows."""
    answers: list[tuple[Hit, int]] = []
    known: dict[tuple[object, ...], int] = {}
    for hit in hits:
        uids = _ancestors(snapshot, hit)
        alike: list[tuple[object, ...]] = [
            ("pixels", snapshot.pixel_digest(hit.sop_instance_uid)),
            (
                "code",
                uids[Level.STUDY],
                snapshot.codes_at(snapshot.rows_of([(hit.sop_instance_uid, hit.frame)])).tobytes(),
            ),
        ]
        original = next((known[identity] for identity in alike if identity in known), None)
        if original is not None:
            answers[original] = answers[original][0], answers[original][1] + 1
        elif (above, uids[above]) not in known:
            if len(answers) == size:
                return answers, True
            answers.append((hit, 0))
            known |= dict.fromkeys([*alike, (above, uids[above])], len(answers) - 1)
    return answers, False


def _ancestors(snapshot: Snapshot, hit: Hit) -> dict[Level, str]:
    """Unique key, at each level, of the entity that holds a hit's nearest image."""
    image = snapshot.entity(Level.IMAGE, hit.sop_instance_uid)
    assert image is not None
    return dict(image.uids)


def _modality(snapshot: Snapshot, question: Question) -> str | None:
    """Modality of the first example, as the index knows it; None if it is not indexed, or is a part of an image."""
    if question.region is not None:  # chance is known of whole images
        return None
    level, uid = question.example_level, next(iter(question.examples), "")
    if level == Level.STUDY:
        level, uid = Level.SERIES, next(snapshot.each_child(Level.STUDY, uid), "")
    entity = snapshot.entity(level, uid)
    return None if entity is None else modality(entity.attributes)
