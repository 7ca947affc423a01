"""The state of the node as the page and programs see it: what is indexed, what waits, and what became of questions."""

from typing import Final

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from node.access.disclosure import Discloser
from node.home import asked
from node.options.access import Disclosure
from node.settings import Settings
from node.version import __version__, program
from node.web.caller_gate import caller_of
from node.web.page.case_lists import series_by_modality
from node.web.resources import WebResources
from storage.database.snapshot import Snapshot
from storage.record import LEVELS, Level

PHANTOM_HOSPITAL: Final = "Lookalike Phantom Hospital"
FILTERED: Final = {"body_part": "BodyPartExamined", "manufacturer": "Manufacturer"}
"""Columns whose terms the page offers as filters, beside modalities, and their attributes."""


class NodeStateService:
    """Answers `GET /api/status`."""

    def __init__(self, resources: WebResources) -> None:
        self._settings, self._resources = resources.settings, resources
        self._database, self._spool = resources.reading.database, resources.reading.retriever.spool

    def status(self, request: Request) -> Response:
        """Address, version and model of the node, and counts of what is indexed, waits, was set aside or asked."""
        disclosure = caller_of(request.scope).disclosure
        with self._database.snapshot() as snapshot:
            value = {
                **_program(self._settings),
                **_indexed(snapshot, Discloser(disclosure, snapshot.code_length)),
                "waiting": self._spool.depth(),
                "set_aside": dict(self._spool.reasons()),
                "questions": _questions(self._settings),
                "viewers": self._settings.viewers,
                "has_originals": self._resources.pictures.are_larger,
                "has_parts": self._settings.region_codes,
                "has_reports": self._settings.keep_reports and disclosure is Disclosure.FULL,
            }
        return JSONResponse(value)


def _program(settings: Settings) -> dict[str, object]:
    address = {"ae_title": settings.ae_title, "host": settings.host, "port": settings.port}
    return {**address, "version": __version__, "program": program()}


def _indexed(snapshot: Snapshot, discloser: Discloser) -> dict[str, object]:
    studies = snapshot.entities(Level.STUDY)
    return {
        "indexed": {level: snapshot.count(level) for level in LEVELS},
        "codes": snapshot.rows,
        "code_length": snapshot.code_length,
        "model": snapshot.model,
        "modalities": {name: series.size for name, series in series_by_modality(snapshot).items()},
        "terms": _terms(snapshot, discloser),
        "phantoms_only": snapshot.count(Level.STUDY) > 0
        and all(study.attributes.get("InstitutionName") == PHANTOM_HOSPITAL for study in studies),
    }


def _questions(settings: Settings) -> dict[str, int]:
    """Questions that were sent: of those that came within `answer_keep_s`, how many wait, are answered, or failed."""
    waiting, answers = asked(settings)
    counts = {"answered": answers.questions, "waiting": waiting, "failed": answers.undelivered}
    return {"asked": answers.questions + waiting, **counts}


def _terms(snapshot: Snapshot, discloser: Discloser) -> dict[str, list[str]]:
    """Terms of the columns that can be filtered by, as the caller sees them."""
    shown = {
        column: [discloser.attributes({keyword: term})[keyword] for term in snapshot.terms(column)]
        for column, keyword in FILTERED.items()
    }
    return {column: [term for term in terms if term] for column, terms in shown.items()}
