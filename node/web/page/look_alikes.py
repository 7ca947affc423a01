"""Look-alikes for the page: of an indexed image, of a part of one, and of a file that is dropped on it."""

import base64
import io
import time
from pathlib import Path
from threading import BoundedSemaphore
from typing import Annotated, Final

from fastapi import Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from PIL import Image
from starlette.exceptions import HTTPException

from node.access.disclosure import Discloser
from node.errors import Refusal, Status
from node.ingest.outcome import Prepared
from node.options.access import Disclosure
from node.query.answers import chance_expectation
from node.query.retriever import LookAlikes, Match
from node.web.caller_gate import caller_of
from node.web.cases import answer_value, case, match_value, posted_entity
from node.web.dicomweb.responses import deadline
from node.web.page.page_question import PageParameters, PageQuestion, read_page_question
from node.web.posted_examples import SUFFIXES
from node.web.resources import WebResources
from node.web.uploads import content_type, save
from storage.database.snapshot import Snapshot
from storage.record import Entity, Level

POSTED: Final = "posted"
"""Stands for the UID of an example that is not indexed."""
Parameters = Annotated[PageParameters, Query()]


class LookAlikeService:
    """Answers the questions of the page; each from one snapshot, in a thread of its own."""

    def __init__(self, resources: WebResources) -> None:
        self._settings, self._resources = resources.settings, resources
        self._database, self._retriever = resources.reading.database, resources.reading.retriever
        self._uploads = BoundedSemaphore(resources.settings.web_requests)

    def similar(self, request: Request, sop_instance_uid: str, parameters: Parameters) -> Response:
        """The cases nearest to an indexed image, or to a part of one, in ascending rank."""
        disclosure = caller_of(request.scope).disclosure
        started_s, asked = time.perf_counter(), read_page_question(sop_instance_uid, parameters, disclosure)
        check, question = deadline(self._settings), asked.question
        search = self._resources.finder.search_by(question, check)
        with self._database.snapshot() as snapshot:
            found = search(snapshot, question, asked.level, asked.candidates(snapshot), check=check)
            example, record = snapshot.entity(Level.IMAGE, sop_instance_uid), snapshot.record(sop_instance_uid)
            assert example is not None
            assert record is not None, "it has look-alikes"
            discloser = Discloser(disclosure, snapshot.code_length)
            value = self._value(snapshot, asked, example, parameters.frame or record.frames[0] + 1, found, discloser)
        return _answer(value, asked, started_s)

    async def similar_to_file(self, request: Request, parameters: Parameters) -> Response:
        """The cases nearest to the DICOM object, PNG or JPEG in the body, which is kept nowhere."""
        suffix, examples = SUFFIXES.get(content_type(request).name), self._resources.examples
        if suffix is None:
            raise HTTPException(415, f"give one of {', '.join(SUFFIXES)}")
        if not self._uploads.acquire(blocking=False):
            raise Refusal(Status.OUT_OF_RESOURCES, "too many files at once: try again")
        try:
            with examples.file(suffix) as (path, file):
                await save(request, file, self._settings.max_example_bytes, self._settings.web_timeout_s)
                disclosure = caller_of(request.scope).disclosure
                return await run_in_threadpool(self._of_file, path, parameters, disclosure)
        finally:
            self._uploads.release()

    def _of_file(self, path: Path, parameters: PageParameters, disclosure: Disclosure) -> Response:
        started_s, asked = time.perf_counter(), read_page_question(POSTED, parameters, disclosure)
        if parameters.also:
            raise Refusal(Status.DATA_SET_MISMATCH, "also: a dropped file is the only example")
        examples, question, kind = self._resources.examples, asked.question, parameters.picture_modality
        encoded = examples.encode(path, question, kind)
        assert encoded.prepared is not None, "it was a file"
        frames = encoded.prepared.record.frames
        frame = parameters.frame or frames[len(frames) // 2] + 1
        with self._database.snapshot() as snapshot:
            search, discloser = examples.search(encoded, question, kind), Discloser(disclosure, snapshot.code_length)
            found = search(snapshot, question, asked.level, asked.candidates(snapshot))
            example = posted_entity(encoded.prepared.record, kind)
            value = self._value(snapshot, asked, example, frame, found, discloser)
        if question.region is None:
            value |= _posted(encoded.prepared, frame)
        return _answer(value, asked, started_s)

    def _value(
        self,
        snapshot: Snapshot,
        asked: PageQuestion,
        example: Entity,
        frame: int,
        found: LookAlikes,
        discloser: Discloser,
    ) -> dict[str, object]:
        expected = chance_expectation(
            self._database.path, snapshot, found.modality, found.pairs, asked.where.modalities
        )
        shown = case(example, frame, discloser)

        def value(match: Match) -> dict[str, object]:
            return match_value(example, match, expected(match.distance), discloser)

        return answer_value(snapshot, asked.question, shown, found, value)


def _answer(value: dict[str, object], asked: PageQuestion, started_s: float) -> Response:
    elapsed_ms = round(1000 * (time.perf_counter() - started_s), 2)
    return JSONResponse({**value, "level": asked.level, "elapsed_ms": elapsed_ms})


def _posted(prepared: Prepared, frame: int) -> dict[str, object]:
    """Frames of an example that is not indexed, and the picture of one: the page can get them nowhere else."""
    png = io.BytesIO()
    Image.fromarray(prepared.images[prepared.record.frames.index(frame - 1)]).save(png, "PNG")
    picture = base64.b64encode(png.getvalue()).decode()
    return {"frames": [index + 1 for index in prepared.record.frames], "picture": picture}
