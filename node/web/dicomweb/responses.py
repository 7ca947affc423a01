"""Answers of DICOMweb: data sets in the representation that the client takes, with warnings."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Final

from fastapi import Path, Request, Response

from node.errors import Refusal, Status
from node.settings import Settings
from node.web.dicomweb.dicom_json import JsonObject
from node.web.dicomweb.dicom_xml import xml_body, xml_document
from node.web.media_types import JSON, XML, accepted, choose

Uid = Annotated[str, Path(pattern=r"^[0-9.]{1,64}$", examples=["1.2.840.1"])]
STUDY_PATH: Final = "/studies/{study}"
SERIES_PATH: Final = STUDY_PATH + "/series/{series}"
INSTANCE_PATH: Final = SERIES_PATH + "/instances/{instance}"
"""Resources of entities by their UIDs (PS3.18 section 10.1)."""
"""A UID in a path (PS3.5 section 9.1)."""


def data_sets_response(
    request: Request, data_sets: Sequence[JsonObject], warnings: Sequence[str] = (), status: int = 200
) -> Response:
    """Data sets as JSON, or as XML where the client wants that; 204 where there are none.

    Parameters
    ----------
    warnings
        Sentences, each of which becomes a Warning header.

    Raises
    ------
    HTTPException
        406: the client takes neither.
    """
    media_type = choose(request, (JSON, XML))
    if not data_sets:
        response = Response(status_code=204)
    elif media_type == XML:
        body, media_type = xml_body(data_sets)
        response = Response(body, status, media_type=media_type)
    else:
        encoded = json.dumps(data_sets, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        response = Response(encoded, status, media_type=media_type)
    for sentence in warnings:
        response.headers.append("Warning", f"299 {base_url(request)}: {sentence}")
    return response


def data_set_response(request: Request, data_set: JsonObject, status: int) -> Response:
    """One data set as JSON, or as an XML document where the client wants that; JSON also for one that takes neither.

    What was stored must be told whatever the client accepts.
    """
    wanted = next((media.name for media in accepted(request) if media.name in (JSON, XML) or media.part == XML), JSON)
    if wanted == JSON:
        encoded = json.dumps(data_set, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        return Response(encoded, status, media_type=JSON)
    return Response(xml_document(data_set), status, media_type=XML)


def base_url(request: Request) -> str:
    """Address of DICOMweb, as the client knows it, without a slash at its end."""
    return str(request.url.replace(path=request.scope.get("root_path", ""), query="", fragment=""))


def entity_url(request: Request, study: str, series: str = "", instance: str = "") -> str:
    """Retrieve URL of a study, series or instance."""
    path = f"{base_url(request)}/studies/{study}"
    path += f"/series/{series}" if series else ""
    return path + (f"/instances/{instance}" if instance else "")


def deadline(settings: Settings) -> Callable[[], None]:
    """Return a function for long work to call, which refuses to go on once the time for a request is over."""
    end_s = time.monotonic() + settings.web_timeout_s

    def check() -> None:
        if time.monotonic() > end_s:
            raise Refusal(Status.OUT_OF_RESOURCES, "the search took too long: narrow it")

    return check
