"""The web page of the node: it shows the indexed cases, and the look-alikes of each.

It shows no name and no ID; but text burned into the pixels of an image can be read in its preview.
"""

import logging
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from threading import Event
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from uvicorn import Config, Server

from node.access.callers import Callers
from node.access.disclosure import Discloser
from node.access.tls import https_context
from node.errors import Refusal, Status
from node.processes import Role, processes, role_fault
from node.version import __version__
from node.web.caller_gate import CallerGate, caller_of
from node.web.case_search import find_series
from node.web.dicomweb.query_by_example import BODY
from node.web.dicomweb.responses import deadline
from node.web.dicomweb.service import BASE, build_dicomweb
from node.web.histories import Histories
from node.web.login.certified_protocol import CertifiedProtocol
from node.web.login.links import LinkService
from node.web.metrics_page import metrics_response
from node.web.own_hosts import OwnHosts
from node.web.page.case_lists import list_series, list_studies, series_images
from node.web.page.look_alikes import LookAlikeService
from node.web.page.node_state import NodeStateService
from node.web.page.reports import ReportService
from node.web.pictures import png_response, view_picture
from node.web.problems import ANSWERS, Guard
from node.web.resources import WebResources
from node.web.why import WhyService
from storage.database.snapshot import Snapshot
from storage.errors import StorageError
from storage.record import Level

logger = logging.getLogger(__name__)

WEB = Path(__file__).parent / "static"
MAX_FIND = 128
"""Characters of a text to find cases by."""
MAX_CASES = 200
GRACE_S = 5
HEALTH_PATH = "/healthz"
OPENAPI = "/api/openapi.json"
ABOUT = "What the page of the node asks for. DICOMweb has a document of its own, /dicom-web/openapi.json."
FOR_PEOPLE = frozenset({"/", "/histories"})
"""Paths of HTML documents, which programs need no description of."""

Modalities = Annotated[list[Annotated[str, Query(max_length=64)]], Query()]
"""Modalities as the database holds them, which need not follow VR CS; an empty string selects nothing."""


def serve(resources: WebResources, stop: Event) -> None:
    """Serve the page and DICOMweb until `stop` is set.

    Raises
    ------
    OSError
        The address is in use, or does not belong to this machine.
    """
    settings = resources.settings
    with socket.create_server((settings.host, settings.http_port), family=settings.address_family) as listener:
        app = build(resources)
        server = Server(_config(app, https_context(settings) if settings.https else None))
        with ThreadPoolExecutor(1, "http") as pool:  # off the main thread uvicorn leaves signals to the role
            running = pool.submit(server.run, sockets=[listener])
            running.add_done_callback(lambda _: stop.set())  # a server that ended by itself ends the role
            logger.info("page at %s", settings.url)
            try:
                stop.wait()
            finally:
                server.should_exit = True
                resources.close()
        running.result()


def build(resources: WebResources) -> FastAPI:
    """The application of the page and DICOMweb, without a server."""
    app = FastAPI(
        title="Lookalike", version=__version__, description=ABOUT, openapi_url=OPENAPI, docs_url=None, redoc_url=None
    )
    look_alikes = LookAlikeService(resources)
    for path, endpoint in {**Page(resources).routes, "/api/similar/{sop_instance_uid}": look_alikes.similar}.items():
        app.add_api_route(path, endpoint, methods=["GET"], include_in_schema=path not in FOR_PEOPLE)
        app.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)
    app.add_api_route("/api/similar", look_alikes.similar_to_file, methods=["POST"], openapi_extra=BODY)
    reports = ReportService(resources)
    app.add_api_route("/api/reports/{study_instance_uid}", reports.of_study, methods=["GET"])
    app.add_api_route("/api/reports/{study_instance_uid}/{sop_instance_uid}.pdf", reports.pdf, methods=["GET"])
    app.include_router(WhyService(resources).router, prefix="/api")
    app.include_router(LinkService(resources.settings, resources.trail).router)
    app.mount("/web", StaticFiles(directory=WEB))
    app.mount(BASE, build_dicomweb(resources))
    for error, answer in ANSWERS.items():
        app.add_exception_handler(error, answer)
    app.add_middleware(CallerGate, callers=Callers(resources.settings, resources.trail))
    if resources.settings.is_for_this_machine:  # or a foreign site could read the page by a name that leads here
        app.add_middleware(OwnHosts)
    app.add_middleware(Guard)
    return app


