"""`lookalike model`: the database brought to another model."""

from pathlib import Path
from typing import Annotated

import typer

from node.cli.terminal import console_for, progress_bar
from node.configuration import load_settings

console = console_for()
app = typer.Typer(name="model", help="Change the model that makes the codes.")


@app.command(epilog="Example: lookalike model reencode --home /srv/lookalike")
def reencode(
    home: Annotated[
        Path | None, typer.Option(help="Folder of settings.toml, database and spool.  [default: var]")
    ] = None,
) -> None:
    """Give every indexed image the codes of the model that is set, from its preview; the node must not run."""
    from node.cli.reencoding import reencode_home

    with progress_bar("encoding") as report:
        frames = reencode_home(load_settings(home=home), report)
    if frames:
        console.print(f"{frames:,} frames have codes of the model that is set", highlight=False)
    else:
        console.print("nothing to do: all codes are of the model that is set", highlight=False)
