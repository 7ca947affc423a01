"""How far histories are: `/histories` for people, `/api/histories` for programs; UIDs, and no patient data."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from html import escape

from fastapi import Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import HTMLResponse, JSONResponse

from node.pull.report import JobReport, reports
from storage.progress.coverage import CoverageWatch
from storage.progress.entry import Covered

REFRESH_S = 10
HEAD = f"""<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="dark">
  <meta name="robots" content="noindex">
  <meta http-equiv="refresh" content="{REFRESH_S}">
  <title>Histories - Lookalike</title>
  <link rel="icon" href="web/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="web/style.css">
  <link rel="stylesheet" href="web/histories.css">
</head>
<body>
  <header>
    <a class="brand" href="./" aria-label="Lookalike: all cases">
      <img src="web/icon.svg" alt="" width="36" height="36">
      <span>Lookalike</span>
    </a>
    <nav class="tabs" aria-label="Parts of this page">
      <a href="./">Cases</a>
      <a href="histories" aria-current="page">Histories</a>
      <a href="./#tab=node">Node</a>
    </nav>
  </header>
  <main id="content" class="histories">
    <h1>Histories</h1>
"""
FOOT = "  </main>\n</body>\n</html>\n"
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
        return HTMLResponse(HEAD + ("".join(map(_job, found)) if found else NO_JOB) + FOOT)


def _job(report: JobReport) -> str:
    name = escape(f"{report.name}: {report.source} by {report.transport}")
    covered = [_covered(one) for one in report.coverage if one.listed]
    parked = [(entry.study_instance_uid, str(entry.attempts), entry.reason) for entry in report.parked]
    parts = [f"<section><h2>{name}</h2>", _table("state of the job", (), _state(report))]
    parts.append(_table("coverage by year and modality", ("year", "modality", "here", "listed", "part"), covered))
    if parked:
        parts.append(_table("parked studies", ("study", "attempts", "reason"), parked))
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


def _table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(_lines(caption, headings, rows))


def _lines(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"<table><caption>{escape(caption)}</caption>"
    if headings:
        yield "<thead><tr>" + "".join(f'<th scope="col">{escape(text)}</th>' for text in headings) + "</tr></thead>"
    yield "<tbody>"
    for first, *rest in rows:
        cells = "".join(f"<td>{escape(text)}</td>" for text in rest)
        yield f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'
    yield "</tbody></table>"
