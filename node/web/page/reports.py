"""Reports on the studies that the page shows, for callers who see names: a report names its patient in its words."""

from typing import Annotated

from fastapi import Path, Request, Response
from fastapi.responses import JSONResponse

from node.errors import Refusal, Status
from node.home import open_reports
from node.options.access import Disclosure
from node.web.caller_gate import caller_of
from node.web.resources import WebResources
from storage.database.snapshot import Snapshot
from storage.objects.report_table import Report
from storage.record import Level, may_be_one_patient

Uid = Annotated[str, Path(pattern=r"^[0-9.]{1,64}$")]


class ReportService:
    """Answers what reports there are on a study, and gives the PDF of one.

    A report is shown only beside a study of the patient whom it names itself: what is filed wrong is not shown.
    """

    def __init__(self, resources: WebResources) -> None:
        self._database, self._reports = resources.reading.database, open_reports(resources.settings)

    def of_study(self, request: Request, study_instance_uid: Uid) -> Response:
        """Reports on a study with their words, the newest first."""
        _check(request)
        with self._database.snapshot() as snapshot:
            found = [one for one in self._reports.of_study(study_instance_uid) if _belongs(snapshot, one)]
        return JSONResponse({"reports": [_value(report) for report in found]})

    def pdf(self, request: Request, study_instance_uid: Uid, sop_instance_uid: Uid) -> Response:
        """The PDF of a report, to be saved: what is in it never runs as a part of the page."""
        _check(request)
        report = self._reports.find(sop_instance_uid)
        with self._database.snapshot() as snapshot:
            is_here = report is not None and report.study_instance_uid == study_instance_uid
            if report is None or not is_here or not report.pdf or not _belongs(snapshot, report):
                raise Refusal(Status.EXAMPLE_UNKNOWN, "no such report is kept here")
        headers = {"Content-Disposition": 'attachment; filename="report.pdf"', "Cache-Control": "no-store"}
        return Response(report.pdf, media_type="application/pdf", headers=headers)


def _check(request: Request) -> None:
    if caller_of(request.scope).disclosure is not Disclosure.FULL:
        raise Refusal(Status.NOT_AUTHORIZED, "reports name patients: not for this caller")


def _belongs(snapshot: Snapshot, report: Report) -> bool:
    study = snapshot.entity(Level.STUDY, report.study_instance_uid)
    return study is not None and may_be_one_patient(study.uids[Level.PATIENT], report.patient)


def _value(report: Report) -> dict[str, object]:
    return {
        "uid": report.sop_instance_uid,
        "title": report.title,
        "date": report.date,
        "is_complete": report.is_complete,
        "is_verified": report.is_verified,
        "words": report.words,
        "has_pdf": report.has_pdf,
    }
