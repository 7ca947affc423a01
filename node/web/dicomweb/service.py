"""DICOMweb as one application below /dicom-web: its services, who may use them, and how errors are answered."""

from fastapi import FastAPI
from pydicom import config as pydicom_config
from starlette.middleware.cors import CORSMiddleware

from node.query.find import Finder
from node.settings import Settings
from node.version import __version__
from node.web.dicomweb.gatekeeper import Gatekeeper
from node.web.dicomweb.qido import SearchService
from node.web.dicomweb.query_by_example import ExampleService
from node.web.example_encoder import ExampleEncoder
from node.web.problems import ANSWERS

BASE = "/dicom-web"


def build_dicomweb(settings: Settings, finder: Finder, examples: ExampleEncoder) -> FastAPI:
    """The application to mount at `BASE`."""
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE  # its warnings quote values
    app = FastAPI(
        title="Lookalike DICOMweb",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        description="Searches (QIDO-RS) and searches by example over what the node has indexed.",
    )
    search = SearchService(settings, finder)
    for service in (search, ExampleService(settings, finder, examples, search)):
        app.include_router(service.router)
    for error, answer in ANSWERS.items():
        app.add_exception_handler(error, answer)
    app.add_middleware(Gatekeeper, settings=settings)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Accept", "Content-Type"],
        expose_headers=["Warning", "Retry-After"],
    )
    return app
