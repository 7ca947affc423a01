"""C-FIND: ordinary queries and queries by example, answered from one snapshot (PS3.4 annex C).

The contents of all responses are gathered before the first is sent. So a caller that reads slowly holds no read
transaction, which would keep the database from reusing old pages, and a partial list never ends in success.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

from pydicom.dataset import Dataset

from node.dicom.hierarchy import LEVEL_OF, at_or_above
from node.dicom.private import Element
from node.errors import Refusal, Status
from node.metrics import measured_query
from node.query import catalog
from node.query.answers import chance_expectation
from node.query.identifier import COMMENTS, INSTANCE_AVAILABILITY, Query, read_query
from node.query.paging import RECORD_KEY, RecordPage, entities_from, record_key
from node.query.question import Question
from node.query.response import ResponseEncoder, Row, comment, common_elements, disclosed, similarity_elements
from node.query.retriever import LookAlikes, Retriever
from node.query.rules import STUDY_ROOT, QueryRules
from node.settings import Settings
from storage.database.database import Database
from storage.database.snapshot import Snapshot
from storage.objects.object_store import ObjectStore
from storage.record import LEVELS, Entity, Level
from storage.search.index import Filter

logger = logging.getLogger(__name__)

Response = tuple[Status, bytes | None]
"""A status, and the identifier of a pending response as bytes."""

CHECK_S = 0.05
"""Longest time between two checks that the caller still waits, seconds."""
MAX_CHARACTERS: Final = 1 << 26
"""Text gathered for one request: senders may store longer values than their VR allows."""


class _CancelledError(Exception):
    """The caller does not want the rest."""


Fetch = Callable[[Sequence[str], catalog.Check], object]
"""Function that fetches instances from another node by their SOP Instance UIDs, as far as it can."""
RegionSearch = Callable[[Question, catalog.Check], "Search"]
"""Function that encodes the region of a question's example, and returns what searches by it."""


class Search(Protocol):
    """Finds look-alikes, as `Retriever.similar` does."""

    def __call__(
        self,
        snapshot: Snapshot,
        question: Question,
        level: Level,
        where: Filter,
        *,
        count: bool = True,
        check: catalog.Check = catalog.go_on,
    ) -> LookAlikes:
        """Return the matches of a question among the candidates."""


