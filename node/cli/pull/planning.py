"""`lookalike pull plan`: a job is made, and the archive searched for what it will bring in."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import Any, Final

from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from node.errors import Refusal, SettingsError
from node.home import make_private, open_database
from node.ingest.receiver import IncomingInstance
from node.options.pull import PullJob
from node.pull.inventory import write_inventory
from node.pull.jobs import find_job, make_job, open_progress
from node.pull.politeness.patience import Patience
from node.pull.report import JobReport, reports
from node.pull.search.archive import Archive
from node.pull.search.lister import list_everything, lister_of
from node.settings import Settings
from storage.progress.coverage import CoverageState, CoverageWatch
from storage.record import Level

LEVELS: Final = {"STUDY": Level.STUDY, "SERIES": Level.SERIES, "INSTANCE": Level.IMAGE}


def definition_of(settings: Settings, name: str, given: Mapping[str, Any]) -> PullJob:
    """Return the definition of a job: that of the settings, or what the options give.

    Raises
    ------
    SettingsError
        An option cannot be used.
    """
    if name in settings.pull_jobs:
        return settings.pull_jobs[name]
    values = {keyword: value for keyword, value in given.items() if value is not None}
    if not values["source"]:
        raise SettingsError("name the archive: --source, an AE title of the table of peers")
    try:
        return PullJob(**values)
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False))
        raise SettingsError("; ".join(faults)) from error


def plan_job(settings: Settings, name: str, definition: PullJob, console: Console) -> JobReport:
    """Make a job, or take the planned one of this name, and list what it will bring in.

    Raises
    ------
    PeerError, JobError, SettingsError
        The archive cannot be asked, or the job cannot be made.
    """
    make_private(settings)
    progress = open_progress(settings)
    try:
        job = make_job(settings, progress, name, definition)
        patience = Patience(math.inf, settings.pull_max_pause_s)
        archive = Archive(settings, definition.source, _NoStore(), patience, sleep, lambda: None)
        lister = lister_of(progress, job, definition, settings.pull_path, settings.pull_window_results)
        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        with Bar(*columns, console=console, transient=True) as bar:
            task = bar.add_task("searching the archive")
            for _ in list_everything(archive, lister):
                bar.update(task, description=f"{progress.counts(job).studies:,} studies listed")
        find_job(progress, name)
        return next(report for report in reports(progress) if report.name == name)
    finally:
        progress.close()


def inventory_of(settings: Settings, path: Path, level: str) -> int:
    """Write what is indexed as an Inventory object; return how many studies it names.

    Raises
    ------
    SettingsError
        There is no such level.
    """
    if level not in LEVELS:
        raise SettingsError(f"{level!r} is no level of an inventory: use {', '.join(LEVELS)}")
    watch = CoverageWatch(settings.pull_path, settings.map_size_bytes)
    is_complete = watch.state() is CoverageState.COMPLETE
    with open_database(settings) as database:
        return write_inventory(database, path, LEVELS[level], datetime.now(UTC), is_complete=is_complete)


class _NoStore:
    """The `InstanceStore` of an association on which none may come."""

    def begin(self, *_: object) -> IncomingInstance:
        raise RuntimeError("no storage class was proposed")

    def note(self, _request: object, _refusal: Refusal, _title: str) -> None:
        """Nothing is counted: a command has no counters."""
