"""`lookalike index`: the segments of the index made, checked and merged by hand."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from node.cli.terminal import console_for, plain, progress_bar
from node.configuration import load_settings

if TYPE_CHECKING:
    from storage.database.database import Database

console = console_for()
app = typer.Typer(name="index", help="Make, check or merge the index; the running node does the first by itself.")


class Target(StrEnum):
    """What can search the codes."""

    LOCAL = "local"
    MILVUS = "milvus"


Home = Annotated[Path | None, typer.Option(help="Folder of settings.toml, database and spool.  [default: var]")]
Inline = Annotated[
    bool,
    typer.Option(help="Keep codes of 64 bits in the index: 36 bytes more a code instead of 12, and twice as fast."),
]


@app.command(epilog="Example: lookalike index build --home /srv/lookalike --whole")
def build(
    home: Home = None,
    inline: Inline = True,
    whole: Annotated[bool, typer.Option(help="Make one segment of all, not only of what is due.")] = False,
) -> None:
    """Make the segments that are due from the codes in the database."""
    from storage.segments.builder import build as build_segment

    with _database(home) as database, progress_bar("sorting codes") as report:
        made = build_segment(database, inline=inline, whole=whole, report=report)
    if made is None:
        console.print("nothing to do: few rows are in no segment", highlight=False)
    else:
        console.print(f"rows {made.first_row:,} to {made.end:,} are in one segment", highlight=False)


@app.command(epilog="Example: lookalike index verify --home /srv/lookalike")
def verify(home: Home = None) -> None:
    """Compute every segment again and compare; exit with 1 if any differs or is missing."""
    from storage.segments.builder import verify as verify_segments

    with _database(home) as database, progress_bar("comparing segments") as report:
        problems = verify_segments(database, report)
    for problem in problems:
        console.print(Text("fault", style="red"), plain(problem), highlight=False, soft_wrap=True)
    if problems:
        raise typer.Exit(1)
    console.print("[green]ok[/]", highlight=False)


@app.command(epilog="Example: lookalike index compact --home /srv/lookalike")
def compact(home: Home = None, inline: Inline = True) -> None:
    """Give the room of deleted rows back to the others, and make one segment of all."""
    from storage.segments.builder import alone
    from storage.segments.builder import build as build_segment

    with _database(home) as database:
        with alone(database), progress_bar("moving rows") as report:
            lost = database.compact(report)
        with progress_bar("sorting codes") as report:
            build_segment(database, inline=inline, whole=True, report=report)
    console.print(f"{lost:,} deleted rows are gone", highlight=False)


@app.command(
    epilog="Example: lookalike index migrate --home /srv/lookalike --to milvus; "
    "the settings milvus_uri and so on say where"
)
def migrate(
    to: Annotated[Target, typer.Option(help="Where codes will be searched.")],
    home: Home = None,
    clear: Annotated[bool, typer.Option(help="With --to local: delete what this node has in Milvus.")] = False,
) -> None:
    """Copy the index to Milvus, or leave Milvus, comparing every row; the node must not run."""
    from node.cli.desk.migration import leave_milvus, move_to_milvus

    settings = load_settings(home=home)
    if to == Target.MILVUS:
        rows = move_to_milvus(settings, progress_bar)
        todo = "nothing else to do" if settings.index == "milvus" else 'set index = "milvus" and start the node'
        console.print(f"{rows:,} codes are in Milvus, as in the database: {todo}", highlight=False)
        return
    rows = leave_milvus(settings, progress_bar, clear=clear)
    todo = "nothing else to do" if settings.index == "local" else 'set index = "local" and start the node'
    console.print(f"{rows:,} codes are in the database, none only in Milvus: {todo}", highlight=False)


@app.command(epilog="Example: lookalike index rewrite --home /srv/lookalike")
def rewrite(home: Home = None) -> None:
    """Copy the database into a new file, without a trace of what was deleted; the node must not run."""
    from node.access.data_key import vault_of
    from node.home import require_database
    from node.processes import Role, node_lock, role_lock
    from storage.corrections.copying import rewrite_database

    settings = load_settings(home=home)
    require_database(settings)
    path, vault = settings.database_path, vault_of(settings)
    with node_lock(settings), role_lock(settings, Role.INDEX), progress_bar("copying the database") as report:
        copied = rewrite_database(path, settings.map_size_bytes, vault, report)
    console.print(f"{copied:,} values are in the new file", highlight=False)


def _database(home: Path | None) -> "Database":
    from node.home import open_database

    return open_database(load_settings(home=home), readonly=False)
