"""`lookalike passcode` and `lookalike link`: what people and other programs show to be let in."""

from pathlib import Path
from typing import Annotated, Final

import typer

from node.cli.terminal import console_for, plain
from node.configuration import load_settings
from node.errors import NodeError

console = console_for()
app = typer.Typer()

MIN_LENGTH: Final = 12
Home = Annotated[Path | None, typer.Option(help="Folder of settings.toml and database.  [default: var]")]


class LoginSettingsError(NodeError):
    """A passcode is too short, or a caller cannot use links."""


@app.command(epilog="Example: lookalike passcode")
def passcode(
    text: Annotated[str, typer.Option("--passcode", prompt=True, hide_input=True, confirmation_prompt=True)],
) -> None:
    """Turn a passcode into the text for `passcode` of a caller's entry; the passcode itself is kept nowhere."""
    from node.access.logins import hashed_passcode

    if len(text) < MIN_LENGTH:
        raise LoginSettingsError(f"a passcode has at least {MIN_LENGTH} characters")
    console.print(plain(f'passcode = "{hashed_passcode(text)}"'), highlight=False, soft_wrap=True)


@app.command(epilog="Example: lookalike link viewer 1.2.3.4 --home /srv/lookalike")
def link(
    caller: Annotated[str, typer.Argument(help="Entry of `callers` whose rights the reader gets.")],
    study: Annotated[str, typer.Argument(help="Study Instance UID to open.")],
    home: Home = None,
) -> None:
    """Print a link that opens the page at a study, for `link_minutes`."""
    from node.web.login.links import link_to

    settings = load_settings(home=home)
    entry = settings.callers.get(caller)
    if entry is None or not entry.web:
        raise LoginSettingsError(f"{caller!r} is no entry of callers with web = true")
    console.print(plain(link_to(settings, caller, study)), highlight=False, soft_wrap=True)
