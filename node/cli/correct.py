"""`lookalike restore` and `lookalike forget`: corrections by the operator."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from node.cli.terminal import console_for, print_json
from node.configuration import load_settings

console = console_for()
app = typer.Typer()

Home = Annotated[Path | None, typer.Option(help="Folder of settings.toml, database and spool.  [default: var]")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]


@app.command(epilog="Example: lookalike restore 1.2.3.4 --home /srv/lookalike")
def restore(
    uid: Annotated[str, typer.Argument(help="UID of a rejection note, or of a rejected instance or its study.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Lift rejections, and bring the instances back that they hid."""
    from node.cli.correction import restore_rejected

    restored = restore_rejected(load_settings(home=home), uid)
    if as_json:
        print_json(asdict(restored))
    else:
        console.print(restored.sentence, highlight=False)


@app.command(
    epilog="Examples: lookalike forget --study 1.2.3.4   ·   lookalike forget --patient 4711 --issuer HOSPITAL --yes"
)
def forget(
    study: Annotated[str, typer.Option(help="Study Instance UID.", show_default=False)] = "",
    patient: Annotated[str, typer.Option(help="Patient ID.", show_default=False)] = "",
    issuer: Annotated[str | None, typer.Option(help="Issuer of Patient ID; '' for none.  [default: any]")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Erase everything of a study or a patient from the home folder, for good."""
    from node.cli.correction import forget_target, forgotten_table, read_target

    settings = load_settings(home=home)
    target, indexed = read_target(settings, study, patient, issuer)
    if not yes:
        typer.confirm(f"{indexed}. Erase them, and all that waits or was set aside, for good?", abort=True, err=True)
    forgotten = forget_target(settings, target)
    if as_json:
        print_json(asdict(forgotten))
    else:
        console.print(forgotten_table(forgotten))
