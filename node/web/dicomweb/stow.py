"""STOW-RS: instances stored over HTTP, durable before they are acknowledged (PS3.18 section 10.5)."""

from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser
from starlette.exceptions import HTTPException

from node.errors import Refusal, Status
from node.ingest.receiver import Receiver
from node.settings import Settings
from node.web.dicomweb.dicom_json import JsonObject, json_object, sequence
from node.web.dicomweb.responses import STUDY_PATH, Uid, data_set_response, entity_url
from node.web.dicomweb.stored_part import StoredPart
from node.web.media_types import MULTIPART, media_types
from node.web.problems import RETRY_AFTER_S
from node.web.uploads import content_type, pieces

DICOM: Final = "application/dicom"
MAX_BOUNDARY: Final = 70  # RFC 2046 section 5.1.1
FAILED, OTHER_FAILURES, STORED = "00081198", "0008119A", "00081199"
BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {MULTIPART: {"schema": {"type": "string", "format": "binary"}}},
        "description": "multipart/related with parts of application/dicom, a DICOM file each.",
    }
}


@dataclass(slots=True)
class Outcomes:
    """What became of the parts so far, in their order."""

    finished: list[tuple[StoredPart, Refusal | None]] = field(default_factory=list)

    @property
    def refusals(self) -> list[Refusal]:
        """Why instances were not stored."""
        return [refusal for _, refusal in self.finished if refusal is not None]

    @property
    def status(self) -> int:
        """HTTP status of the response (PS3.18 table 10.5.3-1)."""
        if not self.refusals:
            return 200
        if len(self.refusals) < len(self.finished):
            return 202
        busy = all(refusal.status == Status.OUT_OF_RESOURCES for refusal in self.refusals)
        return 503 if busy else 409

    def data_set(self, request: Request, study: str) -> JsonObject:
        """The Store Instances Response Module (PS3.18 annex I)."""
        kept = [part for part, refusal in self.finished if refusal is None]
        studies = {study} if study else {part.study_instance_uid for part in kept}
        url = entity_url(request, *studies) if len(studies) == 1 and "" not in studies else ""
        found = json_object({"RetrieveURL": url}, {})
        stored = [_stored(request, part) for part in kept]
        failures = [(part, refusal) for part, refusal in self.finished if refusal is not None]
        named = [_failed(part, refusal) for part, refusal in failures if part.sop_instance_uid]
        others = [_failed(part, refusal) for part, refusal in failures if not part.sop_instance_uid]
        for tag, items in ((FAILED, named), (STORED, stored), (OTHER_FAILURES, others)):
            if items:
                found[tag] = sequence(items)
        return found


class PartReader:
    """Reads a multipart body piece by piece; each part becomes an instance in the spool as it comes."""

    def __init__(self, receiver: Receiver, settings: Settings, study: str, boundary: str) -> None:
        self._receiver, self._settings, self._study = receiver, settings, study
        self._part: StoredPart | None = None
        self._header, self._value = b"", b""
        self.outcomes, self.is_complete = Outcomes(), False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._name,
                "on_header_value": self._text,
                "on_header_end": self._end_header,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._complete,
            },
        )

    def write(self, piece: bytes) -> None:
        """Take the next piece of the body.

        Raises
        ------
        FormParserError
            It is no multipart body.
        """
        self._parser.write(piece)

    def close(self) -> None:
        """Give up the part that did not end, and note that as its failure."""
        if self._part is not None:
            self._part.refuse(Refusal(Status.CANNOT_UNDERSTAND, "the request ended within this part"))
            self._end()

    def _begin(self) -> None:
        self._part = StoredPart(self._receiver, self._settings, self._study)

    def _name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _text(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        name, value = self._header.decode("latin-1").lower(), self._value.decode("latin-1")
        self._header = self._value = b""
        if name == "content-type" and self._part is not None and [m.name for m in media_types(value)] != [DICOM]:
            self._part.refuse(Refusal(Status.CANNOT_UNDERSTAND, f"the part is not {DICOM}"))

    def _data(self, data: bytes, start: int, end: int) -> None:
        assert self._part is not None
        self._part.write(memoryview(data)[start:end])

    def _end(self) -> None:
        assert self._part is not None
        part, self._part = self._part, None
        self.outcomes.finished.append((part, part.finish()))

    def _complete(self) -> None:
        self.is_complete = True


class StoreService:
    """Answers requests that store.

    Attributes
    ----------
    router
        Its endpoints.
    """

    def __init__(self, settings: Settings, receiver: Receiver) -> None:
        self._settings, self._receiver = settings, receiver
        self.router = APIRouter(tags=["STOW-RS"])
        self.router.add_api_route("/studies", self.store, methods=["POST"], openapi_extra=BODY)
        self.router.add_api_route(STUDY_PATH, self.store_in_study, methods=["POST"], openapi_extra=BODY)

    async def store(self, request: Request) -> Response:
        """Store instances; each that is named as stored is durable."""
        return await self._store(request, "")

    async def store_in_study(self, request: Request, study: Uid) -> Response:
        """Store instances of one study; those of another one are refused."""
        return await self._store(request, study)

    async def _store(self, request: Request, study: str) -> Response:
        reader = PartReader(self._receiver, self._settings, study, _boundary(request))
        pressure = self._receiver.pressure.rejects()
        if pressure is not None:
            raise Refusal(Status.OUT_OF_RESOURCES, f"try later: {pressure.resource} near the limit")
        problem: Exception | None = None
        try:
            async for piece in pieces(request, self._settings.max_stored_request_bytes, self._settings.web_timeout_s):
                await run_in_threadpool(reader.write, piece)
        except (FormParserError, HTTPException) as error:
            problem = error
        finally:
            await run_in_threadpool(reader.close)
        return _response(request, reader, study, problem)


def _response(request: Request, reader: PartReader, study: str, problem: Exception | None) -> Response:
    """The outcome of each part; a body of which no part can be told is refused as a whole."""
    outcomes = reader.outcomes
    if not outcomes.finished:
        if isinstance(problem, HTTPException):
            raise problem
        raise HTTPException(400, "the body is no multipart/related with this boundary")
    status = outcomes.status
    if (problem is not None or not reader.is_complete) and status == 200:
        status = 202  # what came behind the parts that are named is not stored
    response = data_set_response(request, outcomes.data_set(request, study), status)
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _boundary(request: Request) -> str:
    given = content_type(request)
    if given.name != MULTIPART or given.part not in ("", DICOM):
        raise HTTPException(415, f'give {MULTIPART}; type="{DICOM}"')
    boundary = given.parameters.get("boundary", "")
    if not 1 <= len(boundary) <= MAX_BOUNDARY or not boundary.isascii():
        raise HTTPException(400, "the Content-Type has no usable boundary")
    return boundary


def _stored(request: Request, part: StoredPart) -> JsonObject:
    uids = part.study_instance_uid, part.series_instance_uid, part.sop_instance_uid
    return json_object({**_reference(part), "RetrieveURL": entity_url(request, *uids) if all(uids) else ""}, {})


def _failed(part: StoredPart, refusal: Refusal) -> JsonObject:
    return json_object({**_reference(part), "FailureReason": str(int(refusal.status))}, {})


def _reference(part: StoredPart) -> dict[str, str]:
    if not part.sop_instance_uid:
        return {}
    return {"ReferencedSOPClassUID": part.sop_class_uid, "ReferencedSOPInstanceUID": part.sop_instance_uid}
