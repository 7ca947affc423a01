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

from hashing.images.pixels import PixelError
from node.errors import Refusal, Status
from node.examples.regions import Region, region_of_preview
from node.examples.request import EncodedExample, ExampleClient, PreviewPart, ServiceDownError
from node.query.answers import chance
from node.query.retriever import LookAlikes
from node.web.cases import answer_value, posted_entity
from node.web.dicomweb.responses import deadline
from node.web.example_encoder import PostedExample
from node.web.example_file import SUFFIXES
from node.web.page_question import PageParameters, PageQuestion, read_page_question
from node.web.resources import WebResources
from node.web.uploads import content_type, save
from storage.database.columns import modality
from storage.database.snapshot import Snapshot
from storage.record import Entity, Level, Record

POSTED: Final = "posted"
"""Stands for the UID of an example that is not indexed."""
Parameters = Annotated[PageParameters, Query()]


class LookAlikeService:
    """Answers the questions of the page; each from one snapshot, in a thread of its own."""

    def __init__(self, resources: WebResources) -> None:
        self._settings, self._examples = resources.settings, resources.examples
        self._database, self._retriever = resources.reading.database, resources.reading.retriever
        self._client = ExampleClient(resources.settings)
        self._uploads = BoundedSemaphore(resources.settings.web_requests)

    def similar(self, sop_instance_uid: str, parameters: Parameters) -> Response:
        """The cases nearest to an indexed image, or to a part of one, in ascending rank."""
        started_s, asked = time.perf_counter(), read_page_question(sop_instance_uid, parameters)
        part = None if asked.region is None else self._part(asked, asked.region)
        with self._database.snapshot() as snapshot:
            found = self._of_image(snapshot, asked) if part is None else self._of_part(snapshot, asked, *part)
            example, record = snapshot.entity(Level.IMAGE, sop_instance_uid), snapshot.record(sop_instance_uid)
            assert example is not None
            assert record is not None, "it has look-alikes"
            value = self._value(snapshot, asked, example, parameters.frame or record.frames[0] + 1, found)
        return _answer(value, asked, started_s)

    async def similar_to_file(self, request: Request, parameters: Parameters) -> Response:
        """The cases nearest to the DICOM object, PNG or JPEG in the body, which is kept nowhere."""
        suffix = SUFFIXES.get(content_type(request).name)
        if suffix is None:
            raise HTTPException(415, f"give one of {', '.join(SUFFIXES)}")
        if not self._uploads.acquire(blocking=False):
            raise Refusal(Status.OUT_OF_RESOURCES, "too many files at once: try again")
        try:
            with self._examples.file(suffix) as file:
                await save(request, file, self._settings.max_example_bytes, self._settings.web_timeout_s)
                return await run_in_threadpool(self._of_file, Path(file.name), parameters)
        finally:
            self._uploads.release()

    def _of_file(self, path: Path, parameters: PageParameters) -> Response:
        started_s, asked = time.perf_counter(), read_page_question(POSTED, parameters)
        if parameters.also:
            raise Refusal(Status.DATA_SET_MISMATCH, "also: a dropped file is the only example")
        posted = self._examples.encode(path, parameters.picture_modality)
        frame = parameters.frame or posted.middle
        searched = posted if asked.region is None else self._examples.encode_part(posted, frame, asked.region)
        with self._database.snapshot() as snapshot:
            where = asked.without(snapshot)
            found = searched.search(self._retriever, snapshot, asked.question, asked.level, where)
            example = posted_entity(posted.prepared.record, parameters.picture_modality)
            value = self._value(snapshot, asked, example, frame, found)
        return _answer(value | _posted(posted, frame), asked, started_s)

    def _of_image(self, snapshot: Snapshot, asked: PageQuestion) -> LookAlikes:
        where, check = asked.without(snapshot), deadline(self._settings)
        return self._retriever.similar(snapshot, asked.question, asked.level, where, check=check)

    def _of_part(self, snapshot: Snapshot, asked: PageQuestion, record: Record, encoded: EncodedExample) -> LookAlikes:
        where = asked.without(snapshot, [record])
        return self._retriever.nearest(snapshot, encoded.codes, asked.question, asked.level, where, encoded.outputs)

    def _part(self, asked: PageQuestion, region: Region) -> tuple[Record, EncodedExample]:
        """The example's record, and what the index role makes of the part of its preview."""
        uid = asked.question.examples[0]
        with self._database.snapshot() as snapshot:
            record = snapshot.record(uid)
            if record is None:
                raise Refusal(Status.EXAMPLE_UNKNOWN, "no such SOPInstanceUID here: store it first")
            frame = asked.question.frames[0] if asked.question.frames else (record.frames or (0,))[0] + 1
            preview = snapshot.preview(uid, frame - 1)
        if preview is None:
            raise Refusal(Status.EXAMPLE_NOT_HASHABLE, "this frame has no preview")
        try:
            rows, columns = (int(record.instance.get(side, "0")) for side in ("Rows", "Columns"))
            within = region_of_preview(region, rows, columns, preview.shape[0])
            request = PreviewPart(preview, within, record.series.get("Modality", ""))
            reply = self._client.encode(request, self._settings.web_timeout_s)
        except (PixelError, ValueError) as error:
            raise Refusal(Status.EXAMPLE_NOT_HASHABLE, "region: it does not lie within the image") from error
        except ServiceDownError as error:
            raise Refusal(Status.OUT_OF_RESOURCES, str(error)) from error
        if not isinstance(reply, EncodedExample):
            raise Refusal(Status.EXAMPLE_NOT_HASHABLE, "region: too small for what is kept of the image")
        return record, reply

    def _value(
        self, snapshot: Snapshot, asked: PageQuestion, example: Entity, frame: int, found: LookAlikes
    ) -> dict[str, object]:
        pairs = None if found.candidates is None else found.candidates * found.queries
        known = modality(example.attributes) or None
        expectation = chance(self._database.path, snapshot, known, asked.where, pairs)
        return answer_value(snapshot, example, frame, found, expectation)


def _answer(value: dict[str, object], asked: PageQuestion, started_s: float) -> Response:
    elapsed_ms = round(1000 * (time.perf_counter() - started_s), 2)
    return JSONResponse({**value, "level": asked.level, "elapsed_ms": elapsed_ms})


def _posted(posted: PostedExample, frame: int) -> dict[str, object]:
    """What the page cannot get elsewhere of an example that is not indexed: its frames, and the picture of one."""
    png = io.BytesIO()
    Image.fromarray(posted.preview(frame)).save(png, "PNG")
    picture = base64.b64encode(png.getvalue()).decode()
    return {"frames": [index + 1 for index in posted.prepared.record.frames], "picture": picture}
