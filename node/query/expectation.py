"""How many of the candidates would lie as near as a match by chance."""

from collections.abc import Callable

from node.query.question import Question
from node.query.retriever import LookAlikes, Match
from storage.database.columns import modality
from storage.database.snapshot import Snapshot
from storage.record import Level
from storage.search.chance import ChanceTable
from storage.search.index import Filter


def expectations(
    table: ChanceTable | None, snapshot: Snapshot, question: Question, where: Filter, found: LookAlikes
) -> Callable[[Match], str]:
    """Function that gives the Chance Expectation of a match as text (VR DS, PS3.5 section 6.2).

    Each image of the example is another chance to be near, so that their expectations add up. The text is empty while
    there is no table, if the candidates were not counted, or if the modality of the example is unknown.
    """
    known, candidates = _modality(snapshot, question), found.candidates
    of_this_database = table is not None and table.identity == snapshot.header.identity
    if table is None or not of_this_database or candidates is None or known is None:
        return lambda _match: ""

    def expectation(match: Match) -> str:
        """Return the expectation of a match, "" if no pair of such images is known."""
        value = table.expectation(known, candidates * found.queries, match.distance, where.modalities)
        return "" if value is None else f"{value:.3g}"

    return expectation


def _modality(snapshot: Snapshot, question: Question) -> str | None:
    """Modality of the first example, as the index knows it; None if no example is indexed."""
    level, uid = question.example_level, next(iter(question.examples), "")
    if level == Level.STUDY:
        level, uid = Level.SERIES, next(snapshot.each_child(Level.STUDY, uid), "")
    entity = snapshot.entity(level, uid)
    return None if entity is None else modality(entity.attributes)
