"""Look-alikes: from a query by example to ranked matches."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from pydicom.tag import Tag

from hashing.codes import Codes
from hashing.ranking_scores import Outputs, Ranking, shortlist_length
from node.dicom.hierarchy import UNIQUE
from node.dicom.private import GROUP, Element
from node.errors import NO_PIXELS, Refusal, Status
from node.query.answers import common_ranking, exclude, find_in_turn, may_compare_parts, ranked_in_turn, search_by
from node.query.catalog import Check, descendants, go_on
from node.query.question import MAX_EXAMPLES, Question, spread
from node.remote_index import refusing_unavailable
from storage.database import columns
from storage.database.database import Snapshot
from storage.progress.coverage import CoverageWatch
from storage.record import Entity, Level, Record, entity_of
from storage.search.index import Aggregation, Filter, Hit, IndexView
from storage.search.regions import RegionIndex
from storage.spool.queue import Spool

NO_PIXELS_COMMENT = "example has no pixel data: give an image"


@dataclass(frozen=True, slots=True)
class Match:
    """One look-alike.

    Attributes
    ----------
    rank
        1 is the nearest. Matches that nothing tells apart but their UIDs share a rank, as in 1, 2, 2, 4.
    distance
        Hamming distance in bits; for MEAN, the mean of such distances.
    score
        1 - distance / code length.
    entity
        The matching study, series or image; `image` is its nearest image and `frame` the 0-based frame in it.
    ranking_score
        0 to 1: the score by which ASYMMETRIC, OUTPUTS or CLASSES ranks (`storage.search.rerank`); None for HAMMING.
    duplicates
        Number of near-duplicates folded into the match; None if the question did not ask for distinct matches.
    is_unusual
        True if the nearest image was not as far for 99 of 100 images that the model was checked with.
    """

    rank: int
    distance: float
    score: float
    entity: Entity
    image: Entity
    frame: int
    ranking_score: float | None = None
    duplicates: int | None = None
    is_unusual: bool = False


@dataclass(frozen=True, slots=True)
class LookAlikes:
    """Matches in rank order, the answer to a question.

    Attributes
    ----------
    candidates
        How many instances were candidates, None where they were not to be counted.
    ranking
        What the order comes from: distance, or a score of the nearest by distance.
    queries
        Number of codes of the example.
    modality
        Modality of the example, for what chance would give; None for a part of an image, or if it is not known.
    region_source
        Pixels that the example's region was taken from: ORIGINAL or PREVIEW; "" for a whole image.
    """

    matches: tuple[Match, ...]
    candidates: int | None
    ranking: Ranking = Ranking.HAMMING
    queries: int = 1
    modality: str | None = None
    region_source: str = ""

    @property
    def pairs(self) -> int | None:
        """Number of pairs of a candidate and an image of the example; None if not counted."""
        return None if self.candidates is None else self.candidates * self.queries


class Retriever:
    """Answers questions from a snapshot; needs no network and no model, since examples have codes already.

    Parameters
    ----------
    view
        Opens the view of the index that agrees with a snapshot of the database.
    coverage
        Says whether history is complete; None where no job brings it in.
    family_first
        Whether matches of the example's family of modalities come before all others.
    regions
        Parts of images, with which a region is compared, too; None for whole images alone.
    usual_distance
        Distance within which an image of a modality usually has its nearest, in bits; infinite if it is not known.
    """

    def __init__(
        self,
        spool: Spool,
        view: Callable[[Snapshot], AbstractContextManager[IndexView]],
        model: str,
        ranking: Ranking = Ranking.HAMMING,
        coverage: CoverageWatch | None = None,
        *,
        family_first: bool = False,
        regions: RegionIndex | None = None,
        usual_distance: Callable[[str], float] = lambda _modality: math.inf,
    ) -> None:
        self.spool, self.view, self.model, self.ranking = spool, view, model, ranking
        self.coverage, self.family_first, self._usual_distance = coverage, family_first, usual_distance
        self._regions = regions

    def similar(
        self,
        snapshot: Snapshot,
        question: Question,
        level: Level,
        where: Filter,
        *,
        count: bool = True,
        check: Check = go_on,
    ) -> LookAlikes:
        """Matches for examples that are indexed.

        Parameters
        ----------
        where
            Candidates, before the question excludes some.
        count
            True to count the candidates, which reads columns that searching may not need.
        check
            Called before each step; it may raise, where nobody waits any more.

        Raises
        ------
        Refusal
            C101, C102, C103, C105: the example cannot be used, and why. C104: other model. C107: other snapshot.
            A900: the example cannot be ranked in the order of the question.
        """
        self.check_state(snapshot, question)
        records = self._example_records(snapshot, question, check)
        check()
        queries, outputs = self._queries(snapshot, question, records)
        where = exclude(snapshot, records, question, level, where)
        modality = columns.modality(records[0].series)
        found = self.nearest(snapshot, queries, question, level, where, outputs, count=count, modality=modality)
        return replace(found, modality=modality)

    def nearest(
        self,
        snapshot: Snapshot,
        queries: Codes,
        question: Question,
        level: Level,
        where: Filter,
        outputs: Outputs | None = None,
        *,
        count: bool = True,
        modality: str | None = None,
    ) -> LookAlikes:
        """Matches for codes; an entity's distance is that to the nearest query.

        Parameters
        ----------
        queries : (n_queries, words)
        outputs
            Outputs of the network, one row for each query: they decide between equal distances, and score the nearest
            for another ranking than HAMMING. None leaves equal distances as ties.
        modality
            Of the example, for `family_first` and the usual distance; None if it is not known.

        Raises
        ------
        Refusal
            A900: the outputs do not suffice for the ranking. A700: an index elsewhere does not answer, or not so much.
        """
        ranking, k = self._ranking(question, outputs), question.maximum_matches
        with self.view(snapshot) as view:
            regions = self._regions if may_compare_parts(question) else None
            search = partial(search_by(view, snapshot, queries, question, outputs, regions), count=count)
            size = k if ranking == Ranking.HAMMING else shortlist_length(k)
            family = modality if self.family_first else None
            with refusing_unavailable():
                groups, candidates, duplicates = find_in_turn(snapshot, search, question, level, size, where, family)
        ranking = common_ranking(snapshot, groups, ranking, question)
        ranked = ranked_in_turn(snapshot, groups, outputs, ranking, k)
        by_nearest = question.aggregation == Aggregation.BEST and question.region is None
        usual = self._usual_distance(modality) if by_nearest and modality is not None else math.inf
        is_scored = ranking != Ranking.HAMMING
        matches = tuple(
            _match(snapshot, level, rank, hit, score if is_scored else None, duplicates.get(hit.uid), usual)
            for rank, hit, score in ranked
        )
        return LookAlikes(matches, candidates, ranking, len(queries))

    def check_state(self, snapshot: Snapshot, question: Question) -> None:
        """Refuse a question that names another model (C104), or another state of the index (C107)."""
        if question.model and question.model != self.model:
            raise _refusal(Status.MODEL_UNKNOWN, f"model here is {self.model}", question, Element.MODEL_IDENTIFIER)
        if question.snapshot and question.snapshot != snapshot.identifier:
            raise _refusal(Status.SNAPSHOT_GONE, "snapshot is gone: ask without it", question, Element.INDEX_SNAPSHOT)

    def _example_records(self, snapshot: Snapshot, question: Question, check: Check) -> list[Record]:
        uids: list[str] = []
        for example in question.examples:
            if snapshot.ordinal(question.example_level, example) is None:
                raise self.why_unknown(question, example)
            uids += descendants(snapshot, question.example_level, example, Level.IMAGE, check)
        records = [record for uid in spread(uids, MAX_EXAMPLES) if (record := snapshot.record(uid)) is not None]
        assert records, "an entity without instances is not kept"
        return records

    def why_unknown(self, question: Question, uid: str) -> Refusal:
        """C101, C102, C103 or C105: why an example is not in the database."""
        level, status = question.example_level, Status.EXAMPLE_UNKNOWN
        comment = f"no such {UNIQUE[level]} here: store it first"
        if level == Level.IMAGE and self.spool.is_waiting(uid):  # perhaps again, after it was set aside
            status, comment = Status.EXAMPLE_NOT_READY, "example is being indexed: retry in seconds"
        elif level == Level.IMAGE and (note := self.spool.is_set_aside(uid)) is not None:
            status, comment = Status.EXAMPLE_NOT_HASHABLE, f"example was set aside: {note.reason}"
            if note.reason == NO_PIXELS:
                status, comment = Status.EXAMPLE_WITHOUT_PIXELS, NO_PIXELS_COMMENT
        return _refusal(status, comment, question, _ELEMENTS[level])

    def _queries(
        self, snapshot: Snapshot, question: Question, records: Sequence[Record]
    ) -> tuple[Codes, Outputs | None]:
        """Codes of the example's frames, and the outputs behind them, None unless those of every image are stored."""
        uids = [record.sop_instance_uid for record in records if record.frames]
        if not uids:
            element = _ELEMENTS[question.example_level]
            raise _refusal(Status.EXAMPLE_WITHOUT_PIXELS, NO_PIXELS_COMMENT, question, element)
        chosen = question.indices_among(records[0].frames) if question.frames else slice(None)
        codes = np.concatenate([snapshot.codes_of(uid) for uid in uids])[chosen]
        outputs = [found for uid in uids if (found := snapshot.outputs_of(uid)) is not None]
        return codes, Outputs.joined(outputs)[chosen] if len(outputs) == len(uids) else None

    def _ranking(self, question: Question, outputs: Outputs | None) -> Ranking:
        """The ranking of the question, or else the best up to the setting that the stored outputs allow."""
        wanted, possible = self._wanted(question), (Ranking.HAMMING,) if outputs is None else outputs.rankings
        if wanted not in possible and question.ranking is not None:
            comment = f"no outputs are stored of this example: rank by {possible[-1]}"
            raise _refusal(Status.DATA_SET_MISMATCH, comment, question, Element.RANKING)
        return wanted if wanted in possible else possible[-1]

    def _wanted(self, question: Question) -> Ranking:
        """The ranking of the question, or else the setting; a mean is ranked by distance: scores are of one image."""
        by_image = question.aggregation == Aggregation.BEST and not (self._regions and may_compare_parts(question))
        return question.ranking or (self.ranking if by_image else Ranking.HAMMING)


def _match(
    snapshot: Snapshot,
    level: Level,
    rank: int,
    hit: Hit,
    ranking_score: float | None,
    duplicates: int | None,
    usual: float,
) -> Match:
    entity, image = snapshot.entity(level, hit.uid), snapshot.entity(Level.IMAGE, hit.sop_instance_uid)
    if image is None and hit.record is not None:  # of another node
        image, entity = entity_of(hit.record, Level.IMAGE), entity or entity_of(hit.record, level)
    assert entity is not None
    assert image is not None
    score = 1 - hit.distance / snapshot.code_length
    return Match(
        rank, hit.distance, score, entity, image, hit.frame, ranking_score, duplicates, is_unusual=hit.distance > usual
    )


_ELEMENTS = {
    Level.IMAGE: Element.EXAMPLE_SOP_INSTANCE_UID,
    Level.SERIES: Element.EXAMPLE_SERIES_INSTANCE_UID,
    Level.STUDY: Element.EXAMPLE_STUDY_INSTANCE_UID,
}


def _refusal(status: Status, comment: str, question: Question, element: Element) -> Refusal:
    return Refusal(status, comment, Tag(GROUP, question.block << 8 | element))
