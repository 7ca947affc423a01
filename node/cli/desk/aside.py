"""`lookalike aside`: what could not be indexed, and what becomes of it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from node.access.audit_trail import AuditTrail
from node.access.data_key import vault_of
from node.cli.terminal import console_for, plain, print_json
from node.configuration import load_settings
from node.corrections.aside_entry import aside_entry
from node.errors import NodeError, printable
from node.home import open_spool, require_database
from node.settings import Settings
from storage.spool.set_aside import SetAside
from storage.vault import Vault

console = console_for()
app = typer.Typer(name="aside", help="What could not be indexed: list it, try it again, export it, delete it.")

DAY_S: Final = 86_400
PIECE_BYTES: Final = 1 << 20

Home = Annotated[Path | None, typer.Option(help="Folder of settings.toml, database and spool.  [default: var]")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]
Reason = Annotated[str, typer.Option(help="Only what was set aside for this reason.", show_default=False)]
Names = Annotated[list[str] | None, typer.Argument(help="Names, as `lookalike aside list` shows them.")]


class AsideError(NodeError):
    """Nothing that was set aside is meant, or it cannot be used as asked."""


@app.command("list", epilog="Example: lookalike aside list --reason undecodable --json")
def list_entries(home: Home = None, reason: Reason = "", as_json: Json = False) -> None:
    """List what was set aside: why, since when, and from whom."""
    settings = load_settings(home=home)
    entries = [aside_entry(note, vault_of(settings)) for note in _chosen(settings, None, reason)]
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    table = Table("name", "since", "from", "reason", "bytes", title=f"{len(entries):,} set aside")
    for entry in entries:
        size = "not kept" if entry.size_bytes is None else f"{entry.size_bytes:,}"
        row = entry.name, entry.received, entry.sender or "unknown", entry.reason, size
        table.add_row(*(plain(text) for text in row))
    console.print(table)


@app.command(epilog="Example: lookalike aside show 00000000000000000001")
def show(name: Annotated[str, typer.Argument(help="Name.")], home: Home = None, as_json: Json = False) -> None:
    """Show all that is known of one object that was set aside."""
    settings = load_settings(home=home)
    [note] = _chosen(settings, [name], "")
    entry = asdict(aside_entry(note, vault_of(settings)))
    if as_json:
        print_json(entry)
        return
    for key, value in entry.items():
        console.print(plain(f"{key.replace('_', ' ')}: {value}"), highlight=False, soft_wrap=True)


@app.command(
    epilog="Examples: lookalike aside retry 00000000000000000001   ·   lookalike aside retry --reason time-limit"
)
def retry(names: Names = None, reason: Reason = "", home: Home = None) -> None:
    """Have objects indexed again, as if they had come now; what fails again is set aside again."""
    settings = load_settings(home=home)
    notes = [note for note in _named(settings, names, reason) if note.path is not None]
    spool = open_spool(settings)
    for note in notes:
        assert note.path is not None
        spool.put(_pieces(note.path, spool.vault), note.uids.get("SOPInstanceUID", ""))  # durable before its note goes
        _purge(settings, [note.name])
    console.print(f"{len(notes):,} wait to be indexed again", highlight=False)


@app.command(epilog="Example: lookalike aside export 00000000000000000001 --to /tmp/odd")
def export(
    names: Names = None,
    to: Annotated[Path, typer.Option(help="Folder to write to.")] = Path(),
    reason: Reason = "",
    home: Home = None,
) -> None:
    """Copy the files of objects into a folder, to look at them elsewhere; they hold patient data."""
    settings = load_settings(home=home)
    notes = [note for note in _named(settings, names, reason) if note.path is not None]
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    for note in notes:
        assert note.path is not None
        target = to / f"{note.name}.dcm"
        target.touch(mode=0o600)
        with target.open("wb") as file:
            file.writelines(_pieces(note.path, vault_of(settings)))
    trail = AuditTrail(settings, "command")
    trail.exported(str(to.absolute()), (note.uids.get("StudyInstanceUID", "") for note in notes))
    trail.close()
    console.print(plain(f"{len(notes):,} files in {to}"), highlight=False)


@app.command(epilog="Example: lookalike aside purge --reason undecodable --older-than 90 --yes")
def purge(
    names: Names = None,
    reason: Reason = "",
    older_than: Annotated[float, typer.Option(help="Only what came before so many days.", min=0)] = 0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = None,
) -> None:
    """Delete objects that were set aside, with their notes, for good."""
    settings = load_settings(home=home)
    before_ns = time.time_ns() - int(older_than * DAY_S * 1e9)
    if not (names or reason or older_than):
        raise AsideError("name what to delete: names, --reason or --older-than")
    notes = [note for note in _chosen(settings, names, reason) if note.received_ns <= before_ns]
    if not yes:
        typer.confirm(f"Delete {len(notes):,} objects that were set aside, for good?", abort=True, err=True)
    answer = _purge(settings, [note.name for note in notes])
    console.print(f"{answer['purged']:,} deleted", highlight=False)


def _named(settings: Settings, names: Sequence[str] | None, reason: str) -> list[SetAside]:
    if not (names or reason):
        raise AsideError("name what is meant: names, or --reason")
    return list(_chosen(settings, names, reason))


def _chosen(settings: Settings, names: Sequence[str] | None, reason: str) -> Iterator[SetAside]:
    """Notes by name or reason, oldest first."""
    require_database(settings)
    notes = list(open_spool(settings).set_aside_records())
    known = {note.name for note in notes}
    for name in names or ():
        if name not in known:
            raise AsideError(f"{printable(name)} was not set aside, or is gone")
    for note in notes:
        if (not names or note.name in names) and (not reason or note.reason == reason):
            yield note


def _purge(settings: Settings, names: list[str]) -> Mapping[str, Any]:
    """Have notes and objects deleted by the process that writes, or here where no node runs."""
    from node.corrections.order_book import OrderKind
    from node.corrections.submission import submit  # with the libraries that decode pixels

    return submit(settings, OrderKind.PURGE, names=names)


def _pieces(path: Path, vault: Vault) -> Iterator[bytes]:
    with vault.open(path) as file:
        while piece := file.read(PIECE_BYTES):
            yield piece