class Finder:
    """Answers C-FIND requests from the database.

    Parameters
    ----------
    fetch
        Fetches examples that are unknown here before a query by them is answered; None to answer at once.
    by_region
        Encodes regions of examples; None to refuse queries by a region.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        retriever: Retriever,
        fetch: Fetch | None = None,
        by_region: RegionSearch | None = None,
    ) -> None:
        self.settings, self.database, self.retriever = settings, database, retriever
        self._fetch, self._by_region = fetch, by_region
        objects, has_source = ObjectStore(settings.objects_path), bool(settings.source_peer)
        self._availability = catalog.Availability(objects, has_source=has_source)

    def find(
        self,
        identifier: Dataset,
        rules: QueryRules = STUDY_ROOT,
        *,
        implicit: bool,
        is_cancelled: Callable[[], bool],
    ) -> Iterator[Response]:
        """Responses to a request of an identifier, which is read by its rules; see `answer`."""
        yield from self.answer(read_query(identifier, rules), implicit=implicit, is_cancelled=is_cancelled)

    def answer(self, query: Query, *, implicit: bool, is_cancelled: Callable[[], bool]) -> Iterator[Response]:
        """Pending responses, each with its identifier; then another final status than Success, if there is one.

        That is Cancel if the caller cancelled, and B001 if a page of a Repository Query is not the last.

        Parameters
        ----------
        implicit
            True if the responses are written in Implicit VR Little Endian, False for Explicit VR Little Endian.
        is_cancelled
            Called between responses and during long work; True once the caller has cancelled, or has gone.

        Raises
        ------
        Refusal
            Before the first response: the request cannot be answered.
        """
        started_s, count = time.monotonic(), 0
        pending = Status.PENDING_WITH_UNSUPPORTED_KEYS if query.unsupported else Status.PENDING
        try:
            check = _watch(is_cancelled)
            rows, is_cut = self._page(query, query.page, check) if query.page else (self.gather(query, check), False)
            for identifier_bytes in _encode(query, rows, is_cancelled, implicit=implicit):
                count += 1
                yield pending, identifier_bytes
            if is_cut:
                yield Status.RESPONSE_LIMIT_REACHED, None
        except _CancelledError:
            yield Status.CANCEL, None
        kind = "by example" if query.question else "ordinary"
        elapsed_s = measured_query(query.level, kind, started_s)
        logger.info("%s %s query: %d responses in %.3f s", query.level, kind, count, elapsed_s)

    def gather(
        self, query: Query, check: catalog.Check, window: slice | None = None, search: Search | None = None
    ) -> list[Row]:
        """Return what the responses to a query hold, all of it from one snapshot.

        Parameters
        ----------
        check
            Called again and again; it raises to end the work.
        window
            Which matches of an ordinary query to return; None for all, of which there may be `max_find_responses`.
        search
            Finds the look-alikes of a query by example; None to search by the indexed examples that it names.

        Raises
        ------
        Refusal
            The request cannot be answered.
        """
        if search is None:
            self._fetch_missing(query.question, check)
            search = self.search_by(query.question, check)
        with self.database.snapshot() as snapshot:
            if query.question is None:
                rows = self._ordinary(snapshot, query, check, window)
            else:
                rows = self._similar(snapshot, query, query.question, check, search)
            return list(_bounded(disclosed(rows, query.disclosure, snapshot.code_length)))

    def search_by(self, question: Question | None, check: catalog.Check) -> Search:
        """What finds the look-alikes of an indexed example; no snapshot should be open: a region is encoded first."""
        if question is None or question.region is None:
            return self.retriever.similar
        if self._by_region is None:
            raise Refusal(Status.OUT_OF_RESOURCES, "regions cannot be encoded here")
        return self._by_region(question, check)

    def _page(self, query: Query, page: RecordPage, check: catalog.Check) -> tuple[list[Row], bool]:
        """One page of a Repository Query, which ends where the caller or the node has its limit; whether more match."""
        most, size, rows = self.settings.max_find_responses, 0, list[Row]()
        with self.database.snapshot() as snapshot:
            first, values_of = page.first_ordinal(snapshot, query.level), self._values(snapshot, query, check)
            for entity in entities_from(snapshot, query.level, query.keys, first, check):
                if len(rows) == min(page.most or most, most) or size > MAX_CHARACTERS:
                    return rows, True
                values = values_of(entity)
                values[RECORD_KEY] = record_key(snapshot, entity).decode("latin-1") if page.returns_keys else ""
                rows.append((values, self._retrieve_ae_title, {}))
                size += sum(map(len, values.values()))
        return rows, False

    def _fetch_missing(self, question: Question | None, check: catalog.Check) -> None:
        """Fetch the example images that were never received here; no snapshot is open meanwhile."""
        if self._fetch is None or question is None or question.example_level != Level.IMAGE:
            return
        with self.database.snapshot() as snapshot:
            missing = [uid for uid in question.examples if snapshot.ordinal(Level.IMAGE, uid) is None]
        spool = self.retriever.spool
        unknown = [uid for uid in missing if not spool.is_waiting(uid) and spool.is_set_aside(uid) is None]
        if unknown:
            self._fetch(unknown, check)

    def _similar(
        self, snapshot: Snapshot, query: Query, question: Question, check: catalog.Check, search: Search
    ) -> Iterator[Row]:
        where = catalog.restrict(snapshot, query.keys, check)
        counting = (Element.INDEXED_INSTANCES, Element.CHANCE_EXPECTATION)  # counting may read further columns
        count = query.has_comments or any(element in query.returned for element in counting)
        found = search(snapshot, question, query.level, where, count=count, check=check)
        common = common_elements(snapshot, query, question, found, self.retriever)
        expected = chance_expectation(self.database.path, snapshot, found.modality, found.pairs, where.modalities)
        values_of = self._values(snapshot, query, check)
        lower = _keys_of(query, LEVELS[len(at_or_above(query.level)) :])
        for match in found.matches:
            chance = expected(match.distance)
            common[Element.CHANCE_EXPECTATION] = "" if chance is None else f"{chance:.3g}"
            of_nearest = catalog.values(snapshot, match.image, lower, check)
            values = values_of(match.entity) | of_nearest
            if query.has_comments:
                values[COMMENTS] = comment(match, snapshot.code_length, chance)
            yield values, self._retrieve_ae_title, common | similarity_elements(query.level, match)

    def _ordinary(self, snapshot: Snapshot, query: Query, check: catalog.Check, window: slice | None) -> Iterator[Row]:
        most = self.settings.max_find_responses
        part = slice(0, most + 1) if window is None else window
        entities = list(islice(catalog.find(snapshot, query.level, query.keys, check), part.start, part.stop))
        if window is None and len(entities) > most:
            raise Refusal(Status.OUT_OF_RESOURCES, "too many matches: narrow query")
        values_of = self._values(snapshot, query, check)
        for entity in entities:
            yield values_of(entity), self._retrieve_ae_title, {}

    def _values(self, snapshot: Snapshot, query: Query, check: catalog.Check) -> Callable[[Entity], dict[str, str]]:
        """Function that returns the values of an entity for a response: those of its level and of those above."""
        own = _keys_of(query, at_or_above(query.level))
        if not query.returns_availability:
            return lambda entity: catalog.values(snapshot, entity, own, check)
        availability = self._availability.within(snapshot, check)
        return lambda entity: (
            catalog.values(snapshot, entity, own, check) | {INSTANCE_AVAILABILITY: availability(entity)}
        )

    @property
    def _retrieve_ae_title(self) -> str:
        """Values of Retrieve AE Title: never the sender, which may be a modality or a tool that serves no retrieval."""
        return "\\".join(self.settings.retrieve_ae_titles)


def _keys_of(query: Query, levels: Collection[Level]) -> list[str]:
    return [keyword for keyword in query.keys if LEVEL_OF[keyword] in levels]


def _encode(query: Query, rows: Sequence[Row], is_cancelled: Callable[[], bool], *, implicit: bool) -> Iterator[bytes]:
    """Identifiers of the responses, one by one, until the caller cancels."""
    encoder = ResponseEncoder(query, implicit=implicit)
    for row in rows:
        if is_cancelled():
            raise _CancelledError
        yield encoder.encode(*row)


def _bounded(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, up to the limit of their text; A700 beyond it."""
    size = 0
    for row in rows:
        size += sum(map(len, row[0].values()))
        if size > MAX_CHARACTERS:
            raise Refusal(Status.OUT_OF_RESOURCES, "too much text in the matches: narrow query")
        yield row


def _watch(is_cancelled: Callable[[], bool]) -> catalog.Check:
    """Function for long work to call again and again: it raises `_CancelledError` soon after the caller cancelled."""
    due = 0.0

    def check() -> None:
        """Raise if the caller has cancelled; most calls return at once."""
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + CHECK_S
            if is_cancelled():
                raise _CancelledError

    return check
