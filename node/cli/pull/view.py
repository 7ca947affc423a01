"""Tables of jobs for the terminal."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from node.cli.terminal import plain
from node.pull.report import JobReport
from storage.progress.job import JobState

MAX_PARKED = 10
COLOURS = {JobState.RUNNING: "green", JobState.COMPLETE: "bright_green", JobState.PAUSED: "yellow"}


def plan_table(report: JobReport) -> RenderableType:
    """What a job will cost."""
    remaining, counts = report.remaining, report.counts
    table = Table(show_header=False, title=f"Plan of {report.name}: {report.source} by {report.transport}")
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_row("studies listed", f"{counts.studies:,}")
    table.add_row("of which wait", f"{counts.waiting:,}")
    table.add_row("images to transfer", f"{remaining.instances:,}")
    origin = "measured" if remaining.is_measured else "usual sizes"
    table.add_row(f"bytes to transfer ({origin})", _size(remaining.size_bytes))
    table.add_row("disk for the index", _size(remaining.disk_bytes))
    table.add_row("hours of asking", f"{remaining.open_hours:,.1f}")
    table.add_row("days, with the calendar", f"{remaining.days:,.1f}")
    todo = Text(f"Nothing has moved yet. Begin with: lookalike pull start {report.name}", style="dim")
    return Group(table, coverage_table(report), todo)


def status_view(reports: Sequence[JobReport]) -> RenderableType:
    """Every job: how far it is, how fast, what it waits for, and what is parked."""
    if not reports:
        return Text("No job. Make one with: lookalike pull plan NAME --source AETITLE")
    return Group(*(Panel(_job(report), title=_title(report), title_align="left", expand=False) for report in reports))


def coverage_table(report: JobReport) -> RenderableType:
    """Studies by year and modality: here, and listed in the archive."""
    table = Table(title="coverage", title_justify="left", box=None, padding=(0, 2))
    for heading in ("year", "modality", "here", "listed", ""):
        table.add_column(heading, justify="left" if heading in ("modality", "") else "right")
    for one in report.coverage:
        if one.listed:
            share = f"{one.done / one.listed:.0%}"
            row = one.year or "none", one.modality or "unknown", f"{one.done:,}", f"{one.listed:,}", share
            table.add_row(*map(plain, row))
    return table


def _job(report: JobReport) -> RenderableType:
    counts, notes = report.counts, report.notes
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column()
    total = f"{counts.studies:,} listed" + ("" if report.is_listed else ", and the archive is still searched")
    grid.add_row("studies", f"{counts.done:,} done, {counts.waiting:,} wait, {counts.parked:,} parked ({total})")
    grid.add_row("", ProgressBar(total=max(1, counts.studies), completed=counts.done + counts.parked, width=40))
    grid.add_row("images", f"{counts.received:,} here, {counts.fetched:,} of them brought in by this job")
    rate = f"{notes.get('studies_per_hour', 0):,.0f} studies/h, {notes.get('bytes_per_s', 0) / 1e6:,.2f} MB/s"
    grid.add_row("rate", rate + (f", response {notes['response_s']:.3f} s" if notes.get("response_s") else ""))
    if report.state is JobState.RUNNING and counts.waiting:
        grid.add_row("estimated end", _end(report))
    if notes.get("waits_for"):
        grid.add_row("waits", plain(str(notes["waits_for"])))
    if notes.get("reconciled"):
        grid.add_row("last comparison", plain(str(notes["reconciled"])))
    parts: list[RenderableType] = [grid, coverage_table(report)]
    return Group(*parts, *([_parked(report)] if report.parked else []))


def _parked(report: JobReport) -> RenderableType:
    shown = report.parked[:MAX_PARKED]
    table = Table(title="parked", title_justify="left", box=None, padding=(0, 2))
    for heading in ("study", "attempts", "reason"):
        table.add_column(heading)
    for entry in shown:
        table.add_row(plain(entry.study_instance_uid), str(entry.attempts), plain(entry.reason))
    if report.counts.parked > len(shown):
        table.caption = f"and {report.counts.parked - len(shown):,} more; lookalike pull status --json lists some"
    return table


def _title(report: JobReport) -> Text:
    head = plain(f"{report.name}: {report.source} by {report.transport} ")
    return head.append(str(report.state), style=COLOURS.get(report.state, "white"))


def _end(report: JobReport) -> str:
    rate = float(report.notes.get("studies_per_hour", 0))
    days = report.counts.waiting / rate / 24 if rate > 0 else report.remaining.days
    return f"{datetime.now().astimezone() + timedelta(days=min(days, 36_500)):%Y-%m-%d %H:%M}, in {days:,.1f} days"


def _size(size_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size_bytes < 1000:
            return f"{size_bytes:,.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:,.1f} PB"
