"""The answers of a query by example: what is left out, one an entity, and how many chance would put as near."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from hashing.codes import Codes
from hashing.model.modality import family_of
from hashing.ranking_scores import Outputs, Ranking
from node.errors import Refusal, Status
from node.query.question import Distinct, Exclusion, Question
from storage.database import columns
from storage.database.snapshot import Snapshot
from storage.record import LEVELS, Level, Record
from storage.search.chance import ChanceTable, read_table
from storage.search.index import Aggregation, Filter, Hit, Hits, IndexView
from storage.search.regions import RegionIndex
from storage.search.rerank import rerank

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


def may_compare_parts(question: Question) -> bool:
    """True if a question is about a region and ranks by the distance of the best image: parts have no other score."""
    by_distance = question.ranking in (None, Ranking.HAMMING) and question.aggregation == Aggregation.BEST
    return question.region is not None and by_distance


def search_by(
    view: IndexView,
    snapshot: Snapshot,
    queries: Codes,
    question: Question,
    outputs: Outputs | None,
    regions: RegionIndex | None,
) -> Callable[..., Hits]:
    """Function that finds so many hits at a level, among the parts of images, too, if these are given."""
    relaxed, limit = None if outputs is None else outputs.relaxed, question.maximum_distance
    whole = partial(view.search, queries, aggregation=question.aggregation, outputs=relaxed)
    if regions is None:
        return partial(whole, maximum_distance=limit)
    return regions.search_by(snapshot, whole, queries, relaxed, limit)


def find_in_turn(
    snapshot: Snapshot,
    search: Callable[..., Hits],
    question: Question,
    level: Level,
    size: int,
    where: Filter,
    modality: str | None,
) -> tuple[list[tuple[Hit, ...]], int | None, dict[str, int]]:
    """Find the nearest entities, those of the example's family of modalities before all others.

    Codes without bits of the modality may put an image of another family among the nearest. Whoever asks with a
    radiograph wants radiographs; what else looks alike comes after them. Where all hits are of the family already,
    nothing is searched again.

    Parameters
    ----------
    search
        Finds so many hits at a level, with the arguments `where` and `count` of `IndexView.search`.
    size
        Number of answers.
    where
        The candidates.
    modality
        Of the example; None or "" to let families alone.

    Returns
    -------
    list, int or None, dict
        Groups of hits, of which each is in the order of the search; the number of candidates, if they were counted;
        and near-duplicates as `distinct` gives them.
    """
    found, duplicates = distinct(snapshot, partial(search, where=where), question, level, size)
    family = family_of(modality) if modality else None
    if family is None or all(family_of(_modality(snapshot, hit)) == family for hit in found.hits):
        return [found.hits], found.candidates, duplicates
    terms = frozenset(term for term in snapshot.terms("modality") if family_of(term) == family)
    of_family = replace(where, modalities=terms if where.modalities is None else terms & where.modalities)
    own, folded = distinct(snapshot, partial(search, where=of_family, count=False), question, level, size)
    known = {hit.uid for hit in own.hits}
    others = tuple(hit for hit in found.hits if hit.uid not in known and family_of(_modality(snapshot, hit)) != family)
    return [own.hits, others], found.candidates, duplicates | folded


def _modality(snapshot: Snapshot, hit: Hit) -> str:
    record = snapshot.record(hit.sop_instance_uid) or hit.record
    assert record is not None, "it was found in this state"
    return columns.modality(record.series)


def common_ranking(
    snapshot: Snapshot, groups: Iterable[Iterable[Hit]], ranking: Ranking, question: Question
) -> Ranking:
    """The ranking, or HAMMING if images of other nodes are among the hits: no outputs of these are here.

    Raises
    ------
    Refusal
        A900: the question names another ranking.
    """
    uids = (hit.sop_instance_uid for hits in groups for hit in hits if hit.record is not None)
    if ranking == Ranking.HAMMING or all(snapshot.ordinal(Level.IMAGE, uid) is not None for uid in uids):
        return ranking
    if question.ranking is not None:
        raise Refusal(Status.DATA_SET_MISMATCH, "images of other nodes are among them: rank by HAMMING")
    return Ranking.HAMMING


def ranked_in_turn(
    snapshot: Snapshot, groups: Sequence[tuple[Hit, ...]], outputs: Outputs | None, ranking: Ranking, k: int
) -> list[tuple[int, Hit, float]]:
    """The first k of groups of hits, each in its order: (rank, hit, score)."""
    ranked: list[tuple[int, Hit, float]] = []
    for hits in groups:
        before, left = len(ranked), k - len(ranked)
        ranked += [(before + rank, hit, score) for rank, hit, score in rerank(snapshot, hits, outputs, ranking, left)]
    return ranked


def chance_expectation(
    folder: Path, snapshot: Snapshot, modality: str | None, pairs: int | None, among: Collection[str] | None
) -> Callable[[float], float | None]:
    """Function that gives the number of candidates that chance would put within a distance of the example.

    It gives None while there is no table, if the pairs were not counted, or for modalities of which no pair is known.

    Parameters
    ----------
    folder
        Folder of the database.
    modality
        Of the example; None if it is not known.
    pairs
        Number of candidates times images of the example: each of these is another chance to be near.
    among
        Modalities of the candidates; None for all.
    """
    table = None if pairs is None or modality is None else read_table(folder)
    if table is None or table.identity != snapshot.header.identity or pairs is None or modality is None:
        return lambda _distance: None
    return partial(_expectation, table, modality, pairs, among)


def _expectation(
    table: ChanceTable, modality: str, pairs: int, among: Collection[str] | None, distance: float
) -> float | None:
    return table.expectation(modality, pairs, distance, among)


def exclude(snapshot: Snapshot, records: Iterable[Record], question: Question, level: Level, where: Filter) -> Filter:
    """The filter, without the entities that the question excludes.

    SELF is the example, or the entity of the answer's level that holds it: a study is not its own look-alike.
    Two studies without a Patient ID are not known to be one patient's; PATIENT then excludes the study. An issuer that
    one sender leaves out makes no other patient.
    """
    records = list(records)
    excluded = {Level[name] for name in ("SERIES", "STUDY", "PATIENT") if Exclusion[name] in question.exclusions}
    if Exclusion.SELF in question.exclusions:
        excluded.add(min(level, question.example_level, key=LEVELS.index))
    changes: dict[str, object] = {}
    for whole in excluded:
        before = getattr(where, _EXCLUDED[whole]) or frozenset()  # by the other keys of the request
        uids = frozenset(record.uids[whole] for record in records)
        if whole is Level.PATIENT:
            uids = uids.union(*map(snapshot.possible_patients, uids))
        changes[_EXCLUDED[whole]] = before | uids
    if Exclusion.DUPLICATE in question.exclusions:
        digests = [snapshot.pixel_digest(record.sop_instance_uid) for record in records]
        changes["excluded_digests"] = frozenset(digest for digest in digests if digest is not None)
    return replace(where, **changes)  # type: ignore[arg-type]


def _fold(snapshot: Snapshot, hits: Iterable[Hit], above: Level, size: int) -> tuple[list[tuple[Hit, int]], bool]:
    """First `size` distinct hits with the duplicates of each; and True if a further one follows."""
    answers: list[tuple[Hit, int]] = []
    known: dict[tuple[object, ...], int] = {}
    for hit in hits:
        uids = _ancestors(snapshot, hit)
        alike = _identities(snapshot, hit, uids)
        original = next((known[identity] for identity in alike if identity in known), None)
        if original is not None:
            answers[original] = answers[original][0], answers[original][1] + 1
        elif (above, uids[above]) not in known:
            if len(answers) == size:
                return answers, True
            answers.append((hit, 0))
            known |= dict.fromkeys([*alike, (above, uids[above])], len(answers) - 1)
    return answers, False


def _identities(snapshot: Snapshot, hit: Hit, uids: Mapping[Level, str]) -> list[tuple[object, ...]]:
    """What a hit has in common with its near-duplicates; nothing is known of an image of another node."""
    if snapshot.ordinal(Level.IMAGE, hit.sop_instance_uid) is None:
        return []
    code = snapshot.codes_at(snapshot.rows_of([(hit.sop_instance_uid, hit.frame)])).tobytes()
    return [("pixels", snapshot.pixel_digest(hit.sop_instance_uid)), ("code", uids[Level.STUDY], code)]


def _ancestors(snapshot: Snapshot, hit: Hit) -> dict[Level, str]:
    """Unique key, at each level, of the entity that holds a hit's nearest image."""
    image = snapshot.entity(Level.IMAGE, hit.sop_instance_uid)
    if image is None and hit.record is not None:
        return hit.record.uids
    assert image is not None
    return dict(image.uids)


_EXCLUDED = {
    Level.PATIENT: "excluded_patients",
    Level.STUDY: "excluded_studies",
    Level.SERIES: "excluded_series",
    Level.IMAGE: "excluded_instances",
}
