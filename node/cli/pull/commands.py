"""`lookalike pull`: the history of an archive is planned, brought in, watched, paused and cancelled."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live

from node.cli.terminal import console_for, plain, print_json
from node.configuration import load_settings

if TYPE_CHECKING:
    from node.settings import Settings
    from storage.progress.progress import Progress

console, errors = console_for(), console_for(stderr=True)
app = typer.Typer(name="pull", help="Bring in the history of an archive, politely and to the last image.")
WATCH_S = 1.0

Home = Annotated[Path | None, typer.Option(help="Folder of settings.toml, database and spool.  [default: var]")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]
Name = Annotated[str, typer.Argument(help="Name of the job.")]


@app.command(
    epilog="Examples: lookalike pull plan history --source PACS --from 2010-01-01 --megabytes-per-s 10 "
    "--open-hours 'Mon-Fri 19:00-06:00' --open-hours 'Sat-Sun 00:00-24:00'   ·   "
    "lookalike pull plan trial --source PACS --work-list studies.csv --transport WADO-RS"
)
def plan(
    name: Name,
    source: Annotated[str, typer.Option(help="AE title of the archive in `peers`.  [default: source_peer]")] = "",
    transport: Annotated[str, typer.Option(help="C-GET, C-MOVE or WADO-RS.")] = "C-GET",
    first: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="Earliest date.")] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Latest date.")] = None,
    modality: Annotated[list[str] | None, typer.Option(help="Only studies with this modality.")] = None,
    description: Annotated[list[str] | None, typer.Option(help="Only studies described so, with * and ?.")] = None,
    every_nth: Annotated[int, typer.Option(min=1, help="Take every n-th image of a series.")] = 1,
    middle: Annotated[int, typer.Option(min=0, help="Take so many middle images of a series; 0: all.")] = 0,
    one_series: Annotated[bool, typer.Option("--one-series", help="Take only the largest series of a study.")] = False,
    work_list: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="CSV or Inventory object of studies to take.")
    ] = None,
    studies_per_hour: Annotated[float, typer.Option(min=0, help="Studies begun in an hour; 0: no limit.")] = 0,
    megabytes_per_s: Annotated[float, typer.Option(min=0, help="10^6 bytes in a second; 0: no limit.")] = 0,
    associations: Annotated[int, typer.Option(min=1, max=64, help="Associations open at once.")] = 1,
    open_hours: Annotated[list[str] | None, typer.Option(help="When to ask, as 'Mon-Fri 19:00-06:00'.")] = None,
    holiday: Annotated[list[datetime] | None, typer.Option(formats=["%Y-%m-%d"], help="Ask all day.")] = None,
    time_zone: Annotated[str, typer.Option(help="Time zone of the hours, as Europe/Berlin.")] = "UTC",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Count what an archive holds for a job, and estimate time, bytes and disk, before anything moves."""
    from node.cli.pull.planning import definition_of, plan_job
    from node.cli.pull.view import plan_table

    settings = load_settings(home=home)
    given: dict[str, Any] = {
        "source": source or settings.source_peer, "transport": transport, "modalities": modality,
        "first_date": first and first.date(), "last_date": last and last.date(), "descriptions": description,
        "every_nth": every_nth, "middle": middle, "one_series": one_series,
        "work_list": work_list and work_list.absolute(), "studies_per_hour": studies_per_hour,
        "megabytes_per_s": megabytes_per_s, "associations": associations, "open_hours": open_hours,
        "holidays": holiday and [day.date() for day in holiday], "time_zone": time_zone,
    }  # fmt: skip
    report = plan_job(settings, name, definition_of(settings, name, given), errors)
    if as_json:
        print_json(asdict(report))
    else:
        console.print(plan_table(report))


@app.command(epilog="Example: lookalike pull start history --home /srv/lookalike")
def start(name: Name, home: Home = None) -> None:
    """Begin a planned job; the running node does the work."""
    _change(name, home, "running")


@app.command(epilog="Example: lookalike pull pause history")
def pause(name: Name, home: Home = None) -> None:
    """Stop a job for now; a study on its way is finished later, without what came already."""
    _change(name, home, "paused")


@app.command(epilog="Example: lookalike pull resume history")
def resume(name: Name, home: Home = None) -> None:
    """Go on with a paused job."""
    _change(name, home, "running")


@app.command(epilog="Example: lookalike pull cancel history")
def cancel(name: Name, home: Home = None) -> None:
    """End a job for good; what it has brought in stays."""
    _change(name, home, "cancelled")


@app.command(epilog="Examples: lookalike pull status --watch   ·   lookalike pull status --json")
def status(
    home: Home = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it live, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show each job: rate, what is left, the estimated end, and what is parked and why."""
    from node.cli.pull.view import status_view
    from node.pull.report import read_reports

    settings = load_settings(home=home)
    if as_json:
        print_json([asdict(report) for report in read_reports(settings)])
    elif watch:
        with Live(status_view(read_reports(settings)), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(WATCH_S)
                live.update(status_view(read_reports(settings)), refresh=True)
    else:
        console.print(status_view(read_reports(settings)))


@app.command(epilog="Examples: lookalike pull retry history   ·   lookalike pull retry history --study 1.2.3.4")
def retry(
    name: Name,
    study: Annotated[str, typer.Option(help="Study Instance UID.  [default: all that are parked]")] = "",
    home: Home = None,
) -> None:
    """Try parked studies again."""
    from node.pull.jobs import retry as retry_parked

    with _progress(load_settings(home=home)) as progress:
        count = retry_parked(progress, name, study)
    console.print(f"{count} studies are tried again", highlight=False)


@app.command(epilog="Example: lookalike pull compare history")
def compare(name: Name, home: Home = None) -> None:
    """Compare what a job has brought in with the archive now, instead of at night."""
    from node.pull.jobs import find_job
    from node.pull.nightly import NOW

    with _progress(load_settings(home=home)) as progress:
        progress.change_job(find_job(progress, name).number, notes={NOW: True})
    console.print("it is compared once the job is complete; see `lookalike pull status`", highlight=False)


@app.command(epilog="Example: lookalike pull inventory indexed.dcm --level STUDY")
def inventory(
    file: Annotated[Path, typer.Argument(help="File to write.")],
    level: Annotated[str, typer.Option(help="STUDY, SERIES or INSTANCE.")] = "INSTANCE",
    home: Home = None,
) -> None:
    """Write what is indexed as a DICOM Inventory object, which another node can take as a work list."""
    from node.cli.pull.planning import inventory_of

    count = inventory_of(load_settings(home=home), file, level)
    console.print(plain(f"{count:,} studies in {file}"), highlight=False)


def _change(name: str, home: Path | None, state: str) -> None:
    from node.processes import Role, role_state
    from node.pull.jobs import change_state
    from storage.progress.job import JobState

    settings = load_settings(home=home)
    with _progress(settings) as progress:
        job = change_state(progress, name, JobState(state))
    console.print(plain(f"job {job.name} is {job.state}"), highlight=False)
    if job.state is JobState.RUNNING and not role_state(settings, Role.INDEX).running:
        console.print("it begins when the node runs: `lookalike serve`", highlight=False)


@contextmanager
def _progress(settings: "Settings") -> Iterator["Progress"]:
    from node.pull.jobs import open_existing_progress

    progress = open_existing_progress(settings)
    try:
        yield progress
    finally:
        progress.close()
