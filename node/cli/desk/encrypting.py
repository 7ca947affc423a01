"""`lookalike encrypt`: a home folder that lies in clear is sealed, once, while no node runs on it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import Progress

from node.access.data_key import make_vault
from node.cli.terminal import console_for
from node.configuration import load_settings
from node.errors import NodeError
from node.home import make_private, open_regions, require_database
from node.processes import Role, node_lock, role_lock
from node.settings import Settings
from storage.corrections.copying import seal_database
from storage.database.database import Database
from storage.durable import remove_stale, sync_folder, write_durably
from storage.objects.object_store import ObjectStore
from storage.objects.report_table import ReportTable
from storage.sealed_file import is_sealed
from storage.vault import SealError, Vault

console = console_for()
app = typer.Typer()

PIECE_BYTES: Final = 1 << 20
PARTS: Final = "sealing"
Home = Annotated[Path | None, typer.Option(help="Folder of settings.toml, database and spool.  [default: var]")]
Report = Callable[[int, int], object]


class EncryptionError(NodeError):
    """A home folder cannot be encrypted."""


@dataclass(frozen=True, slots=True)
class Encrypted:
    """Numbers of values of the database, and of files, that were sealed."""

    values: int
    files: int


@app.command(epilog="Example: lookalike encrypt --home /srv/lookalike")
def encrypt(home: Home = None) -> None:
    """Encrypt a home folder with the key of `encryption_key`; the node must not run."""
    settings = load_settings(home=home)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("sealing the database", total=None)
        done = encrypt_home(settings, lambda done, total: progress.update(task, completed=done, total=total))
    console.print(f"{done.values:,} values of the database and {done.files:,} files are encrypted", highlight=False)


def encrypt_home(settings: Settings, report: Report = lambda _done, _all: None) -> Encrypted:
    """Seal what lies in clear; a run that was interrupted is gone on with by the next.

    Raises
    ------
    EncryptionError
        No key is set.
    SettingsError
        The key cannot be had, or another one sealed this folder.
    node.locks.InUseError
        A node runs there.
    """
    require_database(settings)
    if not settings.encryption_key:
        raise EncryptionError("encryption_key is not set: give the source of a key")
    with node_lock(settings), role_lock(settings, Role.INDEX):
        make_private(settings)
        vault = make_vault(settings)
        ReportTable(settings.reports_path, vault).seal()
        if settings.regions_path.exists():
            open_regions(settings).claim()  # made again from previews, sealed
        files = sum(_seal(path, vault) for path in _files(settings)) + _seal_objects(settings, vault)
        return Encrypted(_seal_database(settings, vault, report), files)


def _seal_database(settings: Settings, vault: Vault, report: Report) -> int:
    try:
        Database.open(settings.database_path, vault=vault).close()
    except SealError:
        return seal_database(settings.database_path, vault, settings.map_size_bytes, report)
    return 0


def _files(settings: Settings) -> Iterator[Path]:
    """Objects that were received and answers that wait; their names end alike."""
    for folder in (settings.spool_path, settings.ask_path):
        yield from folder.rglob("*.dcm")


def _seal(path: Path, vault: Vault) -> bool:
    """Seal a file in its place, unless it is sealed; return whether it was not."""
    if not _is_clear(path):
        return False
    part, sealed = path.with_suffix(".part"), path.with_suffix(".sealed")
    part.unlink(missing_ok=True)  # left by a kill
    write_durably(_pieces(path), part, sealed, vault)
    sealed.replace(path)
    sync_folder(path.parent)
    return True


def _seal_objects(settings: Settings, vault: Vault) -> int:
    """Seal the kept objects, of which a table knows the sizes."""
    objects, folder, count = ObjectStore(settings.objects_path, vault), settings.run_path / PARTS, 0
    folder.mkdir(mode=0o700, exist_ok=True)
    remove_stale(folder)
    for path in settings.objects_path.glob("??/*.dcm"):
        if _is_clear(path):
            sealed = folder / path.name
            write_durably(_pieces(path), sealed.with_suffix(".part"), sealed, vault)
            objects.keep({path.stem: sealed})
            sealed.unlink()
            count += 1
    folder.rmdir()
    return count


def _is_clear(path: Path) -> bool:
    with path.open("rb") as file:
        return not is_sealed(file)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece
