"""DICOMweb as one application below /dicom-web: its services, who may use them, and how errors are answered."""

from fastapi import FastAPI
from pydicom import config as pydicom_config
from starlette.middleware.cors import CORSMiddleware

from node.version import __version__
from node.web.dicomweb.gatekeeper import Gatekeeper
from node.web.dicomweb.qido import SearchService
from node.web.dicomweb.query_by_example import ExampleService
from node.web.dicomweb.rendered import RenderedService
from node.web.dicomweb.stow import StoreService
from node.web.dicomweb.wado import RetrieveService
from node.web.problems import ANSWERS, internal_error
from node.web.resources import WebResources
from node.web.why import WhyService

BASE = "/dicom-web"
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
