"""DICOMweb as one application below /dicom-web: its services, who may use them, and how errors are answered."""

import re
from collections.abc import Mapping
from typing import Any, Final
from xml.etree.ElementTree import Element, SubElement, tostring  # writes only: nothing of others is parsed

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydicom import config as pydicom_config
from starlette.middleware.cors import CORSMiddleware

from node.version import __version__
from node.web.dicomweb.gatekeeper import Gatekeeper
from node.web.dicomweb.qido import SearchService
from node.web.dicomweb.query_by_example import ExampleService
from node.web.dicomweb.rendered import RenderedService
from node.web.dicomweb.responses import base_url
from node.web.dicomweb.stow import StoreService
from node.web.dicomweb.wado import RetrieveService
from node.web.media_types import choose
from node.web.problems import ANSWERS, internal_error
from node.web.resources import WebResources
from node.web.why import WhyService

BASE = "/dicom-web"
WADL: Final = "application/vnd.sun.wadl+xml"
NAMESPACE: Final = "http://wadl.dev.java.net/2009/02"
NAME_IN_PATH: Final = re.compile(r"\{(\w+)\}")

ABOUT = "Search (QIDO-RS), search by example, storage (STOW-RS) and retrieval (WADO-RS)."


def build_dicomweb(resources: WebResources) -> FastAPI:
    """The application to mount at `BASE`."""
    settings = resources.settings
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE  # its warnings quote values
    app = FastAPI(title="Lookalike DICOMweb", version=__version__, description=ABOUT, docs_url=None, redoc_url=None)
    search = SearchService(settings, resources.finder)
    example = ExampleService(settings, resources.examples, search)
    asked = search, example, StoreService(settings, resources.receiver)
    for service in (*asked, RenderedService(resources), RetrieveService(resources), WhyService(resources)):
        app.include_router(service.router)
    _add_capabilities(app)
    for error, answer in ANSWERS.items():
        app.add_exception_handler(error, answer)
    app.add_exception_handler(Exception, internal_error)
    app.add_middleware(Gatekeeper, settings=settings)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Accept", "Content-Type"],
        expose_headers=["Warning", "Retry-After"],
    )
    return app


def _add_capabilities(app: FastAPI) -> None:
    """Answer OPTIONS of the base address with every resource (PS3.18 section 8.9), as WADL or OpenAPI."""

    def capabilities(request: Request) -> Response:
        if choose(request, (WADL, "application/json")) == WADL:
            return Response(_wadl(app.openapi(), base_url(request)), media_type=WADL)
        return JSONResponse(app.openapi())

    app.add_api_route("/", capabilities, methods=["OPTIONS"], include_in_schema=False)


def _wadl(document: Mapping[str, Any], base: str) -> bytes:
    """WADL of an OpenAPI document: its resources below `base`, their methods and parameters."""
    application = Element("application", {"xmlns": NAMESPACE})
    resources = SubElement(application, "resources", {"base": f"{base}/"})
    for path, operations in document["paths"].items():
        resource = SubElement(resources, "resource", {"path": path.lstrip("/")})
        for name in NAME_IN_PATH.findall(path):
            SubElement(resource, "param", {"name": name, "style": "template", "type": "xs:string"})
        for verb, operation in operations.items():
            method = SubElement(resource, "method", {"name": verb.upper(), "id": operation["operationId"]})
            SubElement(method, "doc").text = operation.get("description", "").split("\n")[0]
            asked = SubElement(method, "request")
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "query":
                    SubElement(asked, "param", {"name": parameter["name"], "style": "query"})
    return bytes(tostring(application, encoding="utf-8", xml_declaration=True))
