"""`lookalike list`: what is indexed, study by study; holds no patient data."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from node.cli.terminal import console_for, plain, print_json
from node.configuration import load_settings
from node.home import open_for_reading
from node.settings import Settings
from storage.database.columns import modality
from storage.record import Level

console = console_for()
app = typer.Typer()


@dataclass(frozen=True, slots=True)
class StudySummary:
    """One study; of its date the year."""

    study_instance_uid: str
    year: str
    modalities: tuple[str, ...]
    series: int
    instances: int


@app.command("list", epilog="Example: lookalike list --limit 50 --json")
def list_studies(
    home: Annotated[Path | None, typer.Option(help="Folder of settings.toml and database.  [default: var]")] = None,
    limit: Annotated[int, typer.Option(help="How many at most; 0: all.", min=0)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")] = False,
) -> None:
    """List what is indexed, by study, in the order of arrival."""
    studies = list(islice(summaries(load_settings(home=home)), limit or None))
    if as_json:
        print_json([asdict(study) for study in studies])
        return
    table = Table("Study Instance UID", "year", "modalities", "series", "instances")
    for study in studies:
        counts = f"{study.series:,}", f"{study.instances:,}"
        table.add_row(plain(study.study_instance_uid), study.year, plain(" ".join(study.modalities)), *counts)
    console.print(table)


def summaries(settings: Settings) -> Iterator[StudySummary]:
    """Yield every study of the database."""
    with open_for_reading(settings).database as database, database.snapshot() as snapshot:
        for study in snapshot.entities(Level.STUDY):
            series = list(snapshot.each_child(Level.STUDY, study.uid))
            found = [snapshot.entity(Level.SERIES, uid) for uid in series]
            yield StudySummary(
                study.uid,
                study.attributes.get("StudyDate", "")[:4],
                tuple(sorted({modality(one.attributes) for one in found if one is not None})),
                len(series),
                sum(len(snapshot.children(Level.SERIES, uid)) for uid in series),
            )