class Page:
    """The endpoints of the page; each reads one snapshot in its own thread, and closes it before the answer is sent.

    Attributes
    ----------
    routes
        Endpoint of each path.
    """

    def __init__(self, resources: WebResources) -> None:
        self.settings, self._resources = resources.settings, resources
        self.database, self.retriever = resources.reading.database, resources.reading.retriever
        self.routes: dict[str, Callable[..., Any]] = {
            "/": self.index,
            HEALTH_PATH: self.health,
            "/readyz": self.readiness,
            "/metrics": self.metrics,
            "/api/status": NodeStateService(resources).status,
            "/api/cases": self.cases,
            "/api/series/{series_instance_uid}": self.series,
            "/preview/{sop_instance_uid}.png": self.preview,
            **Histories(self.retriever.coverage).routes,
        }

    def index(self) -> Response:
        """The HTML document of the page."""
        return FileResponse(WEB / "index.html")

    async def health(self) -> Response:
        """Sign of life of this process, from the event loop of the server: long queries must not delay it."""
        return JSONResponse({"alive": True})

    def readiness(self) -> Response:
        """200 if the node receives and answers; otherwise 503 with the reasons."""
        reasons = [
            fault
            for role in (Role.INDEX, Role.DICOM)
            for number in processes(self.settings, role)
            if (fault := role_fault(self.settings, role, number)) is not None
        ]
        waiting = self.retriever.spool.depth()
        if waiting >= self.settings.spool_capacity:
            reasons.append(f"{waiting} instances wait to be indexed: senders get A700")
        if shutil.disk_usage(self.settings.spool_path).free < self.settings.spool_free_bytes:
            reasons.append("disk of the spool is full: senders get A700")
        reasons += self._unreadable()
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        return JSONResponse({"ready": not reasons, "reasons": reasons, "waiting": waiting}, status)

    def _unreadable(self) -> Iterator[str]:
        """Yield what cannot be read."""
        try:
            with self.database.snapshot() as snapshot:
                snapshot.count(Level.IMAGE)
        except StorageError as error:
            logger.error("database cannot be read: %s", error)
            yield "database cannot be read: see the log of the node"
        try:
            self._resources.reading.check_index()
        except StorageError as error:
            logger.error("queries by example get A700: %s", error)
            yield "the index does not answer: queries by example get A700"

    def metrics(self) -> Response:
        """Measures of the node, for Prometheus."""
        return metrics_response(self.settings, self._resources.reading)

    def cases(
        self,
        request: Request,
        find: Annotated[str, Query(max_length=MAX_FIND)] = "",
        modality: Modalities = [],  # noqa: B006 -- FastAPI copies it
        by: Literal["study", "series"] = "series",
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_CASES)] = 24,
    ) -> Response:
        """One page of the indexed cases, from which the user chooses an example; `find` as in `find_series`."""
        list_cases = list_studies if by == "study" else list_series
        check, disclosure = deadline(self.settings), caller_of(request.scope).disclosure
        with self.database.snapshot() as snapshot:
            among = find_series(snapshot, find, check, disclosure) if find.strip() else None
            value = list_cases(snapshot, _named(modality), offset, limit, _discloser(request, snapshot), among)
        return JSONResponse(value)

    def series(self, request: Request, series_instance_uid: str) -> Response:
        """The indexed frames of a series in the order of Instance Number."""
        with self.database.snapshot() as snapshot:
            images = series_images(snapshot, series_instance_uid, _discloser(request, snapshot))
        if not images:
            raise Refusal(Status.EXAMPLE_UNKNOWN, "no such SeriesInstanceUID here: store it first")
        return JSONResponse({"images": images})

    def preview(
        self,
        request: Request,
        sop_instance_uid: str,
        frame: Annotated[int | None, Query(ge=1)] = None,
        *,
        large: bool = False,
    ) -> Response:
        """The network's input for a frame as PNG, or the same from the original pixels where these can be had.

        `frame` counts from 1, and is by default the first indexed frame.
        """
        with self.database.snapshot() as snapshot:
            record = snapshot.record(sop_instance_uid)
            if record is None:
                raise Refusal(Status.EXAMPLE_UNKNOWN, "no such SOPInstanceUID here: store it first")
            view_picture(snapshot, record, request.scope, self._resources.trail)
            number = frame or (record.frames[0] + 1 if record.frames else 1)
            pixels = snapshot.preview(sop_instance_uid, number - 1)
        if pixels is None:
            raise Refusal(Status.EXAMPLE_UNKNOWN, "this frame has no preview")
        tag = f'"{record.content_digest.hex()[:32]}-{number}{"-large" if large else ""}"'
        headers = {"ETag": tag, "Cache-Control": "private, max-age=3600"}
        if tag in request.headers.get("If-None-Match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        if large:
            check, pictures = deadline(self.settings), self._resources.pictures
            original = pictures.original(sop_instance_uid, number, check, is_square=True)
            if original is None:  # perhaps only now
                return png_response(pixels, {"Cache-Control": "no-store"})
            pixels = original
        return png_response(pixels, headers)


def _discloser(request: Request, snapshot: Snapshot) -> Discloser:
    return Discloser(caller_of(request.scope).disclosure, snapshot.code_length)


def _named(modalities: Sequence[str]) -> frozenset[str]:
    return frozenset(modality for modality in modalities if modality)


def _config(app: FastAPI, tls: ssl.SSLContext | None) -> Config:
    """Configuration of a server that writes no access log: query strings name images."""
    config = Config(
        app,
        access_log=False,
        log_config=None,
        log_level="warning",
        lifespan="off",
        loop="asyncio",
        http=CertifiedProtocol,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    config.load()
    config.ssl = tls  # uvicorn's own options leave suites of TLS 1.2 open that BCP 195 advises against
    return config
