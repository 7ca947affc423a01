"""How far histories are: `/histories` for people, `/api/histories` for programs; UIDs, and no patient data."""

from collections.abc import Callable
from dataclasses import asdict
from html import escape

from fastapi import Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse

from node.pull.report import JobReport, reports
from node.web.desk.document import document, table
from storage.progress.coverage import CoverageWatch
from storage.progress.entry import Covered

NO_JOB = "<p>No history is brought in. Begin with <code>lookalike pull plan</code>.</p>"


class Histories:
    """Answers how far jobs are.

    Parameters
    ----------
    coverage
        Knows whether history is complete, and holds the progress open; None where no job can be.

    Attributes
    ----------
    routes
        Endpoint of each path.
    """

    def __init__(self, coverage: CoverageWatch | None) -> None:
        self._coverage = coverage
        self.routes: dict[str, Callable[..., Response]] = {"/histories": self.page, "/api/histories": self.json}

    def reports(self) -> list[JobReport]:
        """Report on every job; none if no job was ever planned."""
        progress = self._coverage.progress() if self._coverage else None
        return reports(progress) if progress else []

    def json(self) -> Response:
        """State of every job, with coverage by year and modality, and what is parked and why."""
        state = str(self._coverage.state()) if self._coverage else "COMPLETE"
        return JSONResponse({"coverage": state, "jobs": jsonable_encoder([asdict(one) for one in self.reports()])})

    def page(self) -> Response:
        """The same for people."""
        found = self.reports()
        return document("Histories", "".join(map(_job, found)) if found else NO_JOB)


def _job(report: JobReport) -> str:
    name = escape(f"{report.name}: {report.source} by {report.transport}")
    covered = [_covered(one) for one in report.coverage if one.listed]
    parked = [(entry.study_instance_uid, str(entry.attempts), entry.reason) for entry in report.parked]
    parts = [f"<section><h2>{name}</h2>", table("state of the job", (), _state(report))]
    parts.append(table("coverage by year and modality", ("year", "modality", "here", "listed", "part"), covered))
    if parked:
        parts.append(table("parked studies", ("study", "attempts", "reason"), parked))
    return "".join([*parts, "</section>"])


def _state(report: JobReport) -> list[tuple[str, str]]:
    counts, notes = report.counts, report.notes
    return [
        ("state", str(report.state) + ("" if report.is_listed else ", the archive is still searched")),
        ("studies here", f"{counts.done:,} of {counts.studies:,} listed"),
        ("studies that wait", f"{counts.waiting:,}"),
        ("studies parked", f"{counts.parked:,}"),
        ("images here", f"{counts.received:,}"),
        ("rate", f"{notes.get('studies_per_hour', 0):,.0f} studies/h, {notes.get('bytes_per_s', 0) / 1e6:,.2f} MB/s"),
        ("days that remain, estimated", f"{report.remaining.days:,.1f}"),
        ("waits for", str(notes.get("waits_for") or "nothing")),
        ("last comparison with the archive", str(notes.get("reconciled") or "none yet")),
    ]


def _covered(one: Covered) -> tuple[str, ...]:
    numbers = f"{one.done:,}", f"{one.listed:,}", f"{one.done / one.listed:.0%}"
    return one.year or "no date", one.modality or "unknown", *numbers
