"""QIDO-RS: searches for studies, series and instances, ordinary and by example (PS3.18 section 10.6)."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, Literal

from fastapi import APIRouter, Request, Response
from pydicom.datadict import keyword_for_tag
from starlette.exceptions import HTTPException

from node.dicom.hierarchy import UNIQUE
from node.errors import Refusal, Status
from node.query.find import Finder, Search
from node.query.identifier import Query, read_query
from node.query.response import Row
from node.query.rules import QueryRules
from node.settings import Settings
from node.web.caller_gate import caller_of
from node.web.dicomweb.dicom_json import JsonObject, json_object
from node.web.dicomweb.responses import (
    INSTANCE_PATH,
    SERIES_PATH,
    STUDY_PATH,
    Uid,
    data_sets_response,
    deadline,
    entity_url,
)
from node.web.dicomweb.search_request import SearchRequest, read_search
from storage.record import Level

ResultLevel = Literal["study", "series", "instance"]
LEVELS_BY_NAME: Final[Mapping[str, Level]] = {"study": Level.STUDY, "series": Level.SERIES, "instance": Level.IMAGE}
MORE: Final = "There are more results than were returned: ask again with a larger offset."


def _parameter(name: str, kind: str, meaning: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": {"type": kind}, "description": meaning}


DOCUMENTED: Final = {
    "parameters": [
        _parameter("limit", "integer", "Results at most; of look-alikes 20 unless said, and 500 at most."),
        _parameter("offset", "integer", "Results to leave out."),
        _parameter("includefield", "string", "Attributes to return too: keywords or tags with commas between, or all."),
        _parameter("fuzzymatching", "boolean", "Not offered: true is answered with a warning."),
        _parameter("emptyvaluematching", "boolean", 'A value of two quotation marks ("") matches what has no value.'),
        _parameter("multiplevaluematching", "boolean", "Not offered: true is answered with a warning."),
        _parameter("strict", "boolean", "Answer 400 instead of a warning."),
        _parameter("PatientID", "string", "Any attribute that the conformance statement lists is a key, by its "
                   "keyword or its tag, as in C-FIND."),
        _parameter("StudyDate", "string", "A date, or a range as in 20200101-20201231."),
        _parameter("similarto", "string", "SOP Instance UID of an example: results are its look-alikes."),
        _parameter("frame", "string", "Frame of the example, counted from 1."),
        _parameter("region", "string", "Part of the example: first column, first row, last column, last row, from 1."),
        _parameter("maxdistance", "integer", "Largest Hamming distance, bits."),
        _parameter("exclude", "string", "SELF, SERIES, STUDY, PATIENT, DUPLICATE, with commas between."),
        _parameter("model", "string", "Model that must be the node's."),
        _parameter("snapshot", "string", "State of the index that must be the present one."),
    ]
}  # fmt: skip
"""What the OpenAPI document says of parameters; the code reads them from the query string."""


class SearchService:
    """Answers searches; each is read, answered from one snapshot, and bounded in time and number.

    Attributes
    ----------
    router
        Its endpoints.
    rules
        How keys are read.
    """

    def __init__(self, settings: Settings, finder: Finder) -> None:
        self._settings, self._finder = settings, finder
        self.rules = QueryRules(
            relational=True, empty_matches=settings.empty_matches, returns_availability=settings.retain == "all"
        )
        self.router = APIRouter(tags=["QIDO-RS"])
        for path, endpoint in (
            ("/studies", self.studies),
            ("/series", self.series),
            ("/instances", self.instances),
            (STUDY_PATH + "/series", self.series_of_study),
            (STUDY_PATH + "/instances", self.instances_of_study),
            (SERIES_PATH + "/instances", self.instances_of_series),
            (INSTANCE_PATH + "/similar", self.similar),
        ):
            self.router.add_api_route(path, endpoint, methods=["GET"], openapi_extra=DOCUMENTED)

    def studies(self, request: Request) -> Response:
        """Studies that match every key."""
        return self._search(request, Level.STUDY, {})

    def series(self, request: Request) -> Response:
        """Series that match every key."""
        return self._search(request, Level.SERIES, {})

    def instances(self, request: Request) -> Response:
        """Instances that match every key."""
        return self._search(request, Level.IMAGE, {})

    def series_of_study(self, request: Request, study: Uid) -> Response:
        """Series of one study."""
        return self._search(request, Level.SERIES, {Level.STUDY: study})

    def instances_of_study(self, request: Request, study: Uid) -> Response:
        """Instances of one study."""
        return self._search(request, Level.IMAGE, {Level.STUDY: study})

    def instances_of_series(self, request: Request, study: Uid, series: Uid) -> Response:
        """Instances of one series."""
        return self._search(request, Level.IMAGE, {Level.STUDY: study, Level.SERIES: series})

    def similar(
        self, request: Request, study: Uid, series: Uid, instance: Uid, level: ResultLevel = "study"
    ) -> Response:
        """Look-alikes of one instance, nearest first."""
        with self._finder.database.snapshot() as snapshot:
            entity = snapshot.entity(Level.IMAGE, instance)
        if entity is not None and (entity.uids[Level.STUDY], entity.uids[Level.SERIES]) != (study, series):
            raise Refusal(Status.EXAMPLE_UNKNOWN, "no such instance in this study and series")
        parameters = [(name, value) for name, value in request.query_params.multi_items() if name != "level"]
        wanted = read_search(LEVELS_BY_NAME[level], {}, [*parameters, ("similarto", instance)])
        return self.answer(request, wanted)

    def _search(self, request: Request, level: Level, parents: Mapping[Level, str]) -> Response:
        return self.answer(request, read_search(level, parents, request.query_params.multi_items()))

    def rules_of(self, request: Request) -> QueryRules:
        """What is known of a request beside its query: who sent it."""
        return replace(self.rules, caller=caller_of(request.scope))

    def answer(self, request: Request, wanted: SearchRequest, search: Search | None = None) -> Response:
        """Answer a search.

        Parameters
        ----------
        search
            As in `Finder.gather`.

        Raises
        ------
        Refusal, HTTPException
            It cannot be answered, or not as strictly as the client demands.
        """
        query = read_query(wanted.identifier(), self.rules_of(request))
        warnings = [*wanted.ignored, *_unsupported(query)]
        if wanted.is_strict and warnings:
            raise HTTPException(400, "; ".join(warnings))
        limit = self._settings.max_find_responses if wanted.limit is None else wanted.limit
        limit = min(limit, self._settings.max_find_responses)
        end = wanted.offset + limit
        window = None if query.question else slice(wanted.offset, end + 1)
        rows = self._finder.gather(query, deadline(self._settings), window, search)
        if query.question:
            rows = rows[wanted.offset :]
        elif len(rows) > limit:
            rows.pop()
            warnings.append(MORE)
        return data_sets_response(request, [_result(request, query, row) for row in rows], warnings)


def _unsupported(query: Query) -> Iterable[str]:
    for tag in query.unsupported:
        yield f"{keyword_for_tag(tag) or f'{tag:08X}'} is not matched at this level and was ignored"


def _result(request: Request, query: Query, row: Row) -> JsonObject:
    values, retrieve_ae_title, similarity = row
    uids = [values.get(UNIQUE[level], "") for level in (Level.STUDY, Level.SERIES, Level.IMAGE)]
    texts = values | {"RetrieveURL": entity_url(request, *uids)}
    if retrieve_ae_title:
        texts["RetrieveAETitle"] = retrieve_ae_title
    shown = {element: text for element, text in similarity.items() if element in query.returned and text}
    return json_object(texts, shown)
