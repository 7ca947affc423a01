"""Query by a posted example: answered at once, and stored nowhere."""

from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from node.dicom.hierarchy import tag_of
from node.dicom.private import Element
from node.examples.picture_file import NO_UID
from node.query.identifier import read_query
from node.settings import Settings
from node.web.dicomweb.qido import DOCUMENTED, LEVELS_BY_NAME, ResultLevel, SearchService
from node.web.dicomweb.search_request import private, read_search
from node.web.posted_examples import SUFFIXES, PostedExamples
from node.web.uploads import content_type, save

BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {name: {"schema": {"type": "string", "format": "binary"}} for name in SUFFIXES},
        "description": "One DICOM object or picture. Of a picture, Modality says what kind of image it is.",
    }
}


class ExampleService:
    """Answers `POST /similar`.

    Attributes
    ----------
    router
        Its endpoint.
    """

    def __init__(self, settings: Settings, examples: PostedExamples, search: SearchService) -> None:
        self._settings, self._examples, self._search = settings, examples, search
        self.router = APIRouter(tags=["Query by example"])
        self.router.add_api_route("/similar", self.similar, methods=["POST"], openapi_extra=DOCUMENTED | BODY)

    async def similar(self, request: Request, level: ResultLevel = "study") -> Response:
        """Look-alikes of the DICOM object or picture in the body, nearest first."""
        suffix = SUFFIXES.get(content_type(request).name)
        if suffix is None:
            raise HTTPException(415, f"give one of {', '.join(SUFFIXES)}")
        with self._examples.file(suffix) as (path, file):
            await save(request, file, self._settings.max_example_bytes, self._settings.web_timeout_s)
            return await run_in_threadpool(self._answer, request, level, path)

    def _answer(self, request: Request, level: ResultLevel, path: Path) -> Response:
        parameters = [(name, value) for name, value in request.query_params.multi_items() if name != "level"]
        wanted = read_search(LEVELS_BY_NAME[level], {}, parameters)
        if wanted.is_by_example:
            raise HTTPException(400, "the example is the body: leave similarto out")
        modality = wanted.values.get(tag_of("Modality"), "")
        wanted.values[private(Element.EXAMPLE_SOP_INSTANCE_UID)] = NO_UID  # its own is not known before it is read
        question = read_query(wanted.identifier(), self._search.rules_of(request)).question
        assert question is not None, "it has an example"
        known = "" if "\\" in modality else modality
        search = self._examples.search(self._examples.encode(path, question, known), question, known)
        wanted.values[private(Element.EXAMPLE_SOP_INSTANCE_UID)] = search.record.sop_instance_uid
        return self._search.answer(request, wanted, search)
